"""Positions from convolutions."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class ConvPosition(nn.Module):
    """Two grouped convolutions over 31 frames, whose zero padding tells where the ends are, each followed by Mish.

    Args:
        dim: channels, a multiple of `groups`.
        kernel: frames, odd.
        groups: of the convolutions.
    """

    def __init__(self, dim: int, *, kernel: int = 31, groups: int = 16):
        super().__init__()
        self.conv_in = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        self.conv_out = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Return positions for x, (B, N, dim), of the same shape."""
        return F.mish(self.conv_out(F.mish(self.conv_in(x.transpose(1, 2))))).transpose(1, 2)
