"""Residual block of the NCSN++ family, with optional resampling inside."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers import strips
from gense.backbones.layers.fir import FIRDown, FIRUp
from gense.backbones.layers.initialisation import SILENT, Conv, Linear, group_norm

_HALF_POWER = math.sqrt(0.5)


class ResidualBlock(nn.Module):
    """(skip(x) + conv(act(norm(conv(act(norm(x))) + time)))) / sqrt(2).

    BigGAN's residual block (Brock et al. 2019, arXiv:1809.11096), rescaled (Song et al. 2021, arXiv:2011.13456).

    Args:
        inputs: channels in, those of the lateral map included.
        outputs: channels out.
        time_features: features of the time embedding, or None for a block without time.
        resample: halve ("down") or double ("up") both axes of the map, in both branches.
        dropout: probability before the second convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        time_features: int | None,
        resample: Literal["down", "up"] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.norm_in = group_norm(inputs)
        self.conv_in = Conv(inputs, outputs, 3)
        self.time = None if time_features is None else Linear(time_features, outputs)
        self.norm_out = group_norm(outputs)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = Conv(outputs, outputs, 3, scale=SILENT)
        self.skip = None if inputs == outputs and resample is None else Conv(inputs, outputs, 1)
        self.down = FIRDown() if resample == "down" else None
        self.up = FIRUp() if resample == "up" else None

    def forward(self, x: Tensor, time: Tensor | None, lateral: Tensor | None = None) -> Tensor:
        """Apply the block.

        Args:
            x: map, (B, C, H, W), channels last.
            time: activated time embedding, (B, time_features); None in a block without time.
            lateral: map of the way down, (B, D, H, W), put after the channels of x; C + D = inputs.

        Returns:
            (B, outputs, H', W'), channels last; H' and W' are half or double of H and W in a resampling block.
        """
        shift = self.conv_in.bias[None]
        if self.time is not None and time is not None:
            shift = shift + self.time(time)
        parts = [x] if lateral is None else [x, lateral]
        if strips.suits(x) and not (self.training and self.dropout.p > 0):
            return self._in_strips(parts, shift)
        return self._plain(x if lateral is None else torch.cat(parts, dim=1), shift)

    def _resample(self, x: Tensor) -> Tensor:
        for module in (self.down, self.up):
            if module is not None:
                x = module(x)
        return x

    def _shortcut(self, x: Tensor) -> Tensor:
        """The shortcut at the output's size, without its bias.

        A 1x1 convolution commutes with the resampling of the map, so it is done where the map is smaller.  Its bias
        does not commute (the filter sees zeros outside the map); it is added with that of the second convolution.
        """
        if self.skip is None:
            return x
        if self.down is not None:
            x = self.down(x)
        x = F.conv2d(x, self.skip.weight)
        return x if self.up is None else self.up(x)

    def _bias_out(self) -> Tensor:
        return self.conv_out.bias if self.skip is None else self.conv_out.bias + self.skip.bias

    def _plain(self, x: Tensor, shift: Tensor) -> Tensor:
        reuse = not torch.is_grad_enabled()
        hidden = self._resample(F.silu(self.norm_in(x), inplace=reuse))
        if len(shift) == 1:
            hidden = F.conv2d(hidden, self.conv_in.weight, shift[0], padding=1)
        else:
            hidden = F.conv2d(hidden, self.conv_in.weight, padding=1) + shift[:, :, None, None]
        hidden = self.dropout(F.silu(self.norm_out(hidden), inplace=reuse))
        # Half the power goes into the small weights: one pass over the map less, here and in the backward pass.
        hidden = F.conv2d(hidden, self.conv_out.weight * _HALF_POWER, self._bias_out() * _HALF_POWER, padding=1)
        return torch.add(hidden, self._shortcut(x), alpha=_HALF_POWER)

    def _in_strips(self, parts: list[Tensor], shift: Tensor) -> Tensor:
        affine = strips.normalisation(parts, self.norm_in)
        shortcut, weight = parts, None if self.skip is None else self.skip.weight
        if self.down is None and self.up is None:
            hidden = strips.convolve(parts, self.conv_in.weight, shift, affine=affine)
        else:
            x = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
            active = self._resample(strips.activate([x], affine, torch.empty_like(x)))
            hidden = strips.convolve([active], self.conv_in.weight, shift)
            if self.up is not None and weight is not None:
                shortcut, weight = [self.up(strips.pointwise(x, weight))], None
            elif self.down is not None:
                shortcut = [self.down(x)]
        return strips.convolve(
            [hidden],
            self.conv_out.weight * _HALF_POWER,
            self._bias_out()[None] * _HALF_POWER,
            affine=strips.normalisation([hidden], self.norm_out),
            shortcut=shortcut,
            shortcut_weight=weight,
            shortcut_gain=_HALF_POWER,
            out=hidden,
        )
