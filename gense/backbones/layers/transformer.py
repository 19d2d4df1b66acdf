"""The two halves of a transformer block on (B, N, dim)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.rotary import rotate


def split_heads(qkv: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
    """Cut projections (B, N, 3 H D) into query, key and value, each (B, H, N, D)."""
    query, key, value = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return query, key, value


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, N, D) -> (B, N, H D)."""
    return x.transpose(1, 2).flatten(2)


class RotaryAttention(nn.Module):
    """Multi-head self-attention over all frames with rotary positions.

    Args:
        dim: channels.
        heads: number of heads.
        head_dim: size of each.
        rotary_heads: number of leading heads that see positions, None for all.
        dropout: on the output, in training.
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int, rotary_heads: int | None, dropout: float):
        super().__init__()
        self.heads, self.rotary_heads = heads, rotary_heads
        self.qkv = nn.Linear(dim, 3 * heads * head_dim)
        self.out = nn.Linear(heads * head_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, rotary: Tensor) -> Tensor:
        """Attend among the frames of x, (B, N, dim), with a table from `rotary_table`, (2, N, D / 2)."""
        query, key, value = split_heads(self.qkv(x), self.heads)
        query, key = (rotate(part, rotary, self.rotary_heads) for part in (query, key))
        return self.dropout(self.out(merge_heads(F.scaled_dot_product_attention(query, key, value))))


class FeedForward(nn.Module):
    """Two linear layers with the tanh form of GELU between them, frame by frame.

    Args:
        dim: channels.
        mult: width of the middle in units of `dim`.
        dropout: on the middle, in training.
    """

    def __init__(self, dim: int, *, mult: int, dropout: float):
        super().__init__()
        self.expand = nn.Linear(dim, mult * dim)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(mult * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor shaped like x, (B, N, dim)."""
        return self.project(self.dropout(F.gelu(self.expand(x), approximate="tanh")))


class ZeroLinear(nn.Linear):
    """A linear layer that starts at zero: the output of a network whose first estimate should be nothing."""

    def reset_parameters(self) -> None:
        """Set weight and bias to zero."""
        with torch.no_grad():
            self.weight.zero_()
            self.bias.zero_()
