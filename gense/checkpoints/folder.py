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
_SCALE = "#scale"  # no parameter's name holds this character


def write_state(state: Mapping[str, Tensor], path: str | os.PathLike[str], *, dtype: torch.dtype | None = None) -> Path:
    """Write tensors to a safetensors file, whole or not at all.

    Args:
        state: name -> tensor.
        path: folders are made as needed.
        dtype: floating-point tensors are stored in it; None keeps theirs. With `torch.int8` every matrix or kernel is
            rounded to 8 bits, scaled by the largest weight of each output channel, and everything else is float16:
            half the size of float16, for networks that run in floating point all the same.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if dtype is torch.int8 and value.is_floating_point():
            tensors.update(_in_bytes(name, value))
        else:
            tensors[name] = (value.to(dtype) if dtype and value.is_floating_point() else value).contiguous().clone()
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


def _in_bytes(name: str, value: Tensor) -> dict[str, Tensor]:
    """A tensor as 8-bit numbers and their scales, one for each index of its first axis; vectors as float16."""
    if value.ndim < 2:
        return {name: value.to(torch.float16).contiguous().clone()}
    scale = value.float().abs().amax(dim=tuple(range(1, value.ndim)), keepdim=True).clamp(min=1e-12) / 127
    return {name: (value / scale).round().to(torch.int8).contiguous(), name + _SCALE: scale.flatten().contiguous()}


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
    """Read a safetensors file; tensors of scaled 8-bit numbers come back as float32.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no safetensors file, or cut off.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        stored = load_file(path)
    except (SafetensorError, KeyError, RuntimeError, OSError) as error:  # KeyError: a type that PyTorch lacks
        raise ValueError(f"{path}: not readable as safetensors ({shortened(error)})") from error
    state = {name: value for name, value in stored.items() if not name.endswith(_SCALE)}
    for name, scale in stored.items():
        if name.endswith(_SCALE):
            whole = name.removesuffix(_SCALE)
            if whole not in state or state[whole].ndim < 2 or scale.shape != state[whole].shape[:1]:
                raise ValueError(f"{path}: {name} belongs to no tensor of this file")
            state[whole] = state[whole] * scale.reshape(-1, *[1] * (state[whole].ndim - 1))
    return state


def shortened(error: object) -> str:
    """What went wrong in one line, whatever a file has put into the message."""
    return " ".join(str(error).split())[:200] or type(error).__name__


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
    misfits = [name for name in sorted(own.keys() & state.keys()) if own[name].shape != state[name].shape]
    for name in misfits[:5]:
        problems.append(f"{name} is {tuple(state[name].shape)}, expected {tuple(own[name].shape)}")
    if len(misfits) > 5:
        problems.append(f"{len(misfits) - 5} more of other shapes")
    if problems:
        raise ValueError(f"{source}: the weights do not fit this method: " + "; ".join(problems))
    module.load_state_dict(dict(state))
