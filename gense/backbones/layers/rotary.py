"""Rotary positions: attention that sees the distance between two frames."""

from __future__ import annotations

import torch
from torch import Tensor


def rotary_table(length: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Cosines and sines of the angles n / 10000^(2i / dim), float32 (2, length, dim / 2) (Su et al. 2021, RoFormer).

    Args:
        length: positions n = 0 ... length - 1.
        dim: size of an attention head, even.
        device: where to build it.
    """
    steps = torch.arange(0, dim, 2, device=device, dtype=torch.float32) / dim
    positions = torch.arange(length, device=device, dtype=torch.float32)
    angles = positions[:, None] * (1.0 / 10000.0**steps)
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, table: Tensor, heads: int | None = None) -> Tensor:
    """Turn neighbouring channels (0, 1), (2, 3), ... of each frame by the angles of its position.

    Args:
        x: queries or keys by head, (B, H, N, D).
        table: from `rotary_table`, (2, N, D / 2).
        heads: number of leading heads that are turned; None for all. The others stay without position.

    Returns:
        A tensor shaped like x, in its dtype.
    """
    if heads is not None and heads < x.shape[1]:
        return torch.cat([rotate(x[:, :heads], table), x[:, heads:]], dim=1)
    cos, sin = table
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, odd * cos + even * sin], dim=-1).flatten(-2).to(x.dtype)
