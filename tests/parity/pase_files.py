"""PASE files as they lie on disk, rebuilt from the names, shapes and filling rules of the recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tests.parity.fixtures import Parity, load_parity

FILES = ("DeWavLM", "Vocoder_Dual", "Vocoder_L24")


def vocoder_checkpoint(fixture: Parity) -> dict[str, Any]:
    """A vocoder in the published layout, with a window that nothing may read."""
    weights = fixture.weights()
    state = {name: weights.get(name, torch.full(e["shape"], 7.0)) for name, e in fixture.keys().items()}
    return {"cfg": dict(fixture.config["constructor"]), "model": state}


def drawn(fixture: Parity, name: str, *shape: int, factor: float = 1.0) -> Tensor:
    """An input by its recorded seed."""
    normal = np.random.RandomState(fixture.config["seeds"][name]).standard_normal(shape)
    return torch.from_numpy(normal.astype(np.float32)) * factor


def small_release() -> dict[str, dict[str, Any]]:
    """Content of the three published files by name without suffix, tiny."""
    fixture = load_parity("pase_ckpt_small")
    release = {}
    for name in FILES:
        keys = fixture.keys(f"keys_{name}.json")
        state = fixture.weights(f"keys_{name}.json")
        state |= {key: torch.full(e["shape"], 7.0) for key, e in keys.items() if key not in state}
        config = fixture.config["original_cfg" if name == "DeWavLM" else "vocoder_config"]
        release[name] = {"cfg": dict(config), "model": state}
    return release


def end_to_end_release() -> dict[str, dict[str, Any]]:
    """The other recording, which names its weights as one module: speech model and vocoder with two streams."""
    fixture = load_parity("pase_e2e_small")
    weights = fixture.weights()
    prefixes = {"DeWavLM": "encoder.wavlm.", "Vocoder_Dual": "decoder."}
    configs = {"DeWavLM": "original_cfg", "Vocoder_Dual": "vocoder_config"}
    return {
        name: {
            "cfg": dict(fixture.config[configs[name]]),
            "model": {key.removeprefix(prefix): v for key, v in weights.items() if key.startswith(prefix)},
        }
        for name, prefix in prefixes.items()
    }


def write(release: dict[str, dict[str, Any]], folder: Path, *, without: tuple[str, ...] = ()) -> Path:
    """Write files of a release into a folder, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in release.items():
        if name not in without:
            torch.save(content, folder / f"{name}.tar")
    return folder
