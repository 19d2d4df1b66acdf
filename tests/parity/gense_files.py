"""A GenSE model as it lies on disk, rebuilt from the names, shapes and filling rules of a recording."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from tests.parity.fixtures import load_parity


def states() -> dict[str, dict[str, Tensor]]:
    """The two state dicts by the first part of their files' names; XLS-R is represented by two tensors of it."""
    fixture = load_parity("gense_ckpt_small")
    made = {name: fixture.weights(f"keys_{name}.json") for name in ("n2s", "s2s")}
    for state in made.values():
        state["lm.lm_head.weight"] = state["lm.transformer.wte.weight"]
    return made


def write_checkpoints(folder: Path, changed: dict[str, dict[str, Tensor]] | None = None, **codec: Any) -> Path:
    """Both checkpoints, the codec's settings and the published YAML; returns the second checkpoint."""
    config = load_parity("gense_ckpt_small").config
    folder.mkdir(parents=True, exist_ok=True)
    for name, state in {**states(), **(changed or {})}.items():
        torch.save({"state_dict": state}, folder / f"{name}_xlsr.ckpt")
    (folder / "config.json").write_text(json.dumps({**config["simcodec_config"], **codec}))
    (folder / "gense.yaml").write_text(yaml.safe_dump({"model": config["model"], "ssl_model": {"type": "xlsr"}}))
    return folder / "s2s_xlsr.ckpt"
