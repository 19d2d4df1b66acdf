"""Distance of waveforms."""

from __future__ import annotations

from torch import Tensor

from gense.losses.base import WaveLoss


class WaveformLoss(WaveLoss):
    """Mean absolute difference of samples, the time-domain loss of Schroedinger bridges (Jukic et al. 2024).

    Args:
        weight: factor in the sum of losses.
    """

    def __init__(self, *, weight: float = 1e-3):
        super().__init__()
        self.weight = weight

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        return (estimate - clean).abs().mean()
