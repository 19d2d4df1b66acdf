"""All the scores of one enhanced clip at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

from .dnsmos import dnsmos
from .estoi import estoi
from .pesq import pesq
from .signals import Signal, UndefinedScore
from .sisdr import si_sdr

WITH_REFERENCE: dict[str, Callable[[Signal, Signal, int], float]] = {
    "pesq": pesq,
    "estoi": estoi,
    "si_sdr": lambda est, ref, sample_rate: si_sdr(est, ref),
}
ALL = (*WITH_REFERENCE, "dnsmos")


def evaluate_pair(est: Signal, ref: Signal | None, sample_rate: int, metrics: Sequence[str] = ALL) -> dict[str, float]:
    """Score an estimate, against a clean reference where there is one.

    Args:
        est: estimate, (S,), full scale 1.0.
        ref: clean reference, (S,), sample-aligned; None leaves out the metrics that need one.
        sample_rate: of both, in Hz.
        metrics: any of "pesq" (wide band), "estoi", "si_sdr", "dnsmos".

    Returns:
        Name -> score in the order of `metrics`; "dnsmos" gives "dnsmos_ovrl", "dnsmos_sig" and "dnsmos_bak". A score
        that is undefined for the clip is NaN, so that one silent output does not end a validation run.

    Raises:
        ImportError: a package that a metric needs is not installed.
        ValueError: unknown metric, nothing to compute without a reference, or signals that are not comparable.
    """
    unknown = [name for name in metrics if name not in ALL]
    if unknown:
        raise ValueError(f"metrics={list(metrics)}: {unknown} unknown, expected some of {list(ALL)}")
    scores: dict[str, float] = {}
    for name in metrics:
        metric = WITH_REFERENCE.get(name)
        if metric is None:
            scores |= _dnsmos_or_nan(est, sample_rate)
        elif ref is not None:
            scores[name] = _or_nan(metric, est, ref, sample_rate)
    if not scores:
        given = "no reference" if ref is None else "a reference"
        raise ValueError(f"metrics={list(metrics)} and {given}: nothing to compute; 'dnsmos' works without a reference")
    return scores


def _or_nan(metric: Callable[[Signal, Signal, int], float], est: Signal, ref: Signal, sample_rate: int) -> float:
    try:
        return metric(est, ref, sample_rate)
    except UndefinedScore:
        return math.nan


def _dnsmos_or_nan(est: Signal, sample_rate: int) -> dict[str, float]:
    try:
        scores = asdict(dnsmos(est, sample_rate))
    except UndefinedScore:
        scores = dict.fromkeys(("ovrl", "sig", "bak"), math.nan)
    return {f"dnsmos_{name}": score for name, score in scores.items()}
