"""Sinusoidal features of time."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SinusoidalEmbedding(nn.Module):
    """Sines and cosines of time at geometrically spaced frequencies (Vaswani et al. 2017).

    Args:
        dim: number of features, even.
        scale: factor on t before the sinusoids; 1000 for times in [0, 1].
    """

    frequencies: Tensor

    def __init__(self, dim: int, *, scale: float = 1000.0):
        super().__init__()
        half = dim // 2
        frequencies = scale * torch.exp(-math.log(10000.0) * torch.arange(half) / (half - 1))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Embed times (B,) as (B, dim)."""
        phase = t[:, None].to(self.frequencies.dtype) * self.frequencies
        return torch.cat([phase.sin(), phase.cos()], dim=-1)
