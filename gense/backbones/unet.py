"""A compact U-Net on spectrograms, sized for processors without an accelerator."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gense.backbones.base import Backbone
from gense.backbones.layers.sinusoidal import SinusoidalEmbedding
from gense.backbones.layers.spectra import side_by_side
from gense.types import Condition


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of (B, C, F, T); one native call in channels-last memory."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), self.weight, self.bias, eps=1e-6)
        return y.permute(0, 3, 1, 2)


class Block(nn.Module):
    """Residual block: norm, 3x3 convolution, time scale and shift, SiLU, 3x3 convolution.

    The time features are None in a network without time.
    """

    def __init__(self, channels_in: int, channels: int, time_dim: int | None):
        super().__init__()
        self.norm = ChannelNorm(channels_in)
        self.conv_in = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.modulation = nn.Linear(time_dim, 2 * channels) if time_dim else None
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.skip = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        nn.init.zeros_(self.conv_out.weight)
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, time: Tensor | None) -> Tensor:
        h = self.conv_in(self.norm(x))
        if self.modulation is not None:
            scale, shift = self.modulation(time)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv_out(F.silu(h))


class Attention(nn.Module):
    """Residual multi-head self-attention over all positions of (B, C, F, T)."""

    def __init__(self, channels: int, head_dim: int = 32):
        super().__init__()
        self.heads = max(1, channels // head_dim)
        self.norm = ChannelNorm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, bins, frames = x.shape
        qkv = self.qkv(self.norm(x)).permute(0, 2, 3, 1).reshape(batch, bins * frames, 3, self.heads, -1)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, bins, frames, channels)
        return x + self.out(h.permute(0, 3, 1, 2))


class Level(nn.ModuleList):
    """The residual blocks of one level, one after the other."""

    def forward(self, x: Tensor, time: Tensor | None) -> Tensor:
        for block in self:
            x = block(x, time)
        return x


def _embedding(dim: int, scale: float) -> nn.Sequential:
    """Sinusoids and two linear layers, each with the activation that follows it: (B,) -> (B, dim)."""
    return nn.Sequential(
        SinusoidalEmbedding(dim, scale=scale), nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim), nn.SiLU()
    )


class UNet(Backbone):
    """U-Net of residual blocks on patches of complex spectrograms, with attention at its deepest level.

    Real and imaginary part and magnitude of the state and of every condition are folded into patches, so that the
    first level already works at a fraction of the resolution, where most of the arithmetic of a plain U-Net lies.
    The output is a complex residual plus a complex gain on the state and on each condition, which lets a small
    network pass speech through instead of redrawing it.

    Args:
        inputs: number of complex inputs, the state and the conditions.
        channels: channels of each level, from the finest to the deepest.
        blocks: residual blocks per level on the way down; the way up has as many.
        patch: bins and frames folded into channels at the input.
        time_dim: size of the time features; 0 for a network without time.
        times: 1 for the time t (B,) of the state, 2 for times (B, 2): that of the state and the one to which an average
            velocity leads. The second enters by its distance from the first, and at the start not at all.
        time_scale: fastest of the sinusoids of time, radians per unit of time. Networks that are differentiated with
            respect to time want far less than the default (Lu and Song 2025).

    Raises:
        ValueError: times is not 1 or 2, or 2 without time features; on calling, if the number of inputs or of times is
            another, or bins or frames are no multiple of patch * 2^(levels - 1).
    """

    def __init__(
        self,
        *,
        inputs: int = 2,
        channels: Sequence[int] = (48, 96, 160, 224),
        blocks: int = 2,
        patch: tuple[int, int] = (2, 2),
        time_dim: int = 128,
        times: int = 1,
        time_scale: float = 1000.0,
    ):
        super().__init__()
        if times not in (1, 2) or (times == 2 and not time_dim):
            raise ValueError(f"times={times}, time_dim={time_dim}: expected 1 or 2 times, and features for a second")
        self.inputs, self.patch, self.levels = inputs, (patch[0], patch[1]), len(channels)
        area = patch[0] * patch[1]
        self.time = _embedding(time_dim, time_scale) if time_dim else None
        self.span = _embedding(time_dim, time_scale) if times == 2 else None
        if self.span is not None:
            # Silent at first: the network starts as one of a single time, whose weights it can take over
            for parameter in self.span[-2].parameters():
                nn.init.zeros_(parameter)
        self.stem = nn.Conv2d(3 * inputs * area, channels[0], 3, padding=1)
        self.down, self.shrink, self.grow, self.up = (nn.ModuleList() for _ in range(4))
        for level, width in enumerate(channels):
            deepest = level == self.levels - 1
            self.down.append(Level([Block(width, width, time_dim) for _ in range(blocks)]))
            if not deepest:
                self.shrink.append(nn.Conv2d(width, channels[level + 1], 2, stride=2))
                self.grow.append(nn.ConvTranspose2d(channels[level + 1], width, 2, stride=2))
            merged = width if deepest else 2 * width
            self.up.append(Level([Block(merged if i == 0 else width, width, time_dim) for i in range(blocks)]))
        self.attention = Attention(channels[-1])
        self.norm = ChannelNorm(channels[0])
        self.head = nn.Conv2d(channels[0], 2 * (inputs + 1) * area, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _embed(self, t: Tensor | None, batch: int) -> Tensor | None:
        """Features of the times, (B, time_dim)."""
        if self.time is None:
            return None
        if t is None:
            raise ValueError("t is None: this U-Net has time_dim > 0 and needs the time of each item")
        if self.span is None:
            if t.shape != (batch,):
                raise ValueError(f"t has shape {tuple(t.shape)}: this U-Net has times=1 and needs ({batch},)")
            return self.time(t)
        if t.shape != (batch, 2):
            raise ValueError(f"t has shape {tuple(t.shape)}: this U-Net has times=2 and needs ({batch}, 2)")
        return self.time(t[:, 0]) + self.span(t[:, 0] - t[:, 1])

    def _fold(self, spectra: Tensor) -> Tensor:
        """(B, K, F, T) complex -> (B, 3 K area, F / p, T / q) in channels-last memory."""
        planes = torch.cat([spectra.real, spectra.imag, spectra.abs()], dim=1)
        (p, q), (batch, count, bins, frames) = self.patch, planes.shape
        x = planes.reshape(batch, count, bins // p, p, frames // q, q).permute(0, 2, 4, 1, 3, 5)
        return x.reshape(batch, bins // p, frames // q, count * p * q).permute(0, 3, 1, 2)

    def _unfold(self, x: Tensor) -> Tensor:
        """(B, 2 K area, F / p, T / q) -> complex (B, K, F, T)."""
        (p, q), (batch, planes, rows, columns) = self.patch, x.shape
        count = planes // (2 * p * q)
        x = x.float().permute(0, 2, 3, 1).reshape(batch, rows, columns, count, 2, p, q)
        x = x.permute(0, 3, 1, 5, 2, 6, 4).reshape(batch, count, rows * p, columns * q, 2)
        return torch.view_as_complex(x.contiguous())

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        """Run the network once; x and the conditions are complex (B, 1, F, T), so is the result."""
        spectra = side_by_side(x, cond, self.inputs)
        for name, size, patch in (("bins", x.shape[-2], self.patch[0]), ("frames", x.shape[-1], self.patch[1])):
            multiple = patch * 2 ** (self.levels - 1)
            if size % multiple:
                raise ValueError(f"{size} {name}: this U-Net needs a multiple of {multiple}; see frames_multiple")
        time = self._embed(t, x.shape[0])
        h = self.stem(self._fold(spectra))
        skips = []
        for level in range(self.levels):
            h = self.down[level](h, time)
            if level < self.levels - 1:
                skips.append(h)
                h = self.shrink[level](h)
        h = self.attention(h)
        for level in reversed(range(self.levels)):
            if level < self.levels - 1:
                h = torch.cat([self.grow[level](h), skips.pop()], dim=1)
            h = self.up[level](h, time)
        out = self._unfold(self.head(F.silu(self.norm(h))))
        return out[:, :1] + (out[:, 1:] * spectra).sum(dim=1, keepdim=True)
