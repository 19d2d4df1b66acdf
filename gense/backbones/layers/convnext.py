"""ConvNeXt V2 blocks on sequences."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResponseNorm(nn.Module):
    """Global response normalisation (Woo et al. 2023, ConvNeXt V2): channels compete by their energy over all frames.

    y = gain (x G / mean_c G) + bias + x with G the L2 norm of a channel over time. Every frame, padding included,
    acts on every other. Gain and bias start at zero, the identity.

    Args:
        channels: channels of (B, N, C).
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor shaped like x, (B, N, C)."""
        energy = torch.linalg.vector_norm(x, dim=1, keepdim=True)
        share = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        return torch.addcmul(x + self.bias, x * share, self.gain)


class ConvNeXtBlock(nn.Module):
    """Residual block: depthwise convolution over 7 frames, norm, expansion, GELU, response norm, projection.

    Args:
        dim: channels.
        hidden: channels of the expansion.
    """

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.expand = nn.Linear(dim, hidden)
        self.response = ResponseNorm(hidden)
        self.project = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor shaped like x, (B, N, dim)."""
        h = self.norm(self.depthwise(x.transpose(1, 2)).transpose(1, 2))
        return x + self.project(self.response(F.gelu(self.expand(h))))
