"""Tokens of pretrained neural codecs with residual codebooks."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gense.representations.base import Representation
from gense.representations.hub_codecs import Codec, load_codec
from gense.representations.resample import sinc_resample


class CodecTokens(Representation):
    """Codes of EnCodec, DAC or Mimi as `transformers` has them, (B, K, T) int64, ids from 0; and back.

    The codes are those of the model's own `encode`, the waveform that of its own `decode`: T = ceil(S / hop), the end
    of a waveform filled up to a whole frame as the model itself does it (EnCodec reflects, Mimi repeats or adds zeros)
    or as its feature extractor does it (DAC: zeros). Codebook k refines those before it, so the first few alone are
    a coarser version of the same speech.

    The codec is frozen: it takes no gradient, and training mode does not reach it.

    Args:
        codec: what to load: encodec-24khz, encodec-32khz, dac-16khz, dac-24khz, dac-44khz, mimi, another model of the
            hub, or a folder; or a configuration, a mapping with `model_type` ("encodec", "dac" or "mimi") and fields
            of that configuration of `transformers`, for weights that come with a checkpoint of the whole method and
            are random until then.
        codebooks: how many are used; None for all, or as many as `bandwidth` allows.
        bandwidth: kbit/s; instead of `codebooks`, the most of them whose bits fit, at least one.
        input_rate: rate of the waveforms that `encode` gets and `decode` gives, Hz, where it is not the codec's; they
            are resampled by a short windowed sinc.
        revision: branch, tag or commit on the hub.

    Attributes:
        sample_rate: of the waveforms, Hz.
        hop_length: the fewest samples of them that are a whole number of frames.
        hop_frames: how many frames those are; 1 without resampling.
        codec_rate: of the codec, Hz.
        codec_hop: samples at that rate per frame.
        frame_rate: frames per second.
        codebooks: K.
        vocabulary: ids of each codebook.

    Raises:
        ImportError: transformers is not installed.
        OSError: neither a folder nor a model that can be fetched.
        ValueError: the model is no codec of these kinds, is one whose tokens alone do not hold the speech, or has fewer
            codebooks; `codebooks` and `bandwidth` are both given; a rate that is not positive.
    """

    def __init__(
        self,
        codec: str | dict[str, Any],
        *,
        codebooks: int | None = None,
        bandwidth: float | None = None,
        input_rate: int | None = None,
        revision: str | None = None,
    ):
        super().__init__()
        if input_rate is not None and input_rate < 1:
            raise ValueError(f"input_rate={input_rate}: expected Hz, or None for the codec's")
        self.codec: Codec = load_codec(codec, revision)
        self.codec_rate, self.codec_hop = self.codec.sample_rate, self.codec.hop_length
        self.frame_rate = self.codec_rate / self.codec_hop
        self.vocabulary = self.codec.vocabulary
        self.codebooks = self._count(codebooks, bandwidth)
        self.sample_rate = self.codec_rate if input_rate is None else input_rate
        hop = self.codec_hop * self.sample_rate  # of one frame, in units of 1 / (rate in * codec's rate) s
        self.hop_frames = self.codec_rate // math.gcd(hop, self.codec_rate)
        self.hop_length = self.hop_frames * hop // self.codec_rate
        self.requires_grad_(False)
        self.eval()

    def _count(self, codebooks: int | None, bandwidth: float | None) -> int:
        """Codebooks to use."""
        there = self.codec.codebooks
        if codebooks is not None and bandwidth is not None:
            raise ValueError(f"codebooks={codebooks} and bandwidth={bandwidth}: give one of them")
        if bandwidth is not None:
            if not bandwidth > 0:
                raise ValueError(f"bandwidth={bandwidth}: expected kbit/s, or None")
            each = self.frame_rate * math.log2(self.vocabulary) / 1000
            codebooks = max(1, math.floor(bandwidth / each + 1e-6))
            if codebooks > there:
                raise ValueError(f"bandwidth={bandwidth}: all {there} codebooks have {there * each:g} kbit/s")
        if codebooks is None:
            return there
        least = self.codec.fewest
        if not least <= codebooks <= there:
            raise ValueError(f"codebooks={codebooks}: this codec gives {least} to {there}")
        return codebooks

    def train(self, mode: bool = True) -> CodecTokens:
        """Stay as in use: in training mode, codecs draw how many codebooks they fill."""
        return super().train(False)

    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples at `sample_rate`."""
        resampled = -(-samples * self.codec_rate // self.sample_rate)
        return -(-resampled // self.codec_hop)

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, K, T) int64, ids in [0, vocabulary).

        Raises:
            ValueError: another shape, or no samples.
        """
        if wav.ndim != 2 or wav.shape[-1] == 0:
            raise ValueError(f"wav has shape {tuple(wav.shape)}: expected (batch, samples), samples not 0")
        # Under autocast, roundings would choose other codes
        with torch.autocast(wav.device.type, enabled=False):
            wav = sinc_resample(wav.float(), self.sample_rate, self.codec_rate)
            return self.codec.encode(wav, self.codebooks)

    @torch.no_grad()
    def decode(self, x: Tensor, length: int) -> Tensor:
        """Turn (B, K, T) into (B, length) float32, zeros after the samples of the last frame.

        The first few codebooks of those that `encode` gives may be handed in alone.

        Raises:
            TypeError: ids that are not int64.
            ValueError: another shape, more codebooks than the codec has, no frames, or ids outside [0, vocabulary).
        """
        if x.dtype != torch.int64:
            raise TypeError(f"tokens are {x.dtype}: expected int64")
        if x.ndim != 3 or not self.codec.fewest <= x.shape[1] <= self.codec.codebooks or x.shape[-1] == 0:
            raise ValueError(
                f"tokens have shape {tuple(x.shape)}: expected (batch, {self.codebooks}, frames), frames not 0"
            )
        low, high = torch.aminmax(x)
        if low < 0 or high >= self.vocabulary:
            raise ValueError(f"tokens lie in [{int(low)}, {int(high)}]: expected ids in [0, {self.vocabulary})")
        with torch.autocast(x.device.type, enabled=False):
            wav = sinc_resample(self.codec.decode(x), self.codec_rate, self.sample_rate)
        return torch.nn.functional.pad(wav[:, :length], (0, max(0, length - wav.shape[-1])))
