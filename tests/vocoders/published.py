"""Vocos models in the published layout, from the names, shapes and filling rule of the recordings."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml

from gense.checkpoints.build import build_as
from gense.checkpoints.convert_vocos import convert_config, convert_state
from gense.vocoders import Vocoder, Vocos
from tests.parity.fixtures import Parity


def configuration(fixture: Parity) -> dict:
    """The content of the published `config.yaml`."""
    given = fixture.config
    return given["config"] if "config" in given else given["reference"]["config"]


def build(fixture: Parity) -> Vocos:
    """The vocoder of a recording."""
    vocoder = build_as(Vocoder, convert_config(configuration(fixture)), "vocoder", "the configuration")
    assert isinstance(vocoder, Vocos)
    vocoder.load_state_dict(convert_state(fixture.weights(), vocoder.state_dict()))
    return vocoder.eval()


def state_dict(fixture: Parity) -> dict[str, torch.Tensor]:
    """The published state dict, with the tensors that the modules compute; those have wrong values here."""
    given = fixture.weights()
    return {name: given.get(name, torch.full(entry["shape"], 7.0)) for name, entry in fixture.keys().items()}


def write(fixture: Parity, folder: Path) -> Path:
    """A folder as the hub holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(fixture)))
    torch.save(state_dict(fixture), folder / "pytorch_model.bin")
    return folder
