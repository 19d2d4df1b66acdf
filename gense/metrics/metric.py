"""A clip, a metric, and how the two meet."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .signals import Signal


@dataclass(frozen=True)
class Clip:
    """A clip to be scored, and what is known of it.

    Attributes:
        est: the estimate, (S,), full scale 1.0.
        sample_rate: of all signals, Hz.
        clean: clean reference, (S,), sample-aligned.
        noisy: what was enhanced, (S,), sample-aligned.
        text: what is said.
    """

    est: Signal
    sample_rate: int
    clean: Signal | None = None
    noisy: Signal | None = None
    text: str | None = None


@dataclass(frozen=True)
class Metric:
    """One entry of the list.

    Attributes:
        name: what users type.
        columns: names of the scores it gives.
        score: a clip -> column -> score. May raise UndefinedScore, which becomes NaN in every column.
        needs: what a clip must have beside the estimate: some of "clean", "noisy", "text".
        lower_is_better: as for error rates.
    """

    name: str
    columns: tuple[str, ...]
    score: Callable[[Clip], Mapping[str, float]]
    needs: tuple[str, ...] = ()
    lower_is_better: bool = False


def against_clean(
    name: str, function: Callable[[Signal, Signal, int], float], *, lower_is_better: bool = False
) -> Metric:
    """A metric of one column from a function (est, ref, sample_rate)."""

    def score(clip: Clip) -> dict[str, float]:
        assert clip.clean is not None
        return {name: function(clip.est, clip.clean, clip.sample_rate)}

    return Metric(name, (name,), score, needs=("clean",), lower_is_better=lower_is_better)
