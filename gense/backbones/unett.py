"""Transformer with skip connections between mirrored blocks and time as a token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.adaln import TimeEmbedding
from gense.backbones.layers.frame_input import FrameInput
from gense.backbones.layers.frame_transformer import FrameTransformer
from gense.backbones.layers.text_embedding import TextEmbedding
from gense.backbones.layers.transformer import FeedForward, RotaryAttention
from gense.types import Condition


class RMSNorm(nn.RMSNorm):
    """x / rms(x) with a gain, in the dtype of x; the floor under the root is there for silence alone.

    Args:
        dim: channels.
    """

    def __init__(self, dim: int):
        super().__init__(dim, eps=1e-20)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor shaped like x, (B, N, dim)."""
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


class SkipBlock(nn.Module):
    """Attention and a feed-forward network under RMS norms, with room for a skip connection in front.

    Args:
        dim: channels.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward network in units of `dim`.
        rotary_heads: leading heads that see positions, None for all.
        dropout: in training.
        skip: how a skip connection joins.
    """

    def __init__(
        self, dim: int, *, heads: int, head_dim: int, ff_mult: int, rotary_heads: int | None, dropout: float,
        skip: Literal["concat", "add", "none"],
    ):  # fmt: skip
        super().__init__()
        self.adds = skip == "add"
        self.skip = nn.Linear(2 * dim, dim, bias=False) if skip == "concat" else None
        self.attention_norm, self.feed_forward_norm = RMSNorm(dim), RMSNorm(dim)
        self.attention = RotaryAttention(
            dim, heads=heads, head_dim=head_dim, rotary_heads=rotary_heads, dropout=dropout
        )
        self.feed_forward = FeedForward(dim, mult=ff_mult, dropout=dropout)

    def forward(self, x: Tensor, rotary: Tensor, skipped: Tensor | None = None) -> Tensor:
        """Return a tensor shaped like x, (B, N, dim); `skipped` has that shape too."""
        if skipped is not None and self.skip is not None:
            x = self.skip(torch.cat([x, skipped], dim=-1))
        elif skipped is not None and self.adds:
            x = x + skipped
        x = x + self.attention(self.attention_norm(x), rotary)
        return x + self.feed_forward(self.feed_forward_norm(x))


class UNetT(FrameTransformer):
    """Flat U-Net transformer (E2 TTS, Eskimez et al. 2024): time is a token in front of the frames.

    The input of each block in the first half joins the mirrored block of the second. Conditions and tokens enter as
    in `DiT`, and mean the same when they are missing.

    Args:
        features: features per frame of the state, of each condition and of the output.
        dim: channels.
        depth: number of blocks, even.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward networks in units of `dim`.
        condition: names of conditions (B, features, T), in the order in which they enter.
        tokens: name of the token condition, (B, L) int64 with -1 for padding; None for a network without tokens.
        vocabulary: number of tokens.
        text_dim: features of a token.
        text_blocks: ConvNeXt blocks on them; with 0 they have no positions of their own either.
        skip: how the skip connections join.
        rotary_heads: leading heads with rotary positions, None for all.
        dropout: in training.

    Raises:
        ValueError: the depth is odd, or skip is unknown; on calling, without t or with a condition of another name.
    """

    lead = 1  # time is a position of its own, before the frames

    def __init__(
        self,
        *,
        features: int = 100,
        dim: int = 1024,
        depth: int = 24,
        heads: int = 16,
        head_dim: int = 64,
        ff_mult: int = 4,
        condition: Sequence[str] = ("noisy_mel",),
        tokens: str | None = "text",
        vocabulary: int = 2545,
        text_dim: int = 100,
        text_blocks: int = 0,
        skip: Literal["concat", "add", "none"] = "concat",
        rotary_heads: int | None = 1,
        dropout: float = 0.1,
    ):
        super().__init__()
        if depth % 2:
            raise ValueError(f"depth={depth}: need an even number, as each block has its mirror image")
        if skip not in ("concat", "add", "none"):
            raise ValueError(f"skip={skip!r}: expected concat, add or none")
        self.head_dim, self.tokens, self.middle = head_dim, tokens, depth // 2
        self.reads = (*condition, *([tokens] if tokens else []))
        self.time = TimeEmbedding(dim)
        positions = 4096 if text_blocks else 0
        self.text = TextEmbedding(vocabulary, text_dim, blocks=text_blocks, positions=positions) if tokens else None
        self.input = FrameInput(features, dim, condition=condition, further=text_dim if tokens else 0)
        self.blocks = nn.ModuleList(
            SkipBlock(
                dim, heads=heads, head_dim=head_dim, ff_mult=ff_mult, rotary_heads=rotary_heads, dropout=dropout,
                skip=skip if index >= self.middle else "none",
            )
            for index in range(depth)
        )  # fmt: skip
        self.norm = RMSNorm(dim)
        self.output = nn.Linear(dim, features)

    def _run(self, x: Tensor, t: Tensor, prepared: Condition) -> Tensor:
        frames = self.input(x, prepared["share"])
        h = torch.cat([self.time(t)[:, None].to(frames.dtype), frames], dim=1)
        skipped: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            if index < self.middle:
                skipped.append(h)
                h = block(h, prepared["rotary"])
            else:
                h = block(h, prepared["rotary"], skipped.pop())
        return self.output(self.norm(h)[:, 1:]).transpose(1, 2)
