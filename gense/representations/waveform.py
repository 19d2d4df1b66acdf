"""The waveform itself, for networks that take it as it is."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from gense.representations.base import Representation


class Waveform(Representation):
    """The identity: (B, S) stays (B, S), one frame a sample.

    Args:
        sample_rate: of the waveforms, Hz.

    Raises:
        ValueError: the rate is not positive.
    """

    def __init__(self, *, sample_rate: int = 16000):
        super().__init__()
        if sample_rate < 1:
            raise ValueError(f"sample_rate={sample_rate}: expected Hz, at least 1")
        self.sample_rate, self.hop_length = sample_rate, 1

    def encode(self, wav: Tensor) -> Tensor:
        """Return (B, S) as it is."""
        return wav

    def decode(self, x: Tensor, length: int) -> Tensor:
        """Cut (B, S) to (B, length), or fill it up with zeros."""
        return F.pad(x[:, :length], (0, max(0, length - x.shape[-1])))
