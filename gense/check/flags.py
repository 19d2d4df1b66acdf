"""What a check says, and where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Flag:
    """A place at which the output says something else than the input.

    Attributes:
        kind: the check that raised it: "silence", "added", "lost", "speaker" or "content".
        start: seconds.
        end: seconds.
        value: what the check measured, at its worst between start and end.
        limit: what it may be.
        message: both in words.
        channel: row of the audio seen as (channels, time), batch items one after the other; each is checked by itself.
    """

    kind: str
    start: float
    end: float
    value: float
    limit: float
    message: str
    channel: int = 0

    def __str__(self) -> str:
        where = f" (channel {self.channel + 1})" if self.channel else ""
        return f"{self.kind} {self.start:.2f}-{self.end:.2f} s{where}: {self.message}"


def runs(mask: np.ndarray, least: int = 1) -> Iterator[slice]:
    """The stretches of at least `least` true values in a mask (T,)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    for first, stop in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if stop - first >= least:
            yield slice(first, stop)


def moving(values: np.ndarray, frames: int) -> np.ndarray:
    """Mean of (T,) over an odd number of frames around each, zeros outside."""
    padded = np.pad(values.astype(np.float64), (frames // 2 + 1, frames // 2))
    sums = np.cumsum(padded)
    return np.maximum(sums[frames:] - sums[:-frames], 0.0 if (values >= 0).all() else -np.inf) / frames
