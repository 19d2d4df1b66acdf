"""The convolutional encoder and decoder between a waveform and the frames of a codec."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SLOPE = 0.1


@dataclass(frozen=True)
class Stages:
    """The shape of a decoder, stage by stage from frames to samples; an encoder has it in reverse.

    Args:
        rates: factor by which each stage raises the sampling rate.
        kernels: length of each stage's resampling kernel, the rate plus an even number.
        block_kernels: kernel lengths of the residual blocks that each stage has side by side; odd.
        block_dilations: for each of these blocks, the dilations of its layers.

    Raises:
        ValueError: lists of different lengths, or a number that leaves frames and samples without a whole ratio.
    """

    rates: Sequence[int]
    kernels: Sequence[int]
    block_kernels: Sequence[int]
    block_dilations: Sequence[Sequence[int]]

    def __post_init__(self) -> None:
        for one, other in (("rates", "kernels"), ("block_kernels", "block_dilations")):
            ours, theirs = getattr(self, one), getattr(self, other)
            if len(ours) != len(theirs) or not ours:
                raise ValueError(f"{one} has {len(ours)} entries, {other} {len(theirs)}: expected as many, and some")
        for rate, kernel in zip(self.rates, self.kernels, strict=True):
            if rate < 1 or kernel < rate or (kernel - rate) % 2:
                raise ValueError(f"rate {rate} with kernel {kernel}: the kernel must be the rate plus 0, 2, 4, ...")
        for kernel, dilations in zip(self.block_kernels, self.block_dilations, strict=True):
            if kernel < 1 or kernel % 2 == 0 or not dilations or min(dilations) < 1:
                raise ValueError(f"block of kernel {kernel}, dilations {dilations}: need an odd kernel, dilations >= 1")

    @property
    def hop_length(self) -> int:
        """Samples per frame."""
        return math.prod(self.rates)

    def reversed(self) -> Stages:
        """The stages from samples to frames; the order of the blocks in a stage turns around, too."""
        return Stages(self.rates[::-1], self.kernels[::-1], self.block_kernels[::-1], self.block_dilations[::-1])


class DilatedBlock(nn.Module):
    """Residual layers, each a dilated convolution and a plain one (Kong et al. 2020, HiFi-GAN).

    Args:
        channels: in and out.
        kernel: length of all kernels.
        dilations: of the layers.
    """

    def __init__(self, channels: int, kernel: int, dilations: Sequence[int]):
        super().__init__()
        self.dilated = nn.ModuleList(
            nn.Conv1d(channels, channels, kernel, dilation=d, padding=d * (kernel - 1) // 2) for d in dilations
        )
        self.plain = nn.ModuleList(nn.Conv1d(channels, channels, kernel, padding=kernel // 2) for _ in dilations)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C, T)."""
        for dilated, plain in zip(self.dilated, self.plain, strict=True):
            x = x + plain(F.leaky_relu(dilated(F.leaky_relu(x, _SLOPE)), _SLOPE))
        return x


def _blocks(channels: int, stages: Stages) -> nn.ModuleList:
    pairs = zip(stages.block_kernels, stages.block_dilations, strict=True)
    return nn.ModuleList(DilatedBlock(channels, kernel, dilations) for kernel, dilations in pairs)


class EncoderStage(nn.Module):
    """A strided convolution that doubles the channels, then blocks whose running sum is normalised after each.

    Args:
        channels: into the stage.
        rate: stride.
        kernel: of the strided convolution.
        stages: gives the blocks.
    """

    def __init__(self, channels: int, rate: int, kernel: int, stages: Stages):
        super().__init__()
        self.down = nn.Conv1d(channels, 2 * channels, kernel, rate, padding=(kernel - rate) // 2)
        self.blocks = _blocks(2 * channels, stages)
        self.norms = nn.ModuleList(nn.LayerNorm(2 * channels, eps=1e-6) for _ in self.blocks)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, 2 C, T // rate)."""
        x = self.down(x)
        total = torch.zeros_like(x)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            total = norm((total + block(x)).mT).mT
        return total / len(self.blocks)


class ConvEncoder(nn.Module):
    """From a waveform to vectors, one a frame.

    Args:
        width: channels before the first stage.
        dim: channels of the vectors.
        stages: of the decoder; the encoder's are their reverse.
    """

    def __init__(self, width: int, dim: int, stages: Stages):
        super().__init__()
        stages = stages.reversed()
        self.conv_in = nn.Conv1d(1, width, 7, padding=3)
        self.stages = nn.ModuleList(
            EncoderStage(width * 2**k, rate, kernel, stages)
            for k, (rate, kernel) in enumerate(zip(stages.rates, stages.kernels, strict=True))
        )
        self.conv_out = nn.Conv1d(width * 2 ** len(self.stages), dim, 3, padding=1)

    def forward(self, wav: Tensor) -> Tensor:
        """Map (B, S) to (B, dim, S // hop)."""
        x = self.conv_in(wav[:, None])
        for stage in self.stages:
            x = stage(x)
        return self.conv_out(F.leaky_relu(x, _SLOPE))


class DecoderStage(nn.Module):
    """A transposed convolution that halves the channels, then the mean of the blocks.

    Args:
        channels: into the stage.
        rate: stride.
        kernel: of the transposed convolution.
        stages: gives the blocks.
    """

    def __init__(self, channels: int, rate: int, kernel: int, stages: Stages):
        super().__init__()
        self.up = nn.ConvTranspose1d(channels, channels // 2, kernel, rate, padding=(kernel - rate) // 2)
        self.blocks = _blocks(channels // 2, stages)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, T) to (B, C / 2, T * rate)."""
        x = self.up(x)
        total = torch.zeros_like(x)
        for block in self.blocks:
            total = total + block(x)
        return total / len(self.blocks)


class ConvDecoder(nn.Module):
    """From vectors, one a frame, to a waveform within full scale.

    Args:
        width: channels after the last stage.
        dim: channels of the vectors.
        stages: see `Stages`.
    """

    def __init__(self, width: int, dim: int, stages: Stages):
        super().__init__()
        count = len(stages.rates)
        self.conv_in = nn.Conv1d(dim, width * 2**count, 7, padding=3)
        self.stages = nn.ModuleList(
            DecoderStage(width * 2 ** (count - k), rate, kernel, stages)
            for k, (rate, kernel) in enumerate(zip(stages.rates, stages.kernels, strict=True))
        )
        self.conv_out = nn.Conv1d(width, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, T) to (B, T * hop), in (-1, 1)."""
        x = self.conv_in(x)
        for stage in self.stages:
            x = stage(x)
        return torch.tanh(self.conv_out(F.leaky_relu(x, _SLOPE)))[:, 0]
