"""A transformer over frames and over bands in turn, sized for processors without an accelerator."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.base import Backbone
from gense.backbones.layers.adaln import Modulation, TimeEmbedding, modulate
from gense.backbones.layers.bands import BandJoin, Bands, BandSplit
from gense.backbones.layers.spectra import side_by_side
from gense.backbones.layers.transformer import FeedForward, merge_heads, split_heads
from gense.types import Condition


class AxisAttention(nn.Module):
    """Multi-head self-attention along one axis of (B, N, T, dim), without positions.

    Args:
        dim: channels.
        heads: number of heads, each of dim / heads channels.
        axis: 1 for the bands of a frame, 2 for the frames of a band.
    """

    def __init__(self, dim: int, heads: int, axis: int):
        super().__init__()
        self.heads, self.axis = heads, axis
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor shaped like x."""
        qkv = self.qkv(x)
        if self.axis == 1:
            qkv = qkv.transpose(1, 2)
        rows = qkv.shape[:2]
        query, key, value = split_heads(qkv.flatten(0, 1), self.heads)
        if torch.is_grad_enabled():
            # On processors the fused kernel's gradient takes three to ten times as long at these sizes
            weights = torch.matmul(query * query.shape[-1] ** -0.5, key.transpose(-1, -2)).softmax(dim=-1)
            h = torch.matmul(weights, value)
        else:
            h = F.scaled_dot_product_attention(query, key, value)
        h = merge_heads(h).unflatten(0, rows)
        return self.out(h.transpose(1, 2) if self.axis == 1 else h)


