"""The methods that the page offers, those in use, and what each lets a user choose."""

from __future__ import annotations

import inspect
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from gense import samplers
from gense.api import Method, load, methods
from gense.checkpoints import registry
from gense.choices import checked_sampling
from gense.enhancer import TEXT, Enhancer
from gense.heads.resolve import name_of
from gense.samplers import schedules
from gense.sweeps.rehearsal import rehearse

KEPT = 4
"""Enhancers in memory at once; the one that was not used for longest gives way."""


@dataclass(frozen=True)
class Knobs:
    """What can be chosen for a method.

    Attributes:
        steps: its own number of steps, None for a deterministic method and where it is not known yet.
        sampler: name of its own sampler, likewise.
        schedule: name of its own schedule, likewise.
        samplers: names that work with it, none for a deterministic method.
        schedules: likewise.
        text: whether it reads a transcript.
    """

    steps: int | None
    sampler: str | None
    schedule: str | None
    samplers: tuple[str, ...]
    schedules: tuple[str, ...]
    text: bool


class Models:
    """The methods on offer, loaded when first used and kept.

    Args:
        names: as `gense.load` takes them, folders and files included; none for all of `gense.methods()`.

    Raises:
        ValueError: a name is unknown, or the version cannot load it.
    """

    def __init__(self, names: Sequence[str] = ()):
        listed = {method.name: method for method in methods()}
        self._methods: dict[str, Method | None] = {}
        if not names:
            self._methods.update({name: method for name, method in listed.items() if not method.unsupported})
        for name in names:
            entry = registry.find(name)
            if entry is None and not os.path.exists(name):
                raise ValueError(f"method {name!r} unknown; {registry.nearest(name)}")
            if entry is not None and entry.unsupported:
                raise ValueError(f"{name}: this version cannot load it: {entry.unsupported}")
            self._methods[name if entry is None else entry.name] = None if entry is None else listed[entry.name]
        self._loaded: OrderedDict[str, tuple[Enhancer, Knobs]] = OrderedDict()
        self._lock = threading.Lock()

    def here(self, name: str) -> bool:
        """Whether the weights are on this machine."""
        method = self._methods[name]
        return method is None or name in self._loaded or any(m.on_disk for m in methods() if m.name == name)

    def choices(self) -> list[tuple[str, str]]:
        """(what the page shows, name) of every method, those on this machine first."""
        here = [(name, name) for name in self._methods if self.here(name)]
        rest = [(f"{name} (fetched on first use)", name) for name in self._methods if not self.here(name)]
        return here + rest

    def about(self, name: str) -> str:
        """One line on a method: what it is, its rate, its licence, where its weights come from."""
        method = self._methods[name]
        if method is None:
            return f"Your own model, {name}."
        parts = [method.summary] if method.default else []  # a summary tells of the method's default weights
        if method.sample_rate:
            parts.append(f"{method.sample_rate} Hz")
        parts.append(f"weights: {method.source}")
        parts.append(f"licence: {method.licence or 'not stated by its authors'}")
        if not self.here(name):
            parts.append("fetched on first use, which can take minutes")
        return ". ".join(part[:1].upper() + part[1:] for part in parts) + "."

    def get(self, name: str) -> Enhancer:
        """Return the enhancer, loaded once; raises what `gense.load` raises, and ValueError for one not on offer."""
        return self._get(name)[0]

    def knobs(self, name: str) -> Knobs:
        """What can be chosen for a method; for one whose weights are not here everything, as nothing is known of it."""
        if not self.here(name):
            return Knobs(None, None, None, _sampler_names(), tuple(schedules.__all__), True)
        return self._get(name)[1]

    def _get(self, name: str) -> tuple[Enhancer, Knobs]:
        if name not in self._methods:
            raise ValueError(f"method {name!r} is not on offer here; there are {', '.join(self._methods)}")
        with self._lock:  # the second of two visitors waits for the first one's weights
            if name not in self._loaded:
                enhancer = load(name)
                self._loaded[name] = enhancer, _knobs(enhancer)
                if len(self._loaded) > KEPT:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(name)
            return self._loaded[name]


def _sampler_names() -> tuple[str, ...]:
    """The functions of `gense.samplers` that walk a grid; correctors take a single time in its place."""
    return tuple(name for name in samplers.__all__ if _parameters(samplers, name)[:3] == ["field", "x", "times"])


def _parameters(module: ModuleType, name: str) -> list[str]:
    function = getattr(module, name)
    return list(inspect.signature(function).parameters) if inspect.isfunction(function) else []


def _knobs(enhancer: Enhancer) -> Knobs:
    """Find out what a method can be sampled with, by trying everything once without its networks."""
    text = TEXT in enhancer.head.reads and enhancer.text is not None
    own = enhancer.head.sampling
    if own is None:
        return Knobs(None, None, None, (), (), text)
    walks = tuple(name for name in _sampler_names() if _works(enhancer, name, None))
    grids = tuple(name for name in schedules.__all__ if _works(enhancer, None, name))
    return Knobs(own.steps, name_of(own.sampler), name_of(own.schedule), walks, grids, text)


def _works(enhancer: Enhancer, sampler: str | None, schedule: str | None) -> bool:
    """Whether a sampler or schedule runs at all: some need a noise, a bridge or an average that a method lacks."""
    try:
        sampling = checked_sampling(enhancer, 2, sampler, schedule, {})
        assert sampling is not None
        rehearse(enhancer, sampling)
    except ValueError:
        return False
    return True
