"""Token ids to features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gense.backbones.layers.convnext import ConvNeXtBlock

PADDING = -1
"""Id of a place without a token."""


def place(ids: Tensor | None, like: Tensor) -> Tensor:
    """Lay tokens along the frames, one a frame from frame 0 on; what does not fit is cut off, as published.

    Args:
        ids: (B, L) int64, padded with -1; None for no tokens at all.
        like: features (B, C, T) whose frames are meant.

    Returns:
        Ids (B, T).
    """
    batch, frames = like.shape[0], like.shape[-1]
    placed = torch.full((batch, frames), PADDING, dtype=torch.int64, device=like.device)
    if ids is not None:
        placed[:, : ids.shape[1]] = ids[:, :frames]
    return placed


class TextEmbedding(nn.Module):
    """Embeddings of tokens with sinusoidal positions, refined by ConvNeXt blocks.

    Padding has an embedding of its own, is not masked, and takes part in the blocks as in the published network.

    Args:
        vocabulary: number of tokens.
        dim: number of features.
        blocks: number of ConvNeXt blocks.
        positions: number of different positions; tokens beyond share the last. 0 for none.
    """

    def __init__(self, vocabulary: int, dim: int, *, blocks: int, positions: int):
        super().__init__()
        self.positions = positions
        self.tokens = nn.Embedding(vocabulary + 1, dim)
        self.blocks = nn.ModuleList(ConvNeXtBlock(dim, 2 * dim) for _ in range(blocks))

    def forward(self, ids: Tensor) -> Tensor:
        """Embed ids (B, L), -1 for padding, as (B, L, dim)."""
        x = self.tokens(ids - PADDING)
        if self.positions:
            x = x + self._sinusoids(ids.shape[1], x)
        for block in self.blocks:
            x = block(x)
        return x

    def _sinusoids(self, length: int, like: Tensor) -> Tensor:
        """Cosines, then sines, of n / 10000^(2i / dim), (length, dim)."""
        dim = like.shape[-1]
        steps = torch.arange(0, dim, 2, device=like.device, dtype=torch.float32)[: dim // 2] / dim
        rows = torch.arange(length, device=like.device, dtype=torch.float32).clamp(max=self.positions - 1)
        angles = rows[:, None] * (1.0 / 10000.0**steps)
        return torch.cat([angles.cos(), angles.sin()], dim=-1).to(like.dtype)
