"""Random Fourier features of the logarithm of time, and the small network on top of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.initialisation import Linear


class LogFourierFeatures(nn.Module):
    """sin and cos of 2 pi W log t with fixed random frequencies W ~ N(0, scale^2) (Song et al. 2021, arXiv:2011.13456).

    The frequencies are a parameter that is not trained, so that they are saved and averaged with the rest.
    They stay in float32 when the module is cast: at |W log t| of about 100 a bfloat16 frequency would
    move the angle by a large part of a turn.

    Args:
        size: number of frequencies; the output has twice as many features.
        scale: standard deviation of the frequencies.
    """

    def __init__(self, size: int, *, scale: float = 16.0) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.randn(size) * scale, requires_grad=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        exact = self.frequencies.data
        super()._apply(fn, recurse)
        if self.frequencies.dtype != torch.float32:
            moved = self.frequencies
            moved.data = torch.empty_like(moved, dtype=torch.float32) if exact.is_meta else exact.to(moved.device)
        return self

    def forward(self, t: Tensor) -> Tensor:
        """Embed times t > 0, (B,), as float32 features (B, 2 * size)."""
        angle = torch.log(t.float())[:, None] * self.frequencies[None, :] * 2 * math.pi
        return torch.cat([torch.sin(angle), torch.cos(angle)], dim=1)


class TimeEmbedding(nn.Module):
    """Fourier features, two linear layers and the activation with which every residual block reads them.

    Args:
        size: number of frequencies; the output has 4 * size features.
        scale: standard deviation of the frequencies.
    """

    def __init__(self, size: int, *, scale: float = 16.0) -> None:
        super().__init__()
        self.fourier = LogFourierFeatures(size, scale=scale)
        self.linear_in = Linear(2 * size, 4 * size)
        self.linear_out = Linear(4 * size, 4 * size)

    def forward(self, t: Tensor) -> Tensor:
        """Embed times t > 0, (B,), as (B, 4 * size) features in the dtype of the linear layers."""
        features = self.fourier(t).to(self.linear_in.weight.dtype)
        return F.silu(self.linear_out(F.silu(self.linear_in(features))))
