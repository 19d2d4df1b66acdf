"""The published FlowSE network and sampler, written down plainly from their description: the baseline of `flowse.py`.

Parameter names are the published ones, so that a converter turns a state dict into ours. Nothing is computed once that
the published code computes at every pass: the text branch, the angles of the rotary positions in every attention, both
passes of guidance one after the other, and softmax(q k^T) v as three operations. `fused` and `remember` switch the
first two savings on one by one.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TextBlock(nn.Module):
    """ConvNeXt block with global response normalisation over time, (B, N, C)."""

    def __init__(self, dim: int):
        super().__init__()
        self.dwconv = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.grn = nn.ParameterDict({name: torch.zeros(1, 1, 2 * dim) for name in ("gamma", "beta")})

    def forward(self, x: Tensor) -> Tensor:
        h = F.gelu(self.pwconv1(self.norm(self.dwconv(x.transpose(1, 2)).transpose(1, 2))))
        energy = h.norm(dim=1, keepdim=True)
        share = energy / (energy.mean(dim=-1, keepdim=True) + 1e-6)
        return x + self.pwconv2(self.grn["gamma"] * (h * share) + self.grn["beta"] + h)


class Text(nn.Module):
    """Embedding, positions, blocks: ids (B, L), -1 for padding, to (B, frames, dim)."""

    def __init__(self, vocabulary: int, dim: int, blocks: int):
        super().__init__()
        self.text_embed = nn.Embedding(vocabulary + 1, dim)
        self.text_blocks = nn.ModuleList(TextBlock(dim) for _ in range(blocks))

    def forward(self, ids: Tensor, frames: int, dropped: bool) -> Tensor:
        ids = F.pad((ids + 1)[:, :frames], (0, max(0, frames - ids.shape[1])))
        x = self.text_embed(torch.zeros_like(ids) if dropped else ids)
        dim = x.shape[-1]
        rates = 10000.0 ** (-torch.arange(0, dim, 2, device=x.device) / dim)
        angles = torch.arange(frames, device=x.device).clamp(max=4095)[:, None] * rates
        x = x + torch.cat([angles.cos(), angles.sin()], dim=-1)
        for block in self.text_blocks:
            x = block(x)
        return x


class Attention(nn.Module):
    """Self-attention of which the first head alone is rotated, before the channels are split into heads."""

    def __init__(self, dim: int, heads: int, head_dim: int):
        super().__init__()
        self.heads, self.head_dim, self.fused = heads, head_dim, False
        self.to_q, self.to_k, self.to_v = (nn.Linear(dim, heads * head_dim) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(heads * head_dim, dim)])

    def _rotated(self, x: Tensor, table: tuple[Tensor, Tensor] | None, inv_freq: Tensor) -> Tensor:
        cos, sin = rotary(x.shape[1], inv_freq) if table is None else table
        first, rest = x[..., : self.head_dim], x[..., self.head_dim :]
        pairs = first.unflatten(-1, (-1, 2))
        turned = torch.stack([-pairs[..., 1], pairs[..., 0]], dim=-1).flatten(-2)
        return torch.cat([first * cos + turned * sin, rest], dim=-1)

    def forward(self, x: Tensor, table: tuple[Tensor, Tensor] | None, inv_freq: Tensor) -> Tensor:
        query, key = (self._rotated(part(x), table, inv_freq) for part in (self.to_q, self.to_k))
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, self.to_v(x)))
        if self.fused:
            out = F.scaled_dot_product_attention(q, k, v)
        else:
            out = (q @ k.transpose(-1, -2) / math.sqrt(self.head_dim)).softmax(dim=-1) @ v
        return self.to_out[0](out.transpose(1, 2).flatten(2))


def rotary(frames: int, inv_freq: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles of each position, each frequency twice in a row."""
    angles = (torch.arange(frames, device=inv_freq.device)[:, None] * inv_freq).repeat_interleave(2, dim=-1)
    return angles.cos(), angles.sin()


class Norm(nn.Module):
    """The linear layer that modulates a layer norm, under its published name."""

    def __init__(self, dim: int, parts: int):
        super().__init__()
        self.linear = nn.Linear(dim, parts * dim)
        self.parts = parts

    def forward(self, time: Tensor) -> tuple[Tensor, ...]:
        return self.linear(F.silu(time))[:, None].chunk(self.parts, dim=-1)


