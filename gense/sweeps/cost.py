"""What an enhancement costs: network calls, counted, and seconds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from gense.backbones.base import Backbone
from gense.enhancer import Enhancer


class Counter:
    """Counts the calls of networks; a hook.

    Attributes:
        calls: so far.
    """

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1


def places(module: nn.Module) -> Iterator[tuple[nn.Module, str, Backbone]]:
    """(what holds it, under which name, the network) of the networks in a module, less those within another one."""
    for name, child in module.named_children():
        if isinstance(child, Backbone):
            yield module, name, child
        else:
            yield from places(child)


def networks(module: nn.Module) -> list[Backbone]:
    """The networks in a module, less those within another one; each once, though it may serve twice."""
    return list(dict.fromkeys(network for _, _, network in places(module)))


@contextmanager
def counted(enhancer: Enhancer) -> Iterator[Counter]:
    """Count the network calls of an enhancer."""
    counter = Counter()
    hooks = [network.register_forward_hook(counter) for network in networks(enhancer)]
    try:
        yield counter
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def computing_in(enhancer: Enhancer, dtype: torch.dtype | None) -> Iterator[None]:
    """Let the networks compute in a dtype through autocast, None for float32, and as before afterwards."""
    before = enhancer.autocast
    enhancer.autocast = dtype
    try:
        yield
    finally:
        enhancer.autocast = before


def identity(enhancer: Enhancer) -> str:
    """Of an enhancer's weights, own settings and device, to know it again."""
    parts = (enhancer.head.sampling, enhancer.level, enhancer.output_level, enhancer.chunking, enhancer.device.type)
    digest = hashlib.sha256(repr(parts).encode())
    for name, value in enhancer.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]
