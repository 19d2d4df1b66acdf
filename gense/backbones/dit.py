"""Diffusion transformer on feature frames, conditioned on other features of the same frames and on tokens."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.adaln import Modulation, TimeEmbedding, modulate
from gense.backbones.layers.frame_input import FrameInput
from gense.backbones.layers.frame_transformer import FrameTransformer
from gense.backbones.layers.text_embedding import TextEmbedding
from gense.backbones.layers.transformer import FeedForward, RotaryAttention, ZeroLinear
from gense.types import Condition


class DiTBlock(nn.Module):
    """Attention and a feed-forward network, each under a layer norm that time modulates, with a gate behind it.

    Args:
        dim: channels.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward network in units of `dim`.
        rotary_heads: leading heads that see positions, None for all.
        dropout: in training.
    """

    def __init__(self, dim: int, *, heads: int, head_dim: int, ff_mult: int, rotary_heads: int | None, dropout: float):
        super().__init__()
        self.modulation = Modulation(dim, 6)
        self.attention = RotaryAttention(
            dim, heads=heads, head_dim=head_dim, rotary_heads=rotary_heads, dropout=dropout
        )
        self.feed_forward = FeedForward(dim, mult=ff_mult, dropout=dropout)

    def forward(self, x: Tensor, time: Tensor, rotary: Tensor) -> Tensor:
        """Return a tensor shaped like x, (B, N, dim), given activated time features (B, dim)."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.modulation(time)
        x = torch.addcmul(x, gate, self.attention(modulate(x, shift, scale), rotary))
        return torch.addcmul(x, gate_ff, self.feed_forward(modulate(x, shift_ff, scale_ff)))


class DiT(FrameTransformer):
    """Transformer with adaptive layer norms (Peebles & Xie 2023) in the form of F5-TTS (Chen et al. 2024).

    State, conditions and token features enter side by side on each frame. A missing condition is zero; missing tokens
    are padding at every frame. Tokens lie one a frame from frame 0 on, and those beyond the last frame are not seen.
    The defaults are the published FlowSE (Wang et al. 2025), 337 M parameters.

    Args:
        features: features per frame of the state, of each condition and of the output.
        dim: channels.
        depth: number of blocks.
        heads: attention heads.
        head_dim: size of each.
        ff_mult: width of the feed-forward networks in units of `dim`.
        condition: names of conditions (B, features, T), in the order in which they enter.
        tokens: name of the token condition, (B, L) int64 with -1 for padding; None for a network without tokens.
        vocabulary: number of tokens.
        text_dim: features of a token.
        text_blocks: ConvNeXt blocks on them; with 0 they have no positions of their own either.
        rotary_heads: leading heads with rotary positions, None for all. The published network turns the first head
            alone; its weights load with any number, but mean something with 1 only.
        long_skip: whether the input of the first block joins the output of the last.
        dropout: in training.

    Raises:
        ValueError: on calling, without t or with a condition of another name.
    """

    def __init__(
        self,
        *,
        features: int = 100,
        dim: int = 1024,
        depth: int = 22,
        heads: int = 16,
        head_dim: int = 64,
        ff_mult: int = 2,
        condition: Sequence[str] = ("noisy_mel",),
        tokens: str | None = "text",
        vocabulary: int = 2545,
        text_dim: int = 512,
        text_blocks: int = 4,
        rotary_heads: int | None = 1,
        long_skip: bool = False,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.head_dim, self.tokens = head_dim, tokens
        self.reads = (*condition, *([tokens] if tokens else []))
        self.time = TimeEmbedding(dim)
        positions = 4096 if text_blocks else 0
        self.text = TextEmbedding(vocabulary, text_dim, blocks=text_blocks, positions=positions) if tokens else None
        self.input = FrameInput(features, dim, condition=condition, further=text_dim if tokens else 0)
        self.blocks = nn.ModuleList(
            DiTBlock(
                dim, heads=heads, head_dim=head_dim, ff_mult=ff_mult, rotary_heads=rotary_heads, dropout=dropout
            )
            for _ in range(depth)
        )
        self.long_skip = nn.Linear(2 * dim, dim, bias=False) if long_skip else None
        self.modulation = Modulation(dim, 2)
        self.output = ZeroLinear(dim, features)

    def _run(self, x: Tensor, t: Tensor, prepared: Condition) -> Tensor:
        time = F.silu(self.time(t))
        start = h = self.input(x, prepared["share"])
        for block in self.blocks:
            h = block(h, time, prepared["rotary"])
        if self.long_skip is not None:
            h = self.long_skip(torch.cat([h, start], dim=-1))
        return self.output(modulate(h, *self.modulation(time))).transpose(1, 2)
