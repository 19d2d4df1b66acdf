"""The list of metrics, and all the scores of one clip at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from .dnsmos import dnsmos
from .estoi import estoi
from .pesq import pesq
from .signals import Signal, UndefinedScore
from .sisdr import si_sdr


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


def _dnsmos(clip: Clip) -> dict[str, float]:
    return {f"dnsmos_{name}": score for name, score in asdict(dnsmos(clip.est, clip.sample_rate)).items()}


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        against_clean("pesq", pesq),
        against_clean("estoi", estoi),
        against_clean("si_sdr", lambda est, ref, sample_rate: si_sdr(est, ref)),
        Metric("dnsmos", ("dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"), _dnsmos),
    )
}
"""Every metric that needs no further choice, by name."""

DEFAULT = ("pesq", "estoi", "si_sdr", "dnsmos")


def chosen_metrics(metrics: Sequence[str | Metric]) -> list[Metric]:
    """The metrics by name; those that are made already stay what they are.

    Raises:
        ValueError: an unknown name.
    """
    unknown = [name for name in metrics if isinstance(name, str) and name not in METRICS]
    if unknown:
        raise ValueError(f"metrics: {', '.join(unknown)} unknown; expected some of {', '.join(METRICS)}")
    return [METRICS[metric] if isinstance(metric, str) else metric for metric in metrics]


def score_clip(clip: Clip, metrics: Sequence[str | Metric] = DEFAULT) -> dict[str, float]:
    """Score a clip by every metric that what is known of it allows.

    Returns:
        Column -> score in the order of `metrics`. A score that is undefined for the clip is NaN, so that one silent
        output does not end a validation run.

    Raises:
        ImportError: a package that a metric needs is not installed.
        ValueError: an unknown metric, nothing to compute from what is known, or signals that are not comparable.
    """
    chosen = chosen_metrics(metrics)
    possible = [metric for metric in chosen if all(getattr(clip, need) is not None for need in metric.needs)]
    if not possible:
        missing = {need for metric in chosen for need in metric.needs if getattr(clip, need) is None}
        raise ValueError(
            f"metrics={[metric.name for metric in chosen]}: nothing to compute without {', '.join(sorted(missing))}; "
            "'dnsmos' works on the estimate alone"
        )
    scores: dict[str, float] = {}
    for metric in possible:
        try:
            scores.update(metric.score(clip))
        except UndefinedScore:
            scores.update(dict.fromkeys(metric.columns, math.nan))
    return scores


def evaluate_pair(
    est: Signal, ref: Signal | None, sample_rate: int, metrics: Sequence[str | Metric] = DEFAULT
) -> dict[str, float]:
    """Score an estimate, against a clean reference where there is one: `score_clip` for the usual case.

    Args:
        est: estimate, (S,), full scale 1.0.
        ref: clean reference, (S,), sample-aligned; None leaves out the metrics that need one.
        sample_rate: of both, in Hz.
        metrics: names in `METRICS`, or metrics.
    """
    return score_clip(Clip(est, sample_rate, clean=ref), metrics)
