"""Recordings and a metric of one number for sweeps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.metrics.registry import Metric, against_clean


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Three pairs of half a second."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "pairs"
    for kind in ("clean", "noisy"):
        (folder / kind).mkdir(parents=True)
    for index in range(3):
        clean = 0.3 * np.sin(np.arange(8000) * (0.05 + 0.02 * index))
        soundfile.write(folder / "clean" / f"{index}.wav", clean, 16000, subtype="FLOAT")
        noisy = clean + 0.1 * rng.standard_normal(8000)
        soundfile.write(folder / "noisy" / f"{index}.wav", noisy, 16000, subtype="FLOAT")
    return folder


@pytest.fixture
def distance() -> Metric:
    """The mean distance from the clean signal: a number that tells any two outputs apart."""
    return against_clean("distance", lambda est, ref, rate: float(np.abs(est - ref).mean()), lower_is_better=True)
