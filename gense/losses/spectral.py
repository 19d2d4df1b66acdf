"""Distance of compressed spectra."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gense.losses.base import WaveLoss


class SpectralLoss(WaveLoss):
    """Distance of power-compressed spectra at several resolutions, magnitudes alone and with phase.

    Sum of mean (|E|^p - |C|^p)^2 and mean |E |E|^(p-1) - C |C|^(p-1)|^2 over the resolutions, the combination with
    which compressed-domain enhancement networks are trained (Braun and Tashev 2021, eq. 6).

    Args:
        weight: factor in the sum of losses.
        windows: Hann window lengths in samples; the hop is a quarter.
        power: p, in (0, 1].
        phase_share: share of the term with phase, in [0, 1].
    """

    def __init__(
        self, *, weight: float = 1.0, windows: Sequence[int] = (256, 512, 1024), power: float = 0.3,
        phase_share: float = 0.3,
    ):
        super().__init__()
        self.weight, self.windows, self.power, self.phase_share = weight, tuple(windows), power, phase_share

    def _spectrum(self, wav: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
        window = torch.hann_window(n_fft, device=wav.device)
        c = torch.stft(wav, n_fft, n_fft // 4, window=window, return_complex=True)
        # The floor keeps the gradient of |c|^p finite at zero; at 1e-3 it lies some 90 dB under speech at full scale.
        magnitude = (c.real.square() + c.imag.square() + 1e-6).sqrt()
        return magnitude**self.power, c * magnitude ** (self.power - 1.0)

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        total = estimate.new_zeros(())
        for n_fft in self.windows:
            (e, e_phase), (c, c_phase) = self._spectrum(estimate, n_fft), self._spectrum(clean, n_fft)
            difference = e_phase - c_phase
            phase = (difference.real.square() + difference.imag.square()).mean()
            total = total + (1 - self.phase_share) * (e - c).square().mean() + self.phase_share * phase
        return total / len(self.windows)
