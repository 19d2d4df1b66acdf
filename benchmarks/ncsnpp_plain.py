"""The 16 kHz NCSN++ as its published formulation runs, layer for layer: the baseline of `benchmarks/ncsnpp.py`.

Written from a description of the published network (sp-uhh/sgmse at ae690e8), without its code.  What costs time there
is kept: maps in NCHW memory, FIR resampling that stores the inserted zeros and computes the samples it throws away, the
attention's full score tensor, pointwise layers as matrix products between two permutations, a new map for every step.
Layers carry the published names, so a published state dict loads as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_TAPS = (1.0, 3.0, 3.0, 1.0)


def _filter_and_thin(x: Tensor, kernel: Tensor, *, up: int, down: int, pad: tuple[int, int]) -> Tensor:
    """Insert up - 1 zeros after each sample, pad, filter every plane with one kernel, keep every down-th sample."""
    batch, channels, height, width = x.shape
    planes = x.reshape(batch * channels, 1, height, 1, width, 1)
    planes = F.pad(planes, [0, up - 1, 0, 0, 0, up - 1])
    planes = planes.reshape(batch * channels, 1, height * up, width * up)
    planes = F.pad(planes, [*pad, *pad])
    planes = F.conv2d(planes, torch.flip(kernel, [0, 1])[None, None])[:, :, ::down, ::down]
    return planes.reshape(batch, channels, planes.shape[2], planes.shape[3])


def _kernel(x: Tensor, gain: float) -> Tensor:
    taps = torch.tensor(_TAPS, device=x.device, dtype=x.dtype)
    kernel = torch.outer(taps, taps)
    return gain * kernel / kernel.sum()


def fir_down(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
    return _filter_and_thin(x, _kernel(x, 1.0), up=1, down=2, pad=(1, 1))


def fir_up(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
    return _filter_and_thin(x, _kernel(x, 4.0), up=2, down=1, pad=(2, 1))


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6)


class Fourier(nn.Module):
    """sin and cos of random multiples of its input."""

    def __init__(self, size: int):
        super().__init__()
        self.W = nn.Parameter(torch.randn(size) * 16, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        angle = x[:, None] * self.W[None, :] * 2 * math.pi
        return torch.cat([torch.sin(angle), torch.cos(angle)], dim=-1)


class Pointwise(nn.Module):
    """A matrix over the channels, with W stored [in, out]."""

    def __init__(self, channels: int):
        super().__init__()
        self.W = nn.Parameter(torch.randn(channels, channels) / math.sqrt(channels))
        self.b = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("bhwi,io->bhwo", x.permute(0, 2, 3, 1), self.W) + self.b
        return y.permute(0, 3, 1, 2)


class Attention(nn.Module):
    """Single-head attention with the score tensor (B, H, W, H, W) written out."""

    def __init__(self, channels: int):
        super().__init__()
        self.GroupNorm_0 = _norm(channels)
        self.NIN_0, self.NIN_1, self.NIN_2, self.NIN_3 = (Pointwise(channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        h = self.GroupNorm_0(x)
        q, k, v = self.NIN_0(h), self.NIN_1(h), self.NIN_2(h)
        scores = torch.einsum("bchw,bcij->bhwij", q, k) * channels**-0.5
        scores = torch.softmax(scores.reshape(batch, height, width, height * width), dim=-1)
        scores = scores.reshape(batch, height, width, height, width)
        h = self.NIN_3(torch.einsum("bhwij,bcij->bchw", scores, v))
        return (x + h) / math.sqrt(2.0)


class Block(nn.Module):
    """BigGAN residual block."""

    def __init__(self, inputs: int, outputs: int, time_features: int, *, up: bool = False, down: bool = False):
        super().__init__()
        self.up, self.down = up, down
        self.GroupNorm_0 = _norm(inputs)
        self.Conv_0 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.Dense_0 = nn.Linear(time_features, outputs)
        self.GroupNorm_1 = _norm(outputs)
        self.Dropout_0 = nn.Dropout(0.0)
        self.Conv_1 = nn.Conv2d(outputs, outputs, 3, padding=1)
        if inputs != outputs or up or down:
            self.Conv_2 = nn.Conv2d(inputs, outputs, 1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor, temb: Tensor) -> Tensor:
        h = self.act(self.GroupNorm_0(x))
        if self.up:
            h, x = fir_up(h), fir_up(x)
        elif self.down:
            h, x = fir_down(h), fir_down(x)
        h = self.Conv_0(h)
        h = h + self.Dense_0(self.act(temb))[:, :, None, None]
        h = self.act(self.GroupNorm_1(h))
        h = self.Conv_1(self.Dropout_0(h))
        if hasattr(self, "Conv_2"):
            x = self.Conv_2(x)
        return (x + h) / math.sqrt(2.0)


class Inject(nn.Module):
    """1x1 convolution of the input pyramid, added to the map."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.Conv_0 = nn.Conv2d(inputs, outputs, 1)

    def forward(self, pyramid: Tensor, h: Tensor) -> Tensor:
        return self.Conv_0(pyramid) + h


