"""The list of metrics, and all the scores of one clip at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

from .bss import si_sar, si_sir
from .composite import composite
from .dnsmos import DNSMOS, dnsmos, pdnsmos
from .dnsmos_p808 import dnsmos_p808
from .estoi import estoi
from .lsd import lsd
from .metric import Clip, Metric, against_clean
from .pesq import pesq
from .signals import Signal, UndefinedScore
from .sisdr import si_sdr
from .stoi import stoi
from .with_models import WITH_MODEL, metric_with_model


def _against_mixture(name: str, function: Callable[[Signal, Signal, Signal], float]) -> Metric:
    """A metric of one column from a function (est, clean, noisy)."""

    def score(clip: Clip) -> dict[str, float]:
        assert clip.clean is not None
        assert clip.noisy is not None
        return {name: function(clip.est, clip.clean, clip.noisy)}

    return Metric(name, (name,), score, needs=("clean", "noisy"))


def _p835(name: str, function: Callable[[Signal, int], DNSMOS]) -> Metric:
    """A metric of three columns, <name>_ovrl, <name>_sig and <name>_bak."""

    def score(clip: Clip) -> dict[str, float]:
        return {f"{name}_{part}": value for part, value in asdict(function(clip.est, clip.sample_rate)).items()}

    return Metric(name, (f"{name}_ovrl", f"{name}_sig", f"{name}_bak"), score)


def _composite(clip: Clip) -> dict[str, float]:
    assert clip.clean is not None
    return asdict(composite(clip.est, clip.clean, clip.sample_rate))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        against_clean("pesq", pesq),
        against_clean("pesq_nb", lambda est, ref, sample_rate: pesq(est, ref, sample_rate, band="nb")),
        against_clean("stoi", stoi),
        against_clean("estoi", estoi),
        against_clean("si_sdr", lambda est, ref, sample_rate: si_sdr(est, ref)),
        _against_mixture("si_sir", si_sir),
        _against_mixture("si_sar", si_sar),
        against_clean("lsd", lsd, lower_is_better=True),
        Metric("composite", ("csig", "cbak", "covl"), _composite, needs=("clean",)),
        _p835("dnsmos", dnsmos),
        Metric("dnsmos_p808", ("dnsmos_p808",), lambda clip: {"dnsmos_p808": dnsmos_p808(clip.est, clip.sample_rate)}),
        _p835("pdnsmos", pdnsmos),
    )
}
"""Every metric that needs no further choice, by name."""

DEFAULT = ("pesq", "estoi", "si_sdr", "dnsmos")


def chosen_metrics(metrics: Sequence[str | Metric]) -> list[Metric]:
    """The metrics by name; those that are made already stay what they are.

    Args:
        metrics: names in `METRICS`, or "NAME:MODEL" (for some also "NAME") with a name in `WITH_MODEL`.

    Raises:
        ImportError: a package that a chosen model needs is not installed.
        OSError: a chosen model is not on this machine and cannot be fetched.
        ValueError: an unknown name, or a model that does not do.
    """
    known = (*METRICS, *WITH_MODEL)
    unknown = [name for name in metrics if isinstance(name, str) and name.split(":")[0] not in known]
    if unknown:
        raise ValueError(
            f"metrics: {', '.join(unknown)} unknown; expected some of {', '.join(METRICS)}, "
            f"or with a model {', '.join(f'{name}:MODEL' for name in WITH_MODEL)}"
        )
    return [_named(metric) if isinstance(metric, str) else metric for metric in metrics]


def _named(name: str) -> Metric:
    return METRICS[name] if name in METRICS else metric_with_model(name)


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