class Neighbours(nn.Conv2d):
    """Residual depthwise convolution over neighbouring bands and frames of (B, N, T, dim).

    It tells near from far where attention has no positions, so that the network has no longest input.

    Args:
        dim: channels.
        kernel: bands and frames, odd.
    """

    def __init__(self, dim: int, kernel: tuple[int, int]):
        super().__init__(dim, dim, kernel, padding=(kernel[0] // 2, kernel[1] // 2), groups=dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor shaped like x."""
        return x + super().forward(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


class DualPathBlock(nn.Module):
    """Neighbours, attention over the frames of a band, over the bands of a frame, and a feed-forward network.

    Args:
        dim: channels.
        heads: attention heads.
        ff_mult: width of the feed-forward network in units of `dim`.
        kernel: bands and frames of the depthwise convolutions.
    """

    def __init__(self, dim: int, *, heads: int, ff_mult: int, kernel: tuple[int, int]):
        super().__init__()
        self.modulation = Modulation(dim, 6)
        self.before = Neighbours(dim, kernel)
        self.frames = AxisAttention(dim, heads, axis=2)
        self.bands = AxisAttention(dim, heads, axis=1)
        self.between = Neighbours(dim, kernel)
        self.feed_forward = FeedForward(dim, mult=ff_mult, dropout=0.0)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return a tensor shaped like x, (B, N, T, dim), given activated time features (B, dim)."""
        parts = [part[:, None] for part in self.modulation(time)]
        x = self.before(x)
        x = x + self.frames(modulate(x, *parts[:2]))
        x = x + self.bands(modulate(x, *parts[2:4]))
        x = self.between(x)
        return x + self.feed_forward(modulate(x, *parts[4:]))


class DualPath(Backbone):
    """Transformer over the frames of each band and over the bands of each frame, in turn.

    Bands as in the band-split RNN (Luo & Yu 2023), two axes in turn as in the dual-path transformer (Chen et al. 2020)
    and TF-Locoformer (Saijo et al. 2024), from whom the convolutions beside the attention are, too. Every output sees
    every frame and band of its input. A U-Net of the same arithmetic sees mostly its neighbourhood.

    The output is a complex residual plus complex gains on some neighbouring frames of the state and of each condition,
    a filter in time for every bin (Mack & Habets 2020, deep filtering).

    Args:
        inputs: number of complex inputs, the state and the conditions.
        bands: the bands that bins are split into, as groups of (number of bands, bins in a band), from the lowest up.
        dim: channels.
        depth: number of blocks.
        heads: attention heads.
        ff_mult: width of the feed-forward networks in units of `dim`.
        patch: frames folded into channels at the input.
        taps: frames under the filter, odd.
        kernel: bands and frames of the depthwise convolutions, odd.
        timed: whether the network has a time.

    Raises:
        ValueError: taps or kernel is even, or dim no multiple of heads; on calling, if the number of inputs is
            another, bins are not those of the bands, frames are no multiple of `patch`, or the time is missing.
    """

    def __init__(
        self,
        *,
        inputs: int = 2,
        bands: Bands = ((16, 4), (8, 8), (8, 16)),
        dim: int = 96,
        depth: int = 6,
        heads: int = 2,
        ff_mult: int = 4,
        patch: int = 2,
        taps: int = 3,
        kernel: tuple[int, int] = (3, 3),
        timed: bool = True,
    ):
        super().__init__()
        if not taps % 2 or not all(size % 2 for size in kernel) or dim % heads:
            raise ValueError(
                f"taps={taps}, kernel={tuple(kernel)}, dim={dim}, heads={heads}: need odd taps and kernel, and a dim "
                "that the heads divide"
            )
        self.inputs, self.dim, self.patch, self.taps = inputs, dim, patch, taps
        self.bins = sum(count * width for count, width in bands)
        self.time = TimeEmbedding(dim) if timed else None
        self.split = BandSplit(bands, 3 * inputs * patch, dim)
        self.blocks = nn.ModuleList(
            DualPathBlock(dim, heads=heads, ff_mult=ff_mult, kernel=kernel) for _ in range(depth)
        )
        self.modulation = Modulation(dim, 2)
        self.join = BandJoin(bands, dim, 2 * (inputs * taps + 1) * patch)

    def _embed(self, t: Tensor | None, x: Tensor) -> Tensor:
        """Activated features of the time, (B, dim); without a time the modulations are left with their biases."""
        if self.time is None:
            return x.real.new_zeros(len(x), self.dim)
        if t is None or t.shape != (len(x),):
            got = "None" if t is None else f"of shape {tuple(t.shape)}"
            raise ValueError(f"t is {got}: this network has timed=True and needs one time an item, ({len(x)},)")
        return F.silu(self.time(t))

    def _fold(self, spectra: Tensor) -> Tensor:
        """(B, K, F, T) complex -> (B, F, T / q, 3 K q)."""
        planes = torch.cat([spectra.real, spectra.imag, spectra.abs()], dim=1)
        return planes.unflatten(-1, (-1, self.patch)).permute(0, 2, 3, 1, 4).flatten(3)

    def _unfold(self, x: Tensor) -> Tensor:
        """(B, F, T / q, 2 q K) -> complex (B, K, F, T)."""
        spectra = torch.view_as_complex(x.float().unflatten(-1, (self.patch, -1, 2)))
        return spectra.flatten(2, 3).movedim(-1, 1)

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        """Run the network once; x and the conditions are complex (B, 1, F, T), so is the result."""
        spectra = side_by_side(x, cond, self.inputs)
        if x.shape[-2] != self.bins or x.shape[-1] % self.patch:
            raise ValueError(
                f"{x.shape[-2]} bins, {x.shape[-1]} frames: this network's bands hold {self.bins} bins, and it needs a "
                f"multiple of {self.patch} frames; see frames_multiple"
            )
        time = self._embed(t, x)
        h = self.split(self._fold(spectra))
        for block in self.blocks:
            h = block(h, time)
        shift, scale = self.modulation(time)
        out = self._unfold(self.join(modulate(h, shift[:, None], scale[:, None])))
        result, gains = out[:, :1], out[:, 1:].unflatten(1, (self.inputs, self.taps))
        around = F.pad(spectra, (self.taps // 2, self.taps // 2))
        for tap in range(self.taps):  # one after another: all at once would copy the spectra as many times
            result = result + (gains[:, :, tap] * around[..., tap : tap + x.shape[-1]]).sum(dim=1, keepdim=True)
        return result
