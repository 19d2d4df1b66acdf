"""From the name of a sampler or schedule to the function, and from its signature to the options that it takes."""

from __future__ import annotations

import difflib
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from gense.types import Sampling


def keywords(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a function's keyword-only parameters."""
    parameters = inspect.signature(function).parameters.values()
    return tuple(p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY)


def resolve(choice: str | Callable[..., Tensor], namespace: ModuleType, first: str) -> Callable[..., Tensor]:
    """Return the function that `choice` names.

    Args:
        choice: a function, the name of one in `namespace`, or a dotted path to one.
        namespace: module whose functions may be called by name.
        first: name of the first parameter, by which the fitting functions of the namespace are told from the others.

    Raises:
        ValueError: there is no such function; the message lists the names.
    """
    if callable(choice):
        return choice
    fitting = {
        name: function
        for name, function in vars(namespace).items()
        if inspect.isfunction(function) and next(iter(inspect.signature(function).parameters), None) == first
        and not name.startswith("_")
    }
    if choice in fitting:
        return fitting[choice]
    module, _, name = choice.rpartition(".")
    if module:
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{choice!r} cannot be imported: {error}") from error
    nearest = difflib.get_close_matches(choice, fitting, n=1)
    hint = f"; nearest: {nearest[0]!r}" if nearest else ""
    raise ValueError(f"{choice!r} is none of {', '.join(sorted(fitting))}{hint}, and no dotted path to a function")


def check_options(function: Callable[..., Any], options: Mapping[str, Any], reserved: Iterable[str] = ()) -> None:
    """Refuse options that a function does not take.

    Args:
        function: sampler or schedule.
        options: what the user gave.
        reserved: parameters that the caller fills itself.

    Raises:
        ValueError: naming the option and what the function takes.
    """
    allowed = [name for name in keywords(function) if name not in set(reserved)]
    for name in options:
        if name not in allowed:
            takes = ", ".join(allowed) or "no options"
            raise ValueError(f"unexpected option {name!r}: {function.__name__} takes {takes}")


def changed(
    sampling: Sampling,
    *,
    steps: int | None = None,
    sampler: str | Callable[..., Tensor] | None = None,
    schedule: str | Callable[..., Tensor] | None = None,
) -> Sampling:
    """A sampling with other steps, sampler or schedule; the options of what is replaced go with it.

    Raises:
        ValueError: impossible steps.
    """
    if steps is not None and (not isinstance(steps, (int, np.integer)) or isinstance(steps, bool) or steps < 1):
        raise ValueError(f"steps={steps!r}: need a whole number, at least 1")
    if steps is not None:
        sampling = replace(sampling, steps=int(steps))
    if sampler is not None and sampler != sampling.sampler:
        sampling = replace(sampling, sampler=sampler, options={})
    if schedule is not None and schedule != sampling.schedule:
        sampling = replace(sampling, schedule=schedule, schedule_options={})
    return sampling


def name_of(choice: str | Callable[..., Tensor]) -> str:
    """The name of a sampler or schedule, for messages."""
    return choice if isinstance(choice, str) else getattr(choice, "__name__", repr(choice))
