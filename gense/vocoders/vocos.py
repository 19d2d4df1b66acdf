"""Vocos: a convolutional network that predicts the spectrum of the waveform (Siuzdak 2023)."""

from __future__ import annotations

import math
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gense.representations.mel_settings import MelSettings, Padding
from gense.samplers.types import Noise
from gense.vocoders.base import Vocoder, fit_length
from gense.vocoders.context import Context

_LOUDEST = math.log(100.0)  # where the magnitude is cut off; before the exponential, which could overflow


class ConvNeXtBlock(nn.Module):
    """Residual block: depthwise convolution over 7 frames, then two layers within the frame (Liu et al. 2022).

    Args:
        dim: channels.
        hidden: channels between the two layers.
        scale: initial gain of the branch, per channel.
    """

    def __init__(self, dim: int, hidden: int, scale: float):
        super().__init__()
        self.depthwise = nn.Conv1d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.expand, self.contract = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.scale = nn.Parameter(torch.full((dim,), scale))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, T) to (B, dim, T)."""
        h = self.norm(self.depthwise(x).transpose(1, 2))
        h = self.scale * self.contract(F.gelu(self.expand(h)))
        return x + h.transpose(1, 2)


class Vocos(Vocoder):
    """Vocos: ConvNeXt blocks at the frame rate, then an inverse STFT of exp(m) e^{i p} with both m and p predicted.

    The defaults are those of the published model for log-mel spectrograms at 24 kHz, 13.5 million parameters. PASE
    (arXiv 2511.13300) gives the same network a context and feeds it features of a speech model, one stream or two.

    Args:
        mel: the log-mel spectrogram that it takes; None: other features.
        channels: of the features, the bands of `mel`.
        dim: channels of the blocks.
        hidden: channels inside the blocks.
        blocks: number of blocks.
        streams: features that come together, (B, streams, channels, T): a linear map of each is added to the last.
            With 1 they are (B, channels, T).
        context: whether residual convolutions and an attention over the whole input precede the blocks.
        sample_rate: of the waveforms, Hz.
        n_fft: transform and periodic Hann window in samples.
        hop_length: samples per frame.
        padding: "center": frame k lies around sample k * hop_length; "same": around the middle of samples
            k * hop_length to (k + 1) * hop_length.

    Raises:
        ValueError: a size is out of its range, or contradicts `mel`.
    """

    istft_window: Tensor

    def __init__(
        self,
        *,
        mel: MelSettings | None = MelSettings(floor=1e-7),  # noqa: B008 - frozen
        channels: int = 100,
        dim: int = 512,
        hidden: int = 1536,
        blocks: int = 8,
        streams: int = 1,
        context: bool = False,
        sample_rate: int = 24000,
        n_fft: int = 1024,
        hop_length: int = 256,
        padding: Padding = "center",
    ):
        super().__init__()
        if padding not in get_args(Padding):
            raise ValueError(f"padding={padding!r}: expected one of {', '.join(get_args(Padding))}")
        sizes = {"channels": channels, "dim": dim, "hidden": hidden, "blocks": blocks, "streams": streams}
        if min(sizes.values()) < 1 or not 1 <= hop_length <= n_fft // 2 or (n_fft - hop_length) % 2:
            raise ValueError(
                f"{', '.join(f'{k}={v}' for k, v in sizes.items())}, n_fft={n_fft}, hop_length={hop_length}: "
                "need all >= 1, hop_length <= n_fft / 2, and n_fft - hop_length even"
            )
        if mel is not None:
            if streams > 1:
                raise ValueError(f"streams={streams}: a mel spectrogram is one; pass mel=None for other features")
            own = {"bands": channels, "sample_rate": sample_rate, "hop_length": hop_length, "padding": padding}
            wrong = ", ".join(f"{k} {v} and {getattr(mel, k)}" for k, v in own.items() if v != getattr(mel, k))
            if wrong:
                raise ValueError(f"the vocoder and its mel spectrogram differ: {wrong}")
        self.mel, self.sample_rate, self.n_fft, self.hop_length = mel, sample_rate, n_fft, hop_length
        self.edge = n_fft // 2 if padding == "center" else (n_fft - hop_length) // 2
        self.channels, self.streams = channels, streams
        self.fusion = nn.ModuleList(nn.Linear(channels, channels) for _ in range(streams - 1))
        self.embed = nn.Conv1d(channels, dim, 7, padding=3)
        self.context = Context(dim) if context else nn.Identity()
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.blocks = nn.ModuleList(ConvNeXtBlock(dim, hidden, 1 / blocks) for _ in range(blocks))
        self.final_norm = nn.LayerNorm(dim, eps=1e-6)
        for module in self.modules():
            for name, parameter in module.named_parameters(recurse=False):
                if parameter.ndim > 1:
                    nn.init.trunc_normal_(parameter, std=0.02)
                elif name == "bias":
                    nn.init.zeros_(parameter)
        self.out = nn.Linear(dim, n_fft + 2)
        self.register_buffer("istft_window", torch.hann_window(n_fft, periodic=True), persistent=False)

    def backbone(self, x: Tensor) -> Tensor:
        """Map features (B, channels, T), or (B, streams, channels, T), to (B, dim, T)."""
        x = self.context(self.embed(self._fused(x)))
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        for block in self.blocks:
            x = block(x)
        return self.final_norm(x.transpose(1, 2)).transpose(1, 2)

    def _fused(self, x: Tensor) -> Tensor:
        """One stream of features, (B, channels, T).

        Raises:
            ValueError: features of another shape.
        """
        shape = (self.channels,) if self.streams == 1 else (self.streams, self.channels)
        if x.shape[1:-1] != shape:
            raise ValueError(f"features are {tuple(x.shape)}: expected (B, {', '.join(map(str, shape))}, T)")
        if self.streams == 1:
            return x
        *others, last = x.unbind(dim=1)
        for layer, other in zip(self.fusion, others, strict=True):
            last = last + layer(other.transpose(1, 2)).transpose(1, 2)
        return last

    def spectrum(self, h: Tensor) -> Tensor:
        """Map (B, dim, T) to the complex spectrum of the waveform, (B, n_fft / 2 + 1, T)."""
        # Half precision would leave the phase, some multiples of pi, with an error of degrees
        with torch.autocast(h.device.type, enabled=False):
            log_magnitude, phase = self.out(h.float().transpose(1, 2)).transpose(1, 2).chunk(2, dim=1)
            return torch.polar(log_magnitude.clamp(max=_LOUDEST).exp(), phase)

    def forward(self, x: Tensor, length: int, *, noise: Noise | None = None) -> Tensor:
        c = self.spectrum(self.backbone(x))
        covered = min(length, c.shape[-1] * self.hop_length)
        return fit_length(overlap_add(c, self.istft_window, self.hop_length, self.edge, covered), length)


def overlap_add(c: Tensor, window: Tensor, hop_length: int, start: int, length: int) -> Tensor:
    """Inverse STFT by weighted overlap-add, divided by the sum of the squared windows.

    Unlike `torch.istft`, it can begin within the first frame ("same" padding) and go on after the middle of the last.

    Args:
        c: complex (B, n_fft / 2 + 1, T); the imaginary parts of the first and the last bin do not count.
        window: (n_fft,).
        hop_length: samples per frame.
        start: first sample of the result, counted from the first of frame 0.
        length: of the result; it must end before the last frame does.

    Returns:
        (B, length).
    """
    n_fft, frames = window.shape[-1], c.shape[-1]
    total = n_fft + hop_length * (frames - 1)

    def add(pieces: Tensor) -> Tensor:
        summed = F.fold(pieces, (1, total), (1, n_fft), stride=(1, hop_length))
        return summed[:, 0, 0, start : start + length]

    wav = add(torch.fft.irfft(c, n_fft, dim=1) * window[:, None])
    return wav / add(window.square()[None, :, None].expand(1, -1, frames))
