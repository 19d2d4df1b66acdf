"""A differentiable wide-band PESQ as a training loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gense.losses.base import WaveLoss

# ITU-T P.862, table of Bark bands at 16 kHz: bins in the band, centre and width in Bark, correction of its power
# density, and absolute threshold of hearing as a power.
_BINS = (1, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 4, 3, 4, 5, 4, 5, 6, 6,
         7, 8, 9, 9, 12, 12, 15, 16, 18, 21, 25, 20)
_CENTRE = (
    0.078672, 0.316341, 0.636559, 0.961246, 1.290450, 1.624217, 1.962597, 2.305636, 2.653383, 3.005889, 3.363201,
    3.725371, 4.092449, 4.464486, 4.841533, 5.223642, 5.610866, 6.003256, 6.400869, 6.803755, 7.211971, 7.625571,
    8.044611, 8.469146, 8.899232, 9.334927, 9.776288, 10.223374, 10.676242, 11.134952, 11.599563, 12.070135, 12.546731,
    13.029408, 13.518232, 14.013264, 14.514566, 15.022202, 15.536238, 16.056736, 16.583761, 17.117382, 17.657663,
    18.204674, 18.758478, 19.319147, 19.886751, 20.461355, 21.043034,
)
_WIDTH = (
    0.157344, 0.317994, 0.322441, 0.326934, 0.331474, 0.336061, 0.340697, 0.345381, 0.350114, 0.354897, 0.359729,
    0.364611, 0.369544, 0.374529, 0.379565, 0.384653, 0.389794, 0.394989, 0.400236, 0.405538, 0.410894, 0.416306,
    0.421773, 0.427297, 0.432877, 0.438514, 0.444209, 0.449962, 0.455774, 0.461645, 0.467577, 0.473569, 0.479621,
    0.485736, 0.491912, 0.498151, 0.504454, 0.510819, 0.517250, 0.523745, 0.530308, 0.536934, 0.543629, 0.550390,
    0.557220, 0.564119, 0.571085, 0.578125, 0.585232,
)
_CORRECTION = (
    100.0, 99.999992, 100.0, 100.000008, 100.000008, 100.000015, 99.999992, 99.999969, 50.000027, 100.0, 99.999969,
    100.000015, 99.999947, 100.000061, 53.047077, 110.000046, 117.991989, 65.0, 68.760147, 69.999931, 71.428818,
    75.000038, 76.843384, 80.968781, 88.646126, 63.864388, 68.155350, 72.547775, 75.584831, 58.379192, 80.950836,
    64.135651, 54.384785, 73.821884, 64.437073, 59.176456, 65.521278, 61.399822, 58.144047, 57.004543, 64.126297,
    54.311001, 61.114979, 55.077751, 56.849335, 55.628868, 53.137054, 54.985844, 79.546974,
)
_THRESHOLD = (
    51286152.0, 2454709.5, 70794.59375, 4897.788574, 1174.897705, 389.045166, 104.712860, 45.708820, 17.782795,
    9.772372, 4.897789, 3.090296, 1.905461, 1.258925, 0.977237, 0.724436, 0.562341, 0.457088, 0.389045, 0.331131,
    0.295121, 0.269153, 0.257040, 0.251189, 0.251189, 0.251189, 0.251189, 0.263027, 0.288403, 0.309030, 0.338844,
    0.371535, 0.398107, 0.436516, 0.467735, 0.489779, 0.501187, 0.501187, 0.512861, 0.524807, 0.524807, 0.524807,
    0.512861, 0.478630, 0.426580, 0.371535, 0.363078, 0.416869, 0.537032,
)
_POWER_SCALE, _LOUDNESS_SCALE = 6.910853e-06, 1.866055e-01
_FRAME = 512


class PerceptualLoss(WaveLoss):
    """Disturbance of the perceptual model of ITU-T P.862.2 (wide-band PESQ), 4.5 minus the raw score.

    Follows the standard from level alignment to aggregation but for its time alignment, which enhancement does not
    need, and its treatment of very long files. The loss is the raw disturbance, not the mapped score, whose slope
    vanishes where quality is poor.

    Args:
        weight: factor in the sum of losses.
        sample_rate: must be 16000, the rate of the standard's tables.

    Raises:
        ValueError: another rate.
    """

    bands: Tensor
    window: Tensor
    width: Tensor
    threshold: Tensor
    power: Tensor

    def __init__(self, *, weight: float = 0.05, sample_rate: int = 16000):
        super().__init__()
        if sample_rate != 16000:
            raise ValueError(f"sample_rate={sample_rate}: the wide-band model is defined at 16000 Hz only")
        self.weight = weight
        band = [index for index, bins in enumerate(_BINS) for _ in range(bins)]
        matrix = torch.zeros(len(_BINS), _FRAME // 2 + 1)
        matrix[band, list(range(len(band)))] = _POWER_SCALE * torch.tensor([_CORRECTION[index] for index in band])
        matrix[:, 0] = 0.0  # the model leaves out the mean
        centre = torch.tensor(_CENTRE)
        low = (6.0 / (centre + 2.0)).clamp(max=2.0) ** 0.15  # steeper growth of loudness below 4 Bark
        for name, value in (
            ("bands", matrix * _highpass(_FRAME)), ("window", torch.hann_window(_FRAME)),
            ("width", torch.tensor(_WIDTH)[1:, None]), ("threshold", torch.tensor(_THRESHOLD)[:, None]),
            ("power", 0.23 * torch.where(centre < 4.0, low, torch.ones_like(low))[:, None]),
        ):
            self.register_buffer(name, value, persistent=False)

    def _aligned(self, wav: Tensor) -> Tensor:
        """Scale (B, S) to a mean power of 1e7 between 325 and 3250 Hz."""
        spectrum = torch.fft.rfft(wav)
        frequency = torch.linspace(0, 8000, spectrum.shape[-1], device=wav.device)
        band = (frequency > 325) & (frequency < 3250)
        power = 2 * (spectrum[:, band].abs() ** 2).sum(-1, keepdim=True) / wav.shape[-1] ** 2
        return wav * (1e7 / (power + 1e-12)).sqrt()

    def _bark(self, wav: Tensor) -> Tensor:
        """Power densities in Bark bands, (B, 49, T)."""
        c = torch.stft(
            self._aligned(wav), _FRAME, _FRAME // 2, window=self.window, center=False, return_complex=True
        )
        return self.bands @ (c.real.square() + c.imag.square())

    def _audible(self, bark: Tensor, factor: float) -> Tensor:
        """Sum over the bands above `factor` times the threshold of hearing, (B, 1, T)."""
        return (bark * (bark > factor * self.threshold))[:, 1:].sum(1, keepdim=True)

    def _loudness(self, bark: Tensor) -> Tensor:
        growth = (0.5 + 0.5 * bark / self.threshold) ** self.power - 1.0
        return _LOUDNESS_SCALE * (self.threshold / 0.5) ** self.power * growth * (bark > self.threshold)

    def disturbances(self, estimate: Tensor, clean: Tensor) -> tuple[Tensor, Tensor]:
        """Symmetric and asymmetric disturbance of each item, (B,) each."""
        ref, deg = self._bark(clean), self._bark(estimate)
        # The listener gets used to a constant colouring: the reference takes on the estimate's mean response
        active = self._audible(ref, 100.0) > 1e7
        count = active.sum(-1, keepdim=True).clamp(min=1)
        mean_ref, mean_deg = (
            (p * active * (p > 100 * self.threshold)).sum(-1, keepdim=True) / count for p in (ref, deg)
        )
        ref = ref * ((mean_deg + 1000) / (mean_ref + 1000)).clamp(0.01, 100.0)
        power = self._audible(ref, 1.0)
        # ... and to slow changes of level
        gain = ((power + 5e3) / (self._audible(deg, 1.0) + 5e3)).clamp(3e-4, 5.0)
        smooth = torch.cat([gain[..., :1], 0.8 * gain[..., 1:] + 0.2 * gain[..., :-1]], dim=-1)
        deg = deg * smooth
        loud_ref, loud_deg = self._loudness(ref), self._loudness(deg)
        difference = loud_deg - loud_ref
        masked = (difference.abs() - 0.25 * torch.minimum(loud_deg, loud_ref)).clamp(min=0.0)[:, 1:]
        ratio = (((deg + 50) / (ref + 50)) ** 1.2)[:, 1:]
        asymmetry = torch.where(ratio < 3, torch.zeros_like(ratio), ratio.clamp(max=12.0))
        total = self.width.sum()
        frame = ((masked * self.width).square().sum(1) / total + 1e-12).sqrt() * total
        frame_asymmetric = (masked * self.width * asymmetry).sum(1)
        emphasis = ((power[:, 0] + 1e5) / 1e7) ** 0.04
        symmetric, asymmetric = ((d / emphasis).clamp(max=45.0) for d in (frame, frame_asymmetric))
        return _aggregate(symmetric), _aggregate(asymmetric)

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        audible = (clean.square().mean(-1) > 1e-5).to(clean)
        symmetric, asymmetric = self.disturbances(estimate, clean)
        return ((0.1 * symmetric + 0.0309 * asymmetric) * audible).sum() / audible.sum().clamp(min=1.0)


def _aggregate(frames: Tensor) -> Tensor:
    """L6 norm over intervals of 20 frames, half overlapping, then L2 norm over the intervals: (B, T) -> (B,)."""
    length = min(20, frames.shape[-1])
    intervals = frames.unfold(-1, length, max(1, length // 2))
    return ((intervals + 1e-6).pow(6).mean(-1) ** (2 / 6)).mean(-1).sqrt()


def _highpass(n_fft: int) -> Tensor:
    """Power response of the wide-band input filter (P.862.2) at the bins of a transform, (n_fft / 2 + 1,)."""
    z = torch.polar(torch.ones(n_fft // 2 + 1), -math.pi * torch.arange(n_fft // 2 + 1) / (n_fft // 2))
    response = 2.740826 * (1 - 2 * z + z**2) / (1 - 1.9444777 * z + 0.94597794 * z**2)
    return response.abs() ** 2
