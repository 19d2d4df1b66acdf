"""The levels of a U-Net of residual blocks, and the head that turns a map into spectra."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers import strips
from gense.backbones.layers.attention import MapAttention
from gense.backbones.layers.initialisation import SILENT, Conv, group_norm
from gense.backbones.layers.residual import ResidualBlock


class SpectrumHead(nn.Module):
    """Norm, SiLU and 3x3 convolution from a map to the channels of the spectra."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.conv = Conv(channels, outputs, 3, scale=SILENT)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H, W) for x (B, channels, H, W), channels last."""
        if strips.suits(x):
            affine = strips.normalisation([x], self.norm)
            return strips.convolve([x], self.conv.weight, self.conv.bias[None], affine=affine)
        return self.conv(F.silu(self.norm(x)))


class DownLevel(nn.Module):
    """One level on the way down: residual blocks, each with attention if the level has it, then halving.

    `shrink` is absent in the deepest level, `inject` (1x1 convolution of the input pyramid) there and in networks
    without that pyramid.
    """

    def __init__(
        self,
        blocks: Sequence[ResidualBlock],
        attention: Sequence[MapAttention],
        shrink: ResidualBlock | None,
        inject: Conv | None,
    ) -> None:
        super().__init__()
        self.blocks = cast("list[ResidualBlock]", nn.ModuleList(blocks))
        self.attention = cast("list[MapAttention]", nn.ModuleList(attention))
        self.shrink = shrink
        self.inject = inject

    def features(self, x: Tensor, time: Tensor | None) -> list[Tensor]:
        """Return the map after each block."""
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x, time)
            if self.attention:
                x = self.attention[index](x)
            maps.append(x)
        return maps


class UpLevel(nn.Module):
    """One level on the way up: residual blocks on the maps of the way down, attention if the level has it, doubling.

    `head` (this level's part of the output pyramid) is absent in networks without that pyramid, `grow` in the finest.
    """

    def __init__(
        self,
        blocks: Sequence[ResidualBlock],
        attention: MapAttention | None,
        head: SpectrumHead | None,
        grow: ResidualBlock | None,
    ) -> None:
        super().__init__()
        self.blocks = cast("list[ResidualBlock]", nn.ModuleList(blocks))
        self.attention = attention
        self.head = head
        self.grow = grow

    def features(self, x: Tensor, time: Tensor | None, laterals: list[Tensor]) -> Tensor:
        """Return the level's map; takes one map off the end of `laterals` for each block."""
        for block in self.blocks:
            x = block(x, time, laterals.pop())
        return x if self.attention is None else self.attention(x)
