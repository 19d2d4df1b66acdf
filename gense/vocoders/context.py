"""A network whose every output frame sees the whole input: residual convolutions around one attention over time."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_GROUPS = 32


def group_norm(dim: int) -> nn.GroupNorm:
    """Normalisation of 32 groups of channels, each over all frames."""
    return nn.GroupNorm(_GROUPS, dim, eps=1e-6)


class ConvolutionBlock(nn.Module):
    """Residual block of two convolutions over 3 frames, each after a group norm and SiLU.

    Args:
        dim: channels, a multiple of 32.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm_in, self.conv_in = group_norm(dim), nn.Conv1d(dim, dim, 3, padding=1)
        self.norm_out, self.conv_out = group_norm(dim), nn.Conv1d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, T) to (B, dim, T)."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        return x + self.conv_out(F.silu(self.norm_out(h)))


class AttentionBlock(nn.Module):
    """Residual attention of one head, as wide as the channels, over all frames.

    Args:
        dim: channels, a multiple of 32.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.norm = group_norm(dim)
        self.query, self.key, self.value, self.out = (nn.Conv1d(dim, dim, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, T) to (B, dim, T)."""
        h = self.norm(x)
        query, key, value = (layer(h).transpose(1, 2) for layer in (self.query, self.key, self.value))
        return x + self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2))


class Context(nn.Sequential):
    """Two convolution blocks, attention, two convolution blocks and a group norm; (B, dim, T) to (B, dim, T).

    Nothing in it knows positions: the convolutions around it give them.

    Args:
        dim: channels.

    Raises:
        ValueError: `dim` is no multiple of 32.
    """

    def __init__(self, dim: int):
        if dim % _GROUPS:
            raise ValueError(f"dim={dim}: the group norms of the context need a multiple of {_GROUPS}")
        blocks = [ConvolutionBlock(dim), ConvolutionBlock(dim), AttentionBlock(dim)]
        super().__init__(*blocks, ConvolutionBlock(dim), ConvolutionBlock(dim), group_norm(dim))
