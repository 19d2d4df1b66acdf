"""Time in a transformer: its features, and layer norms that they scale and shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.sinusoidal import SinusoidalEmbedding


class TimeEmbedding(nn.Module):
    """Sinusoids of time and a network of two layers.

    Args:
        dim: number of features.
        sinusoids: number of sines and cosines under them.
    """

    def __init__(self, dim: int, *, sinusoids: int = 256):
        super().__init__()
        # The factor of 1000 is on t, not on the frequencies: at phases of hundreds the order of rounding shows
        self.sinusoids = SinusoidalEmbedding(sinusoids, scale=1.0)
        self.linear_in = nn.Linear(sinusoids, dim)
        self.linear_out = nn.Linear(dim, dim)

    def forward(self, t: Tensor) -> Tensor:
        """Embed times in [0, 1], (B,), as (B, dim)."""
        return self.linear_out(F.silu(self.linear_in(self.sinusoids(1000 * t))))


class Modulation(nn.Linear):
    """From time to shifts, scales and gates (Peebles & Xie 2023, adaLN-Zero: all start at zero).

    Args:
        dim: number of time features and of channels.
        parts: how many vectors of `dim` channels are wanted.
    """

    def __init__(self, dim: int, parts: int):
        super().__init__(dim, parts * dim)
        self.parts = parts
        nn.init.zeros_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        """Map activated time features (B, dim) to `parts` tensors (B, 1, dim)."""
        return super().forward(time)[:, None].chunk(self.parts, dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise the channels of x, (B, N, dim), then scale by (1 + scale) and shift, both (B, 1, dim)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=1e-6), 1 + scale)
