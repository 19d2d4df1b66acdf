"""PRISM: the published table, and exact cases."""

from __future__ import annotations

import math

import pytest

from gense.metrics import prism
from gense.metrics.prism import DNSMOS_SCORES, INTRUSIVE, NISQA_SCORES, WITHOUT_NISQA

# Table I of arXiv 2512.16420: PESQ, STOI (%), SI-SNR | SIG, BAK, OVRL, P.808 | NISQA MOS, noisiness, discontinuity,
# coloration, loudness | PRISM.
TABLE = {
    "Noisy": (1.32, 83.2, 0.38, 2.03, 1.66, 1.56, 2.53, 2, 1.69, 3.4, 2.68, 2.68, 0.04),
    "DTLN": (2.14, 88.7, 10.83, 2.51, 3.5, 2.15, 2.85, 2.13, 2.51, 2.79, 2.39, 2.85, 0.46),
    "GTCRN": (2.21, 87.2, 9.11, 2.56, 3.76, 2.25, 3, 2.53, 3.27, 3.17, 2.8, 3.01, 0.49),
    "RNNoise": (2.36, 88.5, 8.97, 2.81, 3.94, 2.51, 3.01, 1.88, 3.68, 2.2, 2.19, 3.14, 0.52),
    "NSNet2": (2.35, 86.8, 8.63, 2.68, 3.82, 2.36, 2.92, 2.63, 3.39, 3.25, 2.76, 3.3, 0.52),
    "FastEnhancer-T": (2.39, 87.6, 10.75, 2.6, 3.91, 2.32, 2.98, 2.74, 3.84, 3.09, 2.95, 3.44, 0.58),
    "FullSubNet": (2.36, 89.6, 10.63, 2.91, 3.39, 2.43, 3.06, 2.76, 2.78, 3.83, 3.41, 3.29, 0.63),
    "DPCRN": (2.76, 90.7, 11.93, 2.74, 3.79, 2.4, 3.03, 2.92, 3.11, 3.61, 3.23, 3.4, 0.69),
    "aTENNuate": (2.8, 88.9, 9.65, 3.05, 4.03, 2.74, 2.94, 3.01, 3.35, 3.9, 2.97, 3.92, 0.7),
    "DEMUCS": (2.57, 91.5, 12.36, 3, 3.95, 2.69, 3.09, 2.52, 3.56, 2.7, 2.94, 3.79, 0.72),
    "FastEnhancer-B": (2.63, 89.6, 11.88, 2.82, 3.99, 2.53, 3.09, 3.4, 4.13, 3.67, 3.44, 3.76, 0.73),
    "DeepFilterNet2": (2.59, 91.2, 11.95, 2.93, 3.87, 2.58, 3.19, 3.24, 3.74, 3.62, 3.47, 3.6, 0.75),
    "CleanUNet": (2.82, 93, 12.5, 3.08, 4, 2.77, 3.15, 2.83, 3.65, 2.96, 3.03, 3.71, 0.79),
    "FastEnhancer-M": (2.58, 90.4, 12.96, 2.9, 3.98, 2.61, 3.13, 3.87, 4.33, 4.03, 3.79, 4.01, 0.8),
    "FastEnhancer-S": (2.75, 90.4, 12.51, 2.89, 4.03, 2.61, 3.15, 3.71, 4.32, 3.94, 3.67, 3.97, 0.81),
    "DeepFilterNet3": (2.76, 90.5, 12.1, 3.03, 4.01, 2.72, 3.22, 3.84, 4.12, 3.99, 3.75, 3.85, 0.82),
    "FastEnhancer-L": (2.76, 91.2, 13.57, 2.94, 4, 2.65, 3.17, 4.15, 4.49, 4.27, 3.98, 4.15, 0.87),
    "Baseline": (2.85, 89.2, 10.25, 2.94, 4, 2.65, 3.17, 3.95, 4.37, 4.17, 3.87, 4.02, 0.79),
    "+OA Loss": (2.92, 90.2, 11.21, 3.19, 4.09, 2.89, 3.28, 3.8, 4.28, 4.07, 3.79, 4, 0.85),
    "+Fine-Tuning": (3.04, 91.6, 13.27, 3.14, 4.07, 2.83, 3.21, 3.96, 4.31, 4.17, 3.83, 4.05, 0.91),
    "DPDFNet-2": (3.14, 92.6, 13.72, 3.16, 4.08, 2.85, 3.26, 4.06, 4.36, 4.23, 3.92, 4.1, 0.95),
    "DPDFNet-4": (3.18, 93, 14.11, 3.17, 4.08, 2.87, 3.28, 4.15, 4.4, 4.3, 3.96, 4.14, 0.98),
    "DPDFNet-8": (3.2, 93.4, 14.47, 3.19, 4.09, 2.89, 3.28, 4.21, 4.43, 4.34, 4, 4.18, 1),
}
COLUMNS = (*INTRUSIVE, *DNSMOS_SCORES, *NISQA_SCORES)


def test_the_published_table() -> None:
    scores = prism({name: dict(zip(COLUMNS, row[:-1], strict=True)) for name, row in TABLE.items()})
    # The published results are rounded to 0.005, and so are the columns they come from.
    assert scores == pytest.approx({name: row[-1] for name, row in TABLE.items()}, abs=0.0055)


def test_categories_weigh_the_same_whatever_they_hold() -> None:
    best, worst = dict.fromkeys(COLUMNS, 1.0), dict.fromkeys(COLUMNS, 0.0)
    assert prism({"best": best, "worst": worst}) == {"best": 1.0, "worst": 0.0}
    for group, weight in ((INTRUSIVE, 0.5), (DNSMOS_SCORES, 0.25), (NISQA_SCORES, 0.25)):
        mixed = {**worst, **dict.fromkeys(group, 1.0)}
        assert prism({"best": best, "worst": worst, "mixed": mixed})["mixed"] == pytest.approx(weight)
    mixed = {**worst, "pesq": 1.0}
    scores = prism({"best": best, "worst": worst, "mixed": mixed}, categories=WITHOUT_NISQA)
    assert scores["mixed"] == pytest.approx(1 / 6)


def test_units_do_not_count() -> None:
    systems = {name: dict(zip(COLUMNS, row[:-1], strict=True)) for name, row in TABLE.items()}
    other = {name: {**row, "stoi": row["stoi"] / 100, "si_sdr": 3 * row["si_sdr"] - 7} for name, row in systems.items()}
    assert prism(other) == pytest.approx(prism(systems), abs=1e-12)


def test_what_cannot_be_compared() -> None:
    row = dict.fromkeys((*INTRUSIVE, *DNSMOS_SCORES), 1.0)
    with pytest.raises(ValueError, match="at least 2"):
        prism({"alone": row})
    with pytest.raises(ValueError, match="all systems have pesq = 1"):
        prism({"a": row, "b": row})
    with pytest.raises(ValueError, match="no finite 'pesq' for b"):
        prism({"a": row, "b": {**row, "pesq": math.nan}})
    other = dict.fromkeys((*INTRUSIVE, *DNSMOS_SCORES), 2.0)
    with pytest.raises(ValueError, match="no finite 'nisqa_mos' for a, b"):
        prism({"a": row, "b": other})
    assert prism({"a": row, "b": other}, categories=WITHOUT_NISQA) == {"a": 0.0, "b": 1.0}
