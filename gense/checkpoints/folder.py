"""A trained model as a folder: `method.yaml` and `model.safetensors`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

WEIGHTS = "model.safetensors"
METHOD = "method.yaml"


def write_state(state: Mapping[str, Tensor], path: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> Path:
    """Write tensors to a safetensors file, whole or not at all.

    Args:
        state: name -> tensor.
        path: folders are made as needed.
        dtype: floating-point tensors are stored in it; None keeps theirs.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        name: (value.to(dtype) if dtype and value.is_floating_point() else value).contiguous().clone()
        for name, value in state.items()
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.touch()
        usual = temporary.stat().st_mode
        save_file(tensors, temporary)
        temporary.chmod(usual)  # safetensors lets nobody but the owner read
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def write_folder(folder: str | os.PathLike[str], config: Mapping[str, Any], state: Mapping[str, Tensor]) -> Path:
    """Write a model that `gense.load` takes: its configuration and its weights."""
    folder = Path(folder)
    write_state(state, folder / WEIGHTS)
    temporary = folder / f".{METHOD}.{os.getpid()}.part"
    try:
        temporary.write_text(yaml.safe_dump(dict(config), sort_keys=False), encoding="utf-8")
        temporary.replace(folder / METHOD)
    finally:
        temporary.unlink(missing_ok=True)
    return folder


def read_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, or cut off.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path}: not readable as safetensors ({error})") from error


def load_strict(module: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Copy weights into a module; every name and shape must fit.

    Raises:
        ValueError: naming what is missing, what is extra and what has another shape.
    """
    own = module.state_dict()
    problems = []
    for what, names in (("missing", own.keys() - state.keys()), ("extra", state.keys() - own.keys())):
        if names:
            listed = ", ".join(sorted(names)[:5])
            problems.append(f"{len(names)} {what} ({listed}{', ...' if len(names) > 5 else ''})")
    for name in sorted(own.keys() & state.keys()):
        if own[name].shape != state[name].shape:
            problems.append(f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}")
    if problems:
        raise ValueError(f"{source}: the weights do not fit this method: " + "; ".join(problems))
    module.load_state_dict(dict(state))
