"""The methods that a server offers, and what a client may change about them."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gense import samplers
from gense.api import load
from gense.checkpoints import registry
from gense.choices import checked_sampling, checked_seed
from gense.enhancer import Enhancer
from gense.heads.resolve import name_of
from gense.samplers import schedules
from gense.serve.limits import RefusedError, ServerLimits
from gense.sweeps.rehearsal import rehearse
from gense.types import Sampling

OPTIONS = ("churn", "snr", "eta", "guidance")
"""Numbers of samplers, and of guidance, that a client may set: those on which the number of network calls does not
depend, or only by a factor of two (guidance)."""


@dataclass(frozen=True)
class Wish:
    """What a client chose; None and nothing take what the method has.

    Attributes:
        method: a name that is on offer.
        steps: number of sampling steps.
        sampler: a name that is on offer.
        schedule: likewise.
        seed: of the noise.
        options: of `OPTIONS`.
    """

    method: str | None = None
    steps: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    seed: int = 0
    options: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Choice:
    """A wish that was found possible: the method's name, its enhancer, the sampling (None: its own) and the seed."""

    method: str
    enhancer: Enhancer
    sampling: Sampling | None
    seed: int


class Offer:
    """Loaded methods by name; the first is the default. Which samplers and schedules run with each is tried at once.

    Args:
        methods: name -> enhancer, at least one.
        limits: what a client may ask for.

    Raises:
        ValueError: no methods.
    """

    def __init__(self, methods: Mapping[str, Enhancer], limits: ServerLimits):
        if not methods:
            raise ValueError("no methods to serve: give at least one")
        self.methods, self.limits = dict(methods), limits
        self._samplers = {name: _samplers(enhancer) for name, enhancer in methods.items()}
        self._schedules = {name: _schedules(enhancer) for name, enhancer in methods.items()}

    @classmethod
    def load(
        cls, names: Sequence[str], limits: ServerLimits, *, device: str | None = None, dtype: str = "float32",
        compile: bool = False, trust: bool = False,
    ) -> Offer:
        """Load methods; what lies in a file or folder is offered under the last part of its path.

        Raises:
            ValueError: two with the same name, or what `gense.load` raises.
            OSError: as `gense.load`.
        """
        sources: dict[str, str] = {}
        for given in names:
            own = registry.find(given) is None and os.path.exists(given)
            name = Path(given).resolve().stem if own else given
            if name in sources:
                raise ValueError(f"two methods are called {name!r}: rename the file or folder of one, or leave it out")
            sources[name] = given
        settings: dict[str, Any] = {"device": device, "dtype": dtype, "compile": compile, "trust": trust}
        return cls({name: load(source, **settings) for name, source in sources.items()}, limits)

    def choose(self, wish: Wish) -> Choice:
        """Check a wish. Names are looked up here and never imported, so that no client can name code.

        Raises:
            RefusedError: 422, saying what there is.
        """
        name = next(iter(self.methods)) if wish.method is None else wish.method
        if name not in self.methods:
            raise RefusedError(422, f"method={name!r} is not on offer; there are {', '.join(self.methods)}")
        enhancer = self.methods[name]
        most = self._most_steps(enhancer)
        if wish.steps is not None and wish.steps > most:
            raise RefusedError(422, f"steps={wish.steps}: this server takes at most {most}")
        walks, grids = self._samplers[name], self._schedules[name]
        for kind, chosen, names in (("sampler", wish.sampler, walks), ("schedule", wish.schedule, grids)):
            if chosen is not None and chosen not in names:
                raise RefusedError(
                    422, f"{kind}={chosen!r} is not on offer for {name}; there are {', '.join(names) or 'none'}"
                )
        for option, value in wish.options:
            if option not in OPTIONS or not math.isfinite(value):
                raise RefusedError(422, f"{option}={value}: expected a finite number for one of {', '.join(OPTIONS)}")
        try:
            seed = checked_seed(wish.seed)
            sampling = checked_sampling(enhancer, wish.steps, wish.sampler, wish.schedule, dict(wish.options))
        except (ValueError, TypeError) as error:
            raise RefusedError(422, str(error)) from error
        return Choice(name, enhancer, sampling, seed)

    def described(self) -> list[dict[str, Any]]:
        """What can be chosen, a dictionary for each method, ready for JSON."""
        return [self._described(name, enhancer) for name, enhancer in self.methods.items()]

    def _described(self, name: str, enhancer: Enhancer) -> dict[str, Any]:
        own = enhancer.head.sampling
        chosen: dict[str, Any] = {"name": name, "default": name == next(iter(self.methods))}
        chosen.update(sample_rate=enhancer.sample_rate, output_rate=enhancer.output_rate, deterministic=own is None)
        if own is not None:
            chosen.update(
                steps=own.steps, max_steps=self._most_steps(enhancer), sampler=name_of(own.sampler),
                samplers=self._samplers[name], schedule=name_of(own.schedule), schedules=self._schedules[name],
                options=OPTIONS,
            )  # fmt: skip
        return chosen

    def _most_steps(self, enhancer: Enhancer) -> int:
        own = enhancer.head.sampling
        return max(self.limits.max_steps, own.steps if own is not None else 0)


def _samplers(enhancer: Enhancer) -> tuple[str, ...]:
    """Samplers that run with a method and whose cost the number of steps bounds; none where it walks no grid."""
    if not _walks(enhancer):
        return ()
    walks = [name for name in samplers.__all__ if _parameters(name)[:3] == ["field", "x", "times"]]
    bounded = [name for name in walks if "step_limit" not in _parameters(name)]
    return tuple(name for name in bounded if _works(enhancer, name, None))


def _schedules(enhancer: Enhancer) -> tuple[str, ...]:
    if not _walks(enhancer):
        return ()
    return tuple(name for name in schedules.__all__ if _works(enhancer, None, name))


def _walks(enhancer: Enhancer) -> bool:
    own = enhancer.head.sampling
    return own is not None and _parameters(own.sampler)[:3] == ["field", "x", "times"]


def _works(enhancer: Enhancer, sampler: str | None, schedule: str | None) -> bool:
    """Whether a sampler or schedule runs at all: some need a noise, a bridge or an average that a method lacks."""
    try:
        sampling = checked_sampling(enhancer, 2, sampler, schedule, {})
        assert sampling is not None
        rehearse(enhancer, sampling)
    except ValueError:
        return False
    return True


def _parameters(sampler: Any) -> list[str]:
    function = getattr(samplers, sampler, None) if isinstance(sampler, str) else sampler
    return list(inspect.signature(function).parameters) if inspect.isfunction(function) else []
