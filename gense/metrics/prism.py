"""PRISM: many scores of many systems as one number each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

INTRUSIVE = ("pesq", "stoi", "si_sdr")
DNSMOS_SCORES = ("dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
NISQA_SCORES = ("nisqa_mos", "nisqa_noi", "nisqa_dis", "nisqa_col", "nisqa_loud")

Categories = Sequence[Sequence[Sequence[str]]]
"""Categories of groups of columns."""

PUBLISHED: Categories = ((INTRUSIVE,), (DNSMOS_SCORES, NISQA_SCORES))
"""As published: intrusive scores, and non-intrusive ones of two families."""

WITHOUT_NISQA: Categories = ((INTRUSIVE,), (DNSMOS_SCORES,))
"""What this package measures by itself. Say so where you report it: it is not the published PRISM."""


def prism(systems: Mapping[str, Mapping[str, float]], *, categories: Categories = PUBLISHED) -> dict[str, float]:
    """Performance Relative Integrated Scaled Metric (Rika, Sapir and Gus, "DPDFNet: boosting DeepFilterNet2 via
    dual-path RNN", arXiv 2512.16420, section IV-C), a mean opinion of the metrics about systems on one test set.

    Each column is scaled so that the worst system has 0 and the best 1; PRISM is the mean over categories of the mean
    over their groups of the mean over their columns. It ranks the systems that are given and says nothing beyond: add
    or drop one and the others change. The unprocessed input should be among them, as in the paper.

    The paper's SI-SNR is `si_sdr` of signals without an offset. NISQA is not part of this package: bring its scores
    under the names of `NISQA_SCORES`, or pass `WITHOUT_NISQA`.

    Args:
        systems: system -> column -> mean score over the test set, higher is better.
        categories: which columns count, and how they are grouped.

    Returns:
        System -> 0 (worst in everything) to 1 (best in everything).

    Raises:
        ValueError: fewer than two systems, a score is missing or not finite, or all systems share one.
    """
    if len(systems) < 2:
        raise ValueError(f"{len(systems)} system(s): PRISM compares systems, give at least 2")

    def scaled(column: str) -> np.ndarray:
        missing = [name for name, scores in systems.items() if not math.isfinite(scores.get(column, math.nan))]
        if missing:
            raise ValueError(
                f"no finite {column!r} for {', '.join(missing)}: measure it, or pass categories without it"
                " (from gense.metrics.prism import WITHOUT_NISQA)"
            )
        values = np.array([scores[column] for scores in systems.values()], dtype=np.float64)
        low, high = values.min(), values.max()
        if low == high:
            raise ValueError(f"all systems have {column} = {low:g}: no scale to put them on, leave the column out")
        return (values - low) / (high - low)

    means = [
        np.mean([np.mean([scaled(column) for column in group], axis=0) for group in category], axis=0)
        for category in categories
    ]
    return dict(zip(systems, np.mean(means, axis=0).tolist(), strict=True))
