"""From features to waveforms."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from gense.vocoders.base import Vocoder
from gense.vocoders.hf import HiFiGAN, UnivNet
from gense.vocoders.spectral_codec import SpectralCodec
from gense.vocoders.vocos import Vocos

__all__ = ["HiFiGAN", "SpectralCodec", "UnivNet", "Vocoder", "Vocos", "load"]


def load(
    name_or_path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    mel: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Vocoder:
    """Load a vocoder by folder, files, hub repository or name; see `gense.checkpoints.vocoder.load_vocoder`."""
    from gense.checkpoints.vocoder import load_vocoder

    return load_vocoder(name_or_path, weights, mel=mel, trust=trust)
