"""The interface of losses on waveforms, which are added to a head's own."""

from __future__ import annotations

from torch import Tensor, nn


class WaveLoss(nn.Module):
    """A loss between waveforms, with its weight.

    Attributes:
        weight: factor in the sum.
    """

    weight: float

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Compare (B, S) with (B, S), return a scalar."""
        raise NotImplementedError
