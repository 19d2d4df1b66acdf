"""Transformer in which frames and tokens are streams of their own that attend to each other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.adaln import Modulation, TimeEmbedding, modulate
from gense.backbones.layers.frame_input import FrameInput
from gense.backbones.layers.frame_transformer import FrameTransformer
from gense.backbones.layers.rotary import rotary_table, rotate
from gense.backbones.layers.text_embedding import TextEmbedding, place
from gense.backbones.layers.transformer import FeedForward, ZeroLinear, merge_heads, split_heads
from gense.types import Condition


class Stream(nn.Module):
    """The layers that one stream has to itself in a block: all but the attention.

    Args:
        dim: channels.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward network in units of `dim`.
        rotary_heads: leading heads that see positions, None for all.
        dropout: in training.
        attended_only: whether the stream ends here, being attended to but not continued.
    """

    def __init__(
        self, dim: int, *, heads: int, head_dim: int, ff_mult: int, rotary_heads: int | None, dropout: float,
        attended_only: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.heads, self.rotary_heads = heads, rotary_heads
        self.modulation = Modulation(dim, 2 if attended_only else 6)
        self.qkv = nn.Linear(dim, 3 * heads * head_dim)
        self.out = None if attended_only else nn.Linear(heads * head_dim, dim)
        self.feed_forward = None if attended_only else FeedForward(dim, mult=ff_mult, dropout=dropout)

    def project(
        self, x: Tensor, parts: tuple[Tensor, ...], rotary: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Query, key and value of x, (B, N, dim), each (B, H, N, D), with the parts of its modulation."""
        query, key, value = split_heads(self.qkv(modulate(x, parts[0], parts[1])), self.heads)
        table = rotary[:, : x.shape[1]]
        return rotate(query, table, self.rotary_heads), rotate(key, table, self.rotary_heads), value

    def go_on(self, x: Tensor, parts: tuple[Tensor, ...], attended: Tensor, dropout: nn.Module) -> Tensor:
        """Take in what x attended to, (B, N, heads * head_dim), and run the feed-forward network; (B, N, dim)."""
        if self.out is None or self.feed_forward is None:
            return x
        _, _, gate, shift, scale, gate_ff = parts
        x = torch.addcmul(x, gate, dropout(self.out(attended)))
        return torch.addcmul(x, gate_ff, self.feed_forward(modulate(x, shift, scale)))


class JointBlock(nn.Module):
    """One attention over the frames and tokens together; everything else apart.

    Args:
        dim: channels.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward networks in units of `dim`.
        rotary_heads: leading heads that see positions, None for all; both streams count from 0.
        dropout: in training.
        last: whether the tokens end here.
    """

    def __init__(
        self, dim: int, *, heads: int, head_dim: int, ff_mult: int, rotary_heads: int | None, dropout: float, last: bool
    ):
        super().__init__()
        self.frames = Stream(
            dim, heads=heads, head_dim=head_dim, ff_mult=ff_mult, rotary_heads=rotary_heads, dropout=dropout
        )
        self.text = Stream(
            dim, heads=heads, head_dim=head_dim, ff_mult=ff_mult, rotary_heads=rotary_heads, dropout=dropout,
            attended_only=last,
        )  # fmt: skip
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, text: Tensor, time: Tensor, rotary: Tensor) -> tuple[Tensor, Tensor]:
        """Return frames (B, N, dim) and tokens (B, L, dim) of the shapes given, with activated time (B, dim)."""
        of_frames, of_text = self.frames.modulation(time), self.text.modulation(time)
        pairs = zip(self.frames.project(x, of_frames, rotary), self.text.project(text, of_text, rotary), strict=True)
        query, key, value = (torch.cat(pair, dim=2) for pair in pairs)
        attended = merge_heads(F.scaled_dot_product_attention(query, key, value))
        frames = x.shape[1]
        x = self.frames.go_on(x, of_frames, attended[:, :frames], self.dropout)
        # The published block has no dropout on this side
        return x, self.text.go_on(text, of_text, attended[:, frames:], nn.Identity())


class MMDiT(FrameTransformer):
    """Diffusion transformer of two streams (Esser et al. 2024, Stable Diffusion 3), frames and tokens.

    Tokens keep their own length here. A missing condition is zero; missing tokens are one padding token a frame.

    Args:
        features: features per frame of the state, of each condition and of the output.
        dim: channels.
        depth: number of blocks.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward networks in units of `dim`.
        condition: names of conditions (B, features, T), in the order in which they enter.
        tokens: name of the token condition, (B, L) int64 with -1 for padding.
        vocabulary: number of tokens.
        rotary_heads: leading heads with rotary positions, None for all.
        dropout: in training.

    Raises:
        ValueError: on calling, without t or with a condition of another name.
    """

    def __init__(
        self,
        *,
        features: int = 100,
        dim: int = 512,
        depth: int = 16,
        heads: int = 16,
        head_dim: int = 64,
        ff_mult: int = 2,
        condition: Sequence[str] = ("noisy_mel",),
        tokens: str = "text",
        vocabulary: int = 2545,
        rotary_heads: int | None = 1,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.head_dim, self.tokens = head_dim, tokens
        self.reads = (*condition, tokens)
        self.time = TimeEmbedding(dim)
        self.text = TextEmbedding(vocabulary, dim, blocks=0, positions=1024)
        self.input = FrameInput(features, dim, condition=condition)
        self.blocks = nn.ModuleList(
            JointBlock(
                dim, heads=heads, head_dim=head_dim, ff_mult=ff_mult, rotary_heads=rotary_heads, dropout=dropout,
                last=index == depth - 1,
            )
            for index in range(depth)
        )  # fmt: skip
        self.modulation = Modulation(dim, 2)
        self.output = ZeroLinear(dim, features)

    def _prepare(self, x: Tensor, cond: Condition) -> Condition:
        assert self.text is not None  # this one always has tokens
        ids = cond[self.tokens] if self.tokens in cond else place(None, x)
        length = max(ids.shape[1], x.shape[-1])
        return {
            "share": self.input.share(x, cond), "text": self.text(ids),
            "rotary": rotary_table(length, self.head_dim, x.device),
        }  # fmt: skip

    def _run(self, x: Tensor, t: Tensor, prepared: Condition) -> Tensor:
        time = F.silu(self.time(t))
        h, text = self.input(x, prepared["share"]), prepared["text"]
        for block in self.blocks:
            h, text = block(h, text, time, prepared["rotary"])
        return self.output(modulate(h, *self.modulation(time))).transpose(1, 2)
