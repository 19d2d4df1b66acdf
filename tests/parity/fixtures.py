"""Reads the recorded inputs and outputs of published implementations, `tests/parity/<name>/`.

A fixture is a folder with `config.json` (what was run, on which version), `keys.json` (the parameter names and shapes
of the published network, filled by `fill.py`; absent where no network took part) and its arrays, either in one
`tensors.safetensors` or in `inputs.safetensors` and `outputs.safetensors`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.parity.fill import filled

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Parity:
    """One fixture. `tensors` holds every array except those of a separate inputs/outputs pair of files."""

    name: str
    folder: Path
    config: dict[str, Any]
    tensors: dict[str, Tensor]
    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]

    def keys(self, file: str = "keys.json") -> dict[str, dict[str, Any]]:
        """The published parameter names -> {"shape", "rule"}, in the published order."""
        return json.loads((self.folder / file).read_text())

    def weights(self, file: str = "keys.json") -> dict[str, Tensor]:
        """The filled state dict under the published names; entries with the rule "keep" are left out."""
        return {name: torch.from_numpy(value) for name, value in filled(self.keys(file)).items()}


def load_parity(name: str) -> Parity:
    """Load `tests/parity/<name>/`.

    Raises:
        FileNotFoundError: there is no such fixture; a parity test must fail, not skip, when its recording is lost.
    """
    folder = FOLDER / name
    if not (folder / "config.json").is_file():
        raise FileNotFoundError(f"no parity fixture {name!r}: {folder / 'config.json'} does not exist")
    groups = {
        group: load_file(folder / f"{group}.safetensors") if (folder / f"{group}.safetensors").is_file() else {}
        for group in ("tensors", "inputs", "outputs")
    }
    if not any(groups.values()):
        raise FileNotFoundError(f"parity fixture {name!r} has no tensors.safetensors, inputs or outputs in {folder}")
    config = json.loads((folder / "config.json").read_text())
    if "noise_shape" in config:
        draws = recorded_noise(config["noise_seed"], *config["noise_shape"])
        groups["tensors"]["noise"] = torch.view_as_real(torch.stack(draws))
    return Parity(name=name, folder=folder, config=config, **groups)


def recorded_noise(seed: int, count: int, *shape: int) -> list[Tensor]:
    """The complex unit noise that a fixture's `noise_rule` describes, which therefore need not be stored."""
    draws = (np.random.RandomState(seed + k).standard_normal((*shape, 2)) for k in range(count))
    return [as_complex(torch.from_numpy((draw * np.sqrt(0.5)).astype(np.float32))) for draw in draws]


def as_complex(tensor: Tensor) -> Tensor:
    """(..., 2) float32 holding (real, imag) -> (...) complex64.

    safetensors has no complex type; a fixture whose config has "complex_tensors_are_stored_as" stores them like this,
    but real arrays may also end in a dimension of 2, so the test decides which ones to convert.
    """
    if tensor.shape[-1:] != (2,) or not tensor.is_floating_point():
        raise ValueError(f"expected a real tensor (..., 2), got {tuple(tensor.shape)} {tensor.dtype}")
    return torch.view_as_complex(tensor.contiguous())


def relative_error(actual: Tensor, expected: Tensor) -> float:
    """||actual - expected|| / ||expected|| over all elements, in double precision: the distance parity tests state."""
    if actual.shape != expected.shape:
        raise ValueError(f"shapes differ: {tuple(actual.shape)} and {tuple(expected.shape)}")
    wide = torch.complex128 if expected.is_complex() else torch.float64
    difference = torch.linalg.vector_norm(actual.to(wide) - expected.to(wide))
    return float(difference / torch.linalg.vector_norm(expected.to(wide)))
