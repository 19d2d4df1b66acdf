"""The input of the transformers: state and conditions, frame by frame, in one projection."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.conv_position import ConvPosition
from gense.types import Condition


class FrameInput(nn.Module):
    """One linear layer on [state, conditions, further features] of each frame, plus positions by convolution.

    The layer is applied in two parts, because the conditions' share is the same at every step of a sampling.

    Args:
        features: features of the state and of each condition.
        dim: channels of the result.
        condition: names of the conditions, each (B, features, T), in the order in which they enter.
        further: number of features that follow, those of tokens.
    """

    def __init__(self, features: int, dim: int, *, condition: Sequence[str], further: int = 0):
        super().__init__()
        self.features, self.condition = features, tuple(condition)
        self.projection = nn.Linear((1 + len(self.condition)) * features + further, dim)
        self.position = ConvPosition(dim)

    def share(self, x: Tensor, cond: Condition, further: Tensor | None = None) -> Tensor:
        """The conditions' part, (B, N, dim).

        Args:
            x: state, (B, features, N).
            cond: conditions, (B, features, N); a missing one counts as zero.
            further: (B, N, further) or None.
        """
        parts = [x.transpose(1, 2)[:, :, :0]]
        parts += [(cond[name] if name in cond else torch.zeros_like(x)).transpose(1, 2) for name in self.condition]
        parts += [] if further is None else [further]
        return F.linear(torch.cat(parts, dim=-1), self.projection.weight[:, self.features :], self.projection.bias)

    def forward(self, x: Tensor, share: Tensor) -> Tensor:
        """Add the state's part, x (B, features, N), and positions: (B, N, dim)."""
        h = F.linear(x.transpose(1, 2), self.projection.weight[:, : self.features]) + share
        return h + self.position(h)


def check_names(cond: Condition, known: Sequence[str]) -> None:
    """Refuse conditions that the network would not read.

    Raises:
        ValueError: naming them and those that it reads.
    """
    if unknown := [name for name in cond if name not in known]:
        raise ValueError(f"got condition {', '.join(unknown)}; this network reads {', '.join(known) or 'none'}")
