"""Log-mel spectrograms."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gense.representations.base import Representation
from gense.representations.mel_settings import MelSettings
from gense.representations.melbank import mel_filterbank
from gense.representations.resample import sinc_resample


class LogMel(Representation):
    """Log-mel spectrogram, log max(floor, mel bands of |STFT|^power), (B, bands, T).

    The defaults are those of 24 kHz flow-matching enhancers and, but for their lower floor of 1e-7, of Vocos. BigVGAN
    and UnivNet take `scale` and `norm` "slaney", `padding` "same" and `epsilon` 1e-9.

    A log-mel spectrogram has no phase: `decode` refuses, a vocoder makes the waveform.

    Args:
        settings: see `MelSettings`.
        input_rate: rate of the waveforms that `encode` gets, Hz; they are brought to the settings' rate by a short
            windowed sinc, which models trained on upsampled recordings expect. None: they have the settings' rate.

    Attributes:
        sample_rate: of the waveforms that `encode` gets, Hz.
        hop_length: the fewest samples of them that are a whole number of frames.
        hop_frames: how many frames those are; 1 without resampling.
        mel: the settings.

    Raises:
        ValueError: `input_rate` is not positive.
    """

    window: Tensor
    filterbank: Tensor

    def __init__(self, settings: MelSettings = MelSettings(), *, input_rate: int | None = None):  # noqa: B008 - frozen
        super().__init__()
        if input_rate is not None and input_rate < 1:
            raise ValueError(f"input_rate={input_rate}: expected Hz, or None")
        self.mel: MelSettings = settings
        self.sample_rate = settings.sample_rate if input_rate is None else input_rate
        input_hop = settings.hop_length * self.sample_rate  # of one frame, in units of 1 / (rate in * rate out) s
        self.hop_frames = settings.sample_rate // math.gcd(input_hop, settings.sample_rate)
        self.hop_length = self.hop_frames * input_hop // settings.sample_rate
        self.register_buffer("window", torch.hann_window(settings.n_fft, periodic=True), persistent=False)
        filterbank = mel_filterbank(
            settings.n_fft // 2 + 1, settings.sample_rate, settings.bands, f_min=settings.f_min, f_max=settings.f_max,
            scale=settings.scale, norm=settings.norm,
        )
        self.register_buffer("filterbank", filterbank, persistent=False)

    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples at the settings' rate."""
        whole = samples // self.mel.hop_length
        return whole + 1 if self.mel.padding == "center" else max(1, whole)

    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, bands, T)."""
        s = self.mel
        # Under autocast, the sums over bins would keep three digits of the quietest bands
        with torch.autocast(wav.device.type, enabled=False):
            wav = sinc_resample(wav.float(), self.sample_rate, s.sample_rate)
            frames = self.frames(wav.shape[-1])
            edge = s.n_fft // 2 if s.padding == "center" else (s.n_fft - s.hop_length) // 2
            # Reflection needs more samples than it makes; shorter clips are lengthened and their frames cut again
            wav = F.pad(wav, (0, max(0, edge + 1 - wav.shape[-1])))
            wav = F.pad(wav, (edge, edge), mode="reflect")
            c = torch.stft(wav, s.n_fft, s.hop_length, window=self.window, center=False, return_complex=True)
            magnitude = c.abs() if s.epsilon == 0 else (c.real.square() + c.imag.square() + s.epsilon).sqrt()
            power = magnitude if s.power == 1 else magnitude**s.power
            mel = (self.filterbank @ power).clamp(min=s.floor)
            return (mel.log() if s.log == "natural" else mel.log10())[..., :frames]

    def decode(self, x: Tensor, length: int) -> Tensor:
        raise NotImplementedError(
            "a log-mel spectrogram holds no phase: give the enhancer a vocoder, for instance gense.vocoders.load(...)"
        )
