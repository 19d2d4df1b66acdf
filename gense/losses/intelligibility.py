"""A differentiable measure of intelligibility as a training loss."""

from __future__ import annotations

import torch
from torch import Tensor

from gense.losses.base import WaveLoss

_BANDS, _LOWEST, _SEGMENT, _RANGE = 15, 150.0, 30, 40.0
_FRAME_SECONDS = 0.0256
_FLOOR = 1e-6  # of the power in a band and frame; speech at -20 dB of full scale has a median near 1


class IntelligibilityLoss(WaveLoss):
    """One minus ESTOI (Jensen & Taal 2016), averaged over the batch.

    Envelopes in 15 third-octave bands from 150 Hz, in segments of 30 frames of which each band and then each frame is
    normalised, are correlated with those of the clean speech. As in the metric, frames more than 40 dB below the
    loudest of the clean speech do not count; other than there, the sample rate stays, and these frames are left out of
    the spectra instead of the waveform. Items with less than 30 frames of speech, 0.4 s, give no gradient; neither do
    targets under -50 dB of full scale, pauses between words.

    Args:
        weight: factor in the sum of losses.
        sample_rate: of the waveforms, Hz; at least 10000, for the bands reach 4.3 kHz and the metric's filters 5 kHz.

    Raises:
        ValueError: a lower rate.
    """

    window: Tensor
    bands: Tensor

    def __init__(self, *, weight: float = 0.5, sample_rate: int = 16000):
        super().__init__()
        if sample_rate < 10000:
            raise ValueError(f"sample_rate={sample_rate}: need at least 10000 Hz")
        self.weight = weight
        self.frame = 2 * round(_FRAME_SECONDS * sample_rate / 2)
        self.n_fft = 2 * self.frame
        frequency = torch.arange(self.n_fft // 2 + 1) * sample_rate / self.n_fft
        centre = _LOWEST * 2 ** (torch.arange(_BANDS)[:, None] / 3)
        bands = (frequency >= centre * 2 ** (-1 / 6)) & (frequency < centre * 2 ** (1 / 6))
        self.register_buffer("window", torch.hann_window(self.frame), persistent=False)
        self.register_buffer("bands", bands.float(), persistent=False)

    def _power(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        """Power of (B, S) in the bands, (B, 15, T), and of the frames, (B, T)."""
        frames = wav.unfold(-1, self.frame, self.frame // 2) * self.window
        spectrum = torch.fft.rfft(frames, self.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        return self.bands @ power.transpose(1, 2), frames.square().sum(-1)

    def index(self, estimate: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """ESTOI of each item of (B, S), and which items hold enough speech, (B,) each; the others have an index of 0.

        Raises:
            ValueError: the shapes differ, or the waveforms are shorter than a frame.
        """
        if estimate.shape != clean.shape or clean.shape[-1] < self.frame:
            raise ValueError(
                f"estimate {tuple(estimate.shape)}, clean {tuple(clean.shape)}: need two (B, S) of one shape, "
                f"of {self.frame} samples or more"
            )
        # Under autocast, the sums over bins would keep three digits
        with torch.autocast(clean.device.type, enabled=False):
            (degraded, _), (reference, level) = self._power(estimate.float()), self._power(clean.float())
        heard = level > 10 ** (-_RANGE / 10) * level.amax(-1, keepdim=True)
        enough = (heard.sum(-1) >= _SEGMENT) & (clean.square().mean(-1) > 1e-5)
        values = [
            _correlation(degraded[item][:, heard[item]], reference[item][:, heard[item]])
            if enough[item]
            else 0.0 * degraded[item].sum()
            for item in range(len(clean))
        ]
        return torch.stack(values), enough

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        index, enough = self.index(estimate, clean)
        return ((1 - index) * enough).sum() / enough.sum().clamp(min=1)


def _correlation(degraded: Tensor, reference: Tensor) -> Tensor:
    """Mean correlation of the segments of two (15, T) of powers."""
    x, y = (
        _unit(_unit((power + _FLOOR).sqrt().unfold(-1, _SEGMENT, 1), dim=-1), dim=0) for power in (degraded, reference)
    )
    return (x * y).sum(dim=0).mean()


def _unit(x: Tensor, dim: int) -> Tensor:
    """Without the mean along `dim` and of length one along it."""
    x = x - x.mean(dim=dim, keepdim=True)
    return x / (x.square().sum(dim=dim, keepdim=True) + 1e-12).sqrt()