class PlainNCSNpp(nn.Module):
    """The published 16 kHz network for one condition. Called with the channels [x_t, y], complex (B, 2, F, T)."""

    def __init__(
        self,
        nf: int = 128,
        ch_mult: Sequence[int] = (1, 1, 2, 2, 2, 2, 2),
        num_res_blocks: int = 2,
        attention_levels: Sequence[int] = (4,),
    ):
        super().__init__()
        self.levels, self.num_res_blocks, self.attention_levels = len(ch_mult), num_res_blocks, attention_levels
        features = 4 * nf
        self.output_layer = nn.Conv2d(4, 2, 1)
        layers: list[nn.Module] = [Fourier(nf), nn.Linear(2 * nf, features), nn.Linear(features, features)]
        layers.append(nn.Conv2d(4, nf, 3, padding=1))
        channels, stack = nf, [nf]
        for level, mult in enumerate(ch_mult):
            for _ in range(num_res_blocks):
                layers.append(Block(channels, nf * mult, features))
                channels = nf * mult
                if level in attention_levels:
                    layers.append(Attention(channels))
                stack.append(channels)
            if level < self.levels - 1:
                layers += [Block(channels, channels, features, down=True), Inject(4, channels)]
                stack.append(channels)
        layers += [Block(channels, channels, features), Attention(channels), Block(channels, channels, features)]
        for level in reversed(range(self.levels)):
            for _ in range(num_res_blocks + 1):
                layers.append(Block(channels + stack.pop(), nf * ch_mult[level], features))
                channels = nf * ch_mult[level]
            if level in attention_levels:
                layers.append(Attention(channels))
            layers += [_norm(channels), nn.Conv2d(channels, 4, 3, padding=1)]
            if level > 0:
                layers.append(Block(channels, channels, features, up=True))
        self.all_modules = nn.ModuleList(layers)
        self.act = nn.SiLU()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        layers = iter(self.all_modules)
        x = torch.cat([x[:, :1].real, x[:, :1].imag, x[:, 1:].real, x[:, 1:].imag], dim=1)
        temb = next(layers)(torch.log(t))
        temb = next(layers)(temb)
        temb = next(layers)(self.act(temb))

        input_pyramid = x
        stack = [next(layers)(x)]
        for level in range(self.levels):
            for _ in range(self.num_res_blocks):
                h = next(layers)(stack[-1], temb)
                if level in self.attention_levels:
                    h = next(layers)(h)
                stack.append(h)
            if level < self.levels - 1:
                h = next(layers)(stack[-1], temb)
                input_pyramid = fir_down(input_pyramid)
                stack.append(next(layers)(input_pyramid, h))

        h = next(layers)(stack[-1], temb)
        h = next(layers)(h)
        h = next(layers)(h, temb)

        pyramid: Tensor | None = None
        for level in reversed(range(self.levels)):
            for _ in range(self.num_res_blocks + 1):
                h = next(layers)(torch.cat([h, stack.pop()], dim=1), temb)
            if level in self.attention_levels:
                h = next(layers)(h)
            norm, head = next(layers), next(layers)
            part = head(self.act(norm(h)))
            pyramid = part if pyramid is None else fir_up(pyramid) + part
            if level > 0:
                h = next(layers)(h, temb)

        assert pyramid is not None
        y = self.output_layer(pyramid / t.reshape(-1, 1, 1, 1)).permute(0, 2, 3, 1).contiguous()
        return torch.view_as_complex(y)[:, None]
