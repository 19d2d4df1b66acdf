"""Generators of the HiFi-GAN family through the package `transformers`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gense.representations.mel_settings import MelSettings
from gense.samplers import gaussian
from gense.samplers.types import Noise
from gense.vocoders.base import Vocoder, fit_length

# The front ends of the published weights, by the feature extractors of transformers
_SPEECHT5 = MelSettings(
    sample_rate=16000, bands=80, f_min=80.0, f_max=7600.0, scale="slaney", norm="slaney", floor=1e-10, log="log10"
)
_UNIVNET = MelSettings(scale="slaney", norm="slaney", padding="same", epsilon=1e-9)


def _build(model: str, config: str, settings: Mapping[str, Any] | None) -> nn.Module:
    """Construct a model of transformers with fresh weights."""
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ImportError("transformers is not installed: pip install gense[hub]") from error
    kind = getattr(transformers, config)
    known = set(kind().to_dict())
    if unknown := sorted(set(settings or {}) - known):
        raise ValueError(f"{config} does not know {', '.join(unknown)}; it takes {', '.join(sorted(known))}")
    return getattr(transformers, model)(kind(**(settings or {})))


def _require(name: str, own: dict[str, int], mel: MelSettings) -> None:
    wrong = ", ".join(f"{k} {v} and {getattr(mel, k)}" for k, v in own.items() if v != getattr(mel, k))
    if wrong:
        raise ValueError(f"{name} and its mel spectrogram differ: {wrong}; pass the one that it was trained on")


class HiFiGAN(Vocoder):
    """HiFi-GAN generator (Kong et al. 2020), `transformers.SpeechT5HifiGan`.

    Args:
        mel: the log-mel spectrogram that it takes; that of microsoft/speecht5_hifigan by default.
        config: settings of `transformers.SpeechT5HifiGanConfig` that differ from its defaults.

    Raises:
        ImportError: transformers is not installed.
        ValueError: an unknown setting, or bands, rate or hop that contradict `mel`.
    """

    def __init__(self, *, mel: MelSettings = _SPEECHT5, config: dict[str, Any] | None = None):
        super().__init__()
        self.network = _build("SpeechT5HifiGan", "SpeechT5HifiGanConfig", config)
        given: Any = self.network.config
        self.sample_rate, self.hop_length = given.sampling_rate, math.prod(given.upsample_rates)
        self.mel = mel
        own = {"bands": given.model_in_dim, "sample_rate": self.sample_rate, "hop_length": self.hop_length}
        _require("HiFiGAN", own, mel)

    def forward(self, x: Tensor, length: int, *, noise: Noise | None = None) -> Tensor:
        return fit_length(self.network(x.transpose(1, 2)), length).float()


class UnivNet(Vocoder):
    """UnivNet generator (Jang et al. 2021), `transformers.UnivNetModel`; it draws noise of some channels per frame.

    Args:
        mel: the log-mel spectrogram that it takes; that of the published weights by default.
        config: settings of `transformers.UnivNetConfig` that differ from its defaults.

    Raises:
        ImportError: transformers is not installed.
        ValueError: an unknown setting, or bands or hop that contradict `mel`.
    """

    def __init__(self, *, mel: MelSettings = _UNIVNET, config: dict[str, Any] | None = None):
        super().__init__()
        self.network = _build("UnivNetModel", "UnivNetConfig", config)
        given: Any = self.network.config
        self.sample_rate, self.hop_length = mel.sample_rate, math.prod(given.resblock_stride_sizes)
        self.mel, self.noise_channels = mel, given.model_in_channels
        _require("UnivNet", {"bands": given.num_mel_bins, "hop_length": self.hop_length}, mel)

    def forward(self, x: Tensor, length: int, *, noise: Noise | None = None) -> Tensor:
        like = torch.empty(x.shape[0], self.noise_channels, x.shape[-1], device=x.device, dtype=x.dtype)
        drawn = (noise or gaussian(0))(like)
        made = self.network(x.transpose(1, 2), noise_sequence=drawn.transpose(1, 2), return_dict=True)
        return fit_length(made.waveforms, length).float()
