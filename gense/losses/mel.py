"""Distance of mel spectrograms at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gense.losses.base import WaveLoss
from gense.representations.melbank import mel_filterbank

_FLOOR = 1e-5


class MultiScaleMelLoss(WaveLoss):
    """Mean absolute difference of log10 mel spectrograms, summed over resolutions (Kumar et al. 2023, section 3.4).

    The spectrograms are magnitudes under bands on Slaney's scale, at least 1e-5; frames are centred, their hop is a
    quarter of the window. The defaults are the seven resolutions of that paper and of PASE (arXiv 2511.13300).

    Args:
        weight: factor in the sum of losses.
        sample_rate: of the waveforms, Hz.
        windows: Hann window lengths in samples.
        bands: mel bands at each of them.

    Raises:
        ValueError: the two lists have different lengths, or are empty.
    """

    def __init__(
        self,
        *,
        weight: float = 1.0,
        sample_rate: int = 16000,
        windows: Sequence[int] = (32, 64, 128, 256, 512, 1024, 2048),
        bands: Sequence[int] = (5, 10, 20, 40, 80, 160, 320),
    ):
        super().__init__()
        if len(windows) != len(bands) or not windows:
            raise ValueError(f"windows {list(windows)} and bands {list(bands)}: need one number of bands a window")
        self.weight, self.windows = weight, tuple(windows)
        for n_fft, count in zip(windows, bands, strict=True):
            filters = mel_filterbank(n_fft // 2 + 1, sample_rate, count, scale="slaney", norm="slaney")
            self.register_buffer(f"filters_{n_fft}", filters, persistent=False)

    def _log_mel(self, wav: Tensor, n_fft: int) -> Tensor:
        window = torch.hann_window(n_fft, device=wav.device)
        magnitude = torch.stft(wav.float(), n_fft, n_fft // 4, window=window, return_complex=True).abs()
        return (self.get_buffer(f"filters_{n_fft}") @ magnitude).clamp(min=_FLOOR).log10()

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        total = estimate.new_zeros(())
        with torch.autocast(estimate.device.type, enabled=False):
            for n_fft in self.windows:
                total = total + (self._log_mel(estimate, n_fft) - self._log_mel(clean, n_fft)).abs().mean()
        return total
