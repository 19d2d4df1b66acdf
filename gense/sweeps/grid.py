"""The settings of a sweep, each checked against the method that is to run it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from gense.choices import checked_dtype, checked_sampling
from gense.enhancer import Enhancer
from gense.sweeps.rehearsal import rehearse
from gense.sweeps.result import Cell
from gense.sweeps.table import settled
from gense.types import Sampling


@dataclass(frozen=True)
class Grid:
    """What is to be varied. None, as an axis or as a value on one, is the method's own.

    Args:
        samplers: names in `gense.samplers`, or dotted paths.
        schedules: names in `gense.samplers.schedules`, or dotted paths.
        steps: numbers of steps.
        options: name of an option of sampler or schedule, or of guidance -> its values.
        dtypes: of the network: "float32", "bfloat16", "float16".

    Raises:
        ValueError: an axis without values or with one twice, or an unknown dtype.
        TypeError: a value that is neither text nor a number, or for options plain lists of them.
    """

    samplers: Sequence[str | None] | None = None
    schedules: Sequence[str | None] | None = None
    steps: Sequence[int | None] | None = None
    options: Mapping[str, Sequence[Any]] | None = None
    dtypes: Sequence[str] = ("float32",)

    def __post_init__(self) -> None:
        axes = {"samplers": self.samplers, "schedules": self.schedules, "steps": self.steps, "dtypes": self.dtypes}
        axes |= {f"options {name!r}": values for name, values in (self.options or {}).items()}
        for name, values in axes.items():
            if values is None:
                continue
            if isinstance(values, (str, int, float)) or not isinstance(values, Sequence):
                raise TypeError(f"{name}={values!r}: expected a list of values")
            try:
                texts = [json.dumps(value, allow_nan=False) for value in values]
            except (TypeError, ValueError) as error:
                raise TypeError(f"{name}={list(values)!r}: expected names and numbers, or lists of them") from error
            if not values or len(set(texts)) < len(texts):
                raise ValueError(f"{name}={list(values)!r}: expected at least one value, and each once")
        for name in ("samplers", "schedules"):
            for value in axes[name] or ():
                if value is not None and not isinstance(value, str):
                    raise TypeError(f"{name} holds {value!r}: expected names or dotted paths")
        for dtype in self.dtypes:
            checked_dtype(dtype)

    def cells(self, method: str) -> Iterator[Cell]:
        """Every combination for one method that samples, those of one dtype together."""
        options = self.options or {}
        axes = (self.dtypes, self.samplers or [None], self.schedules or [None], list(product(*options.values())))
        for dtype, sampler, schedule, values in product(*axes):
            chosen = tuple((n, settled(v)) for n, v in zip(options, values, strict=True) if v is not None)
            for steps in self.steps or [None]:
                yield Cell(method, sampler, schedule, steps, dtype, chosen)

    def checked(self, method: str, enhancer: Enhancer) -> tuple[list[Cell], dict[str, str]]:
        """The combinations that a method takes, and why it refuses the others, by label.

        A method that does not sample has one cell a dtype. Of combinations that come to the same sampling, such as a
        method's own sampler left out and by name, the first is kept.
        """
        if enhancer.head.sampling is None:
            return [Cell(method, dtype=dtype) for dtype in self.dtypes], {}
        kept: list[tuple[Cell, Sampling]] = []
        refused = {}
        for cell in self.cells(method):
            try:
                sampling = sampling_of(cell, enhancer)
                same = [known.label for known, other in kept if known.dtype == cell.dtype and other == sampling]
                if same:
                    raise ValueError(f"the same as {same[0]}")
                rehearse(enhancer, sampling)
            except ValueError as error:
                refused[cell.label] = str(error)
            else:
                kept.append((cell, sampling))
        return [cell for cell, _ in kept], refused


def sampling_of(cell: Cell, enhancer: Enhancer) -> Sampling:
    """The complete sampling that a cell stands for.

    Raises:
        ValueError: the enhancer does not take it.
    """
    own = enhancer.head.sampling
    sampling = checked_sampling(enhancer, cell.steps, cell.sampler, cell.schedule, dict(cell.options)) or own
    assert sampling is not None
    return sampling
