"""Codecs that were trained by `gense fit`."""

from __future__ import annotations

import os
from pathlib import Path

from gense.checkpoints.build import build_as, read_config
from gense.checkpoints.folder import WEIGHTS, load_strict, read_state
from gense.representations.codec import VectorCodec

CODEC = "codec.yaml"


def load_codec(folder: str | os.PathLike[str], *, trust: bool = False) -> VectorCodec:
    """Load a codec, in evaluation mode on the CPU.

    Args:
        folder: with `codec.yaml` and `model.safetensors`, as `gense fit` writes it.
        trust: allow classes from outside gense in the YAML.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: another kind of model, or weights that do not fit; names what is missing and extra.
    """
    config, weights = Path(folder) / CODEC, Path(folder) / WEIGHTS
    settings, what = read_config(config), f"{config}: the codec's configuration"
    state = {name: value.float() for name, value in read_state(weights).items()}
    codec = build_as(VectorCodec, settings, "codec", what, trust=trust, state=state)
    load_strict(codec, state, str(weights))
    return codec.eval()