class Feed(nn.Module):
    """Two layers with the tanh form of GELU between them."""

    def __init__(self, dim: int, mult: int):
        super().__init__()
        self.ff = nn.ModuleList(
            [nn.ModuleList([nn.Linear(dim, mult * dim)]), nn.Identity(), nn.Linear(mult * dim, dim)]
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.ff[2](F.gelu(self.ff[0][0](x), approximate="tanh"))  # type: ignore[index]


class Block(nn.Module):
    """Attention and feed-forward network with adaptive layer norms and gates."""

    def __init__(self, dim: int, heads: int, head_dim: int, mult: int):
        super().__init__()
        self.attn_norm, self.attn, self.ff = Norm(dim, 6), Attention(dim, heads, head_dim), Feed(dim, mult)

    def forward(self, x: Tensor, time: Tensor, table: tuple[Tensor, Tensor] | None, inv_freq: Tensor) -> Tensor:
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.attn_norm(time)
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift
        x = x + gate * self.attn(h, table, inv_freq)
        h = F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale_ff) + shift_ff
        return x + gate_ff * self.ff(h)


class PlainDiT(nn.Module):
    """The network, frames before channels: x and noisy (B, N, 100), ids (B, L), a scalar time.

    Args:
        dim: channels.
        depth: blocks.
        heads: attention heads.
        head_dim: size of each.
        text_dim: features of a token.
        text_blocks: blocks of the text branch.
        vocabulary: tokens.
        mult: width of the feed-forward networks.
    """

    def __init__(
        self, *, dim: int = 1024, depth: int = 22, heads: int = 16, head_dim: int = 64, text_dim: int = 512,
        text_blocks: int = 4, vocabulary: int = 2545, mult: int = 2,
    ):  # fmt: skip
        super().__init__()
        self.time_embed = nn.ModuleDict(
            {"time_mlp": nn.ModuleList([nn.Linear(256, dim), nn.SiLU(), nn.Linear(dim, dim)])}
        )
        self.text_embed = Text(vocabulary, text_dim, text_blocks)
        position = nn.ModuleList(
            nn.Conv1d(dim, dim, 31, padding=15, groups=16) if k % 2 == 0 else nn.Mish() for k in range(4)
        )
        self.input_embed = nn.ModuleDict({
            "proj": nn.Linear(200 + text_dim, dim), "conv_pos_embed": nn.ModuleDict({"conv1d": position})
        })  # fmt: skip
        self.rotary_embed = nn.Module()
        self.rotary_embed.register_buffer("inv_freq", 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim))
        self.transformer_blocks = nn.ModuleList(Block(dim, heads, head_dim, mult) for _ in range(depth))
        self.norm_out = Norm(dim, 2)
        self.proj_out = nn.Linear(dim, 100)
        self.remember = False
        self._kept: dict[object, object] = {}

    def switch(self, *, fused: bool, remember: bool) -> PlainDiT:
        """Choose which savings are on: fused attention, and text branch and rotary angles once per sampling."""
        self.remember = remember
        for block in self.transformer_blocks:
            block.attn.fused = fused  # type: ignore[union-attr, assignment]
        return self

    def _text(self, ids: Tensor, frames: int, dropped: bool) -> Tensor:
        if not self.remember:
            return self.text_embed(ids, frames, dropped)
        if dropped not in self._kept:
            self._kept[dropped] = self.text_embed(ids, frames, dropped)
        return self._kept[dropped]  # type: ignore[return-value]

    def forward(self, x: Tensor, noisy: Tensor, ids: Tensor, t: Tensor, dropped: bool) -> Tensor:
        rates = torch.exp(-torch.arange(128, device=x.device) * math.log(10000.0) / 127)
        phase = 1000.0 * t * rates
        first, _, second = self.time_embed["time_mlp"]  # type: ignore[misc]
        time = second(F.silu(first(torch.cat([phase.sin(), phase.cos()])[None].expand(len(x), -1))))
        text = self._text(ids, x.shape[1], dropped)
        h = self.input_embed["proj"](torch.cat([x, torch.zeros_like(noisy) if dropped else noisy, text], dim=-1))
        position = h.transpose(1, 2)
        for layer in self.input_embed["conv_pos_embed"]["conv1d"]:  # type: ignore[index]
            position = layer(position)
        h = h + position.transpose(1, 2)
        inv_freq = self.rotary_embed.inv_freq
        table = None
        if self.remember:
            table = self._kept.setdefault("rotary", rotary(x.shape[1], inv_freq))  # type: ignore[arg-type, assignment]
        for block in self.transformer_blocks:
            h = block(h, time, table, inv_freq)
        scale, shift = self.norm_out(time)
        return self.proj_out(F.layer_norm(h, h.shape[-1:], eps=1e-6) * (1 + scale) + shift)

    def sample(self, x: Tensor, noisy: Tensor, ids: Tensor, steps: int, guidance: float) -> Tensor:
        """Euler's method from noise at t = 0 to the spectrogram at t = 1, two passes a step where there is guidance."""
        self._kept.clear()
        times = torch.linspace(0, 1, steps + 1, device=x.device)
        for t, t_next in itertools.pairwise(times):
            velocity = self(x, noisy, ids, t, False)
            if guidance >= 1e-5:
                velocity = velocity + guidance * (velocity - self(x, noisy, ids, t, True))
            x = x + (t_next - t) * velocity
        return x
