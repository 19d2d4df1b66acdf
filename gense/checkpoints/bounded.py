"""Building a network that a stranger describes, without more memory and time than its weights justify."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

# No size of a layer, window or vocabulary comes near; products of them are held to the weights
_LARGEST = 1 << 20
# What a network may hold beside its weights: windows, filters, tables of positions
_BESIDE = 256 << 20
_MODULES_PER_TENSOR, _MODULES_BESIDE = 20, 1000


@contextlib.contextmanager
def bounded(state: Mapping[str, Tensor]) -> Iterator[None]:
    """Within it, modules that this thread builds on PyTorch's meta device are held to the size of these weights.

    Raises:
        ValueError: on registration, when there are far more modules, parameters or buffers than the weights fill.
    """
    own = threading.get_ident()
    room = _BESIDE + sum(4 * value.numel() for value in state.values())
    modules = _MODULES_BESIDE + _MODULES_PER_TENSOR * len(state)

    def module_added(module: nn.Module, name: str, new: nn.Module | None) -> None:
        nonlocal modules
        modules -= threading.get_ident() == own
        if modules < 0:
            raise ValueError(f"describes far more layers than the {len(state)} tensors of its weights")

    def tensor_added(module: nn.Module, name: str, new: Tensor | None) -> None:
        nonlocal room
        if threading.get_ident() == own and new is not None:
            room -= new.numel() * new.element_size()
        if room < 0:
            raise ValueError("describes a network far larger than its weights")

    with contextlib.ExitStack() as stack:
        for handle in (
            hooks.register_module_module_registration_hook(module_added),
            hooks.register_module_parameter_registration_hook(tensor_added),
            hooks.register_module_buffer_registration_hook(tensor_added),
        ):
            stack.callback(handle.remove)
        stack.enter_context(torch.device("meta"))
        yield


def check_numbers(node: Any, where: str) -> None:
    """Refuse whole numbers in a configuration that would be the size of something absurd.

    Raises:
        ValueError: with the path to the number.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            check_numbers(value, f"{where}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            check_numbers(value, f"{where}[{index}]")
    elif isinstance(node, int) and abs(node) > _LARGEST:
        raise ValueError(f"{where}: {str(node)[:30]} is larger than anything that a model needs, {_LARGEST}")
