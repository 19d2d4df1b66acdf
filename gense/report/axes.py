"""Axes of a plot: from values to the coordinates of an SVG, with ticks at round numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gense.report.numbers import number, significant


@dataclass(frozen=True)
class Axis:
    """One direction of a plot.

    Attributes:
        low: value at `start`.
        high: value at `end`.
        start: coordinate in the drawing.
        end: likewise; smaller than `start` for an axis that points up.
        log: whether equal factors, rather than equal differences, are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The coordinate of a value."""
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """(coordinate, label) of round values on the axis, no more than `most` of them."""
        values = _decades(self.low, self.high, most) if self.log else _rounds(self.low, self.high, most)
        if self.log:
            return [(self(value), significant(value, 1)) for value in values]
        step = values[1] - values[0] if len(values) > 1 else 1.0
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        return [(self(value), number(value, decimals)) for value in values]


def axis_for(values: Sequence[float], start: float, end: float, *, log: bool = False, margin: float = 0.06) -> Axis:
    """An axis on which all the values lie, with a margin on both sides.

    Args:
        values: finite; for a logarithmic axis greater than 0.
        start: coordinate of the low end.
        end: coordinate of the high end.
        log: equal factors equally far apart.
        margin: relative to the span.
    """
    low, high = min(values), max(values)
    if log:
        # A factor of 2 at least, so that one value still has an axis
        room = max(math.log(high / low), math.log(2)) * margin + (0 if high >= 2 * low else 0.3)
        return Axis(low / math.exp(room), high * math.exp(room), start, end, log=True)
    span = high - low
    room = span * margin if span > 1e-9 * max(abs(low), abs(high)) else max(abs(high), 1.0) * 0.1
    return Axis(low - room, high + room, start, end)


def _rounds(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for factor in (1, 2, 5, 10, 20):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            break
    return [index * step for index in range(first, last + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    """1, 2 and 5 times powers of ten, as dense as fits."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values: list[float] = []
    for factors in ((1, 2, 5), (1, 3), (1,)):
        values = [f * 10.0**p for p in powers for f in factors if low <= f * 10.0**p <= high]
        if len(values) <= most:
            break
    return values[:: max(1, math.ceil(len(values) / most))]
