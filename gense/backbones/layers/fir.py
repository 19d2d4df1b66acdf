"""Resampling of maps by two with the smoothing filter [1, 3, 3, 1] (StyleGAN2: Karras et al. 2020, 1912.04958)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def _kernel(gain: float) -> Tensor:
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    # The values 1, 3, 9 over a power of two are exact in bfloat16 as well.
    return torch.outer(taps, taps)[None, None] * (gain / 64)


class FIRDown(nn.Module):
    """Halve both axes: filter, then keep every second sample; zeros outside the map.

    One depthwise convolution of stride 2: the samples that would be thrown away are never computed.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _kernel(1.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, H / 2, W / 2) for x (B, C, H, W)."""
        channels = x.shape[1]
        return F.conv2d(x, self.kernel.expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)


class FIRUp(nn.Module):
    """Double both axes: put zeros between the samples, then filter with gain 4; zeros outside the map.

    One depthwise transposed convolution of stride 2: the inserted zeros are never stored nor multiplied.
    """

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", _kernel(4.0), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, C, 2 H, 2 W) for x (B, C, H, W)."""
        channels = x.shape[1]
        return F.conv_transpose2d(x, self.kernel.expand(channels, 1, 4, 4), stride=2, padding=1, groups=channels)
