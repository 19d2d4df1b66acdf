"""Self-attention over all positions of a map."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.initialisation import SILENT, Linear, group_norm, variance_scaling_


class MapAttention(nn.Module):
    """Single-head self-attention over the H * W positions of a map, as a rescaled residual: (x + f(x)) / sqrt(2).

    Args:
        channels: channels of the map.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.qkv = Linear(channels, 3 * channels)
        for third in self.qkv.weight.data.chunk(3):
            variance_scaling_(third, 0.1)
        self.out = Linear(channels, channels, scale=SILENT)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map shaped like x, (B, C, H, W)."""
        batch, channels, height, width = x.shape
        positions = self.norm(x).permute(0, 2, 3, 1).reshape(batch, 1, height * width, channels)
        query, key, value = self.qkv(positions).chunk(3, dim=-1)
        mixed = self.out(F.scaled_dot_product_attention(query, key, value))
        mixed = mixed.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
        return torch.add(x, mixed) * math.sqrt(0.5)
