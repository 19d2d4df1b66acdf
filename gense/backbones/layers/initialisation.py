"""Layers with the starting values of the NCSN++ family.

Weights are uniform with variance scale / fan_avg and biases are zero (Glorot & Bengio 2010, with a scale).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SILENT = 1e-10
"""Scale of the last layer of a residual branch or head: it starts as (almost) nothing."""


def variance_scaling_(weight: Tensor, scale: float = 1.0) -> Tensor:
    """Fill a (out, in, *kernel) weight in place with U(-a, a), a = sqrt(3 scale / fan_avg)."""
    fan_avg = (weight.shape[0] + weight.shape[1]) * math.prod(weight.shape[2:]) / 2
    bound = math.sqrt(3 * scale / fan_avg)
    with torch.no_grad():
        return weight.uniform_(-bound, bound)


class Linear(nn.Linear):
    """Linear layer with scaled uniform weights and zero bias."""

    def __init__(self, inputs: int, outputs: int, *, scale: float = 1.0) -> None:
        super().__init__(inputs, outputs)
        variance_scaling_(self.weight, scale)
        nn.init.zeros_(self.bias)


class Conv(nn.Conv2d):
    """Convolution of odd kernel size that keeps the map's size, with scaled uniform weights and zero bias."""

    bias: Tensor

    def __init__(self, inputs: int, outputs: int, kernel: int, *, scale: float = 1.0) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        variance_scaling_(self.weight, scale)
        nn.init.zeros_(self.bias)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group norm with min(channels / 4, 32) groups and eps 1e-6.

    Raises:
        ValueError: the channels do not divide into that many groups.
    """
    groups = min(channels // 4, 32)
    if groups == 0 or channels % groups:
        raise ValueError(
            f"{channels} channels cannot be normalised in min(channels // 4, 32) = {groups} groups: "
            "use channel counts divisible by 4 up to 128, by 32 above (concatenated maps included)"
        )
    return nn.GroupNorm(groups, channels, eps=1e-6)
