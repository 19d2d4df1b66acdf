"""What every metric of the list promises."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import soxr
import torch

from gense.metrics import METRICS, Clip, UndefinedScore, score_clip
from gense.metrics.dnsmos import load_session
from tests import conftest

NAMES = [name for name, metric in METRICS.items() if "text" not in metric.needs]
# How far scores may move with the sampling rate: the resampler is not the identity at the upper end of the band.
BY_RATE = {"pesq": 0.01, "pesq_nb": 0.01, "stoi": 1e-3, "estoi": 1e-3, "dnsmos": 0.12, "pdnsmos": 0.12}
# The whole band counts, so that these belong to their rate.
OWN_RATE = {"lsd"}
# The personalised network finds this clip's noisy speech more natural than the clean; speechmos says the same.
UNRELIABLE = {"pdnsmos_sig"}


@pytest.fixture(scope="module")
def degraded(clip: conftest.Clip) -> Clip:
    """4.6 s, which DNSMOS scores in one window, noisy and with an artefact: hiss below 4 kHz."""
    noisy, clean = clip.noisy[:73600], clip.clean[:73600]
    hiss = np.convolve(np.random.default_rng(0).standard_normal(73600), np.hanning(9) / 4.0, mode="same")
    return Clip((noisy + 0.02 * hiss).astype(np.float32), 16000, clean=clean, noisy=noisy)


@pytest.fixture(scope="module")
def scores(degraded: Clip) -> Callable[[str], Mapping[str, float]]:
    """Scores of the degraded clip by name of the metric, computed once."""
    return cache(lambda name: METRICS[name].score(degraded))


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_what_is_announced(name: str, scores) -> None:
    assert METRICS[name].name == name
    assert tuple(scores(name)) == METRICS[name].columns
    assert all(type(value) is float and math.isfinite(value) for value in scores(name).values())


def test_columns_are_unique() -> None:
    columns = [column for metric in METRICS.values() for column in metric.columns]
    assert len(columns) == len(set(columns))


@pytest.mark.parametrize("name", NAMES)
def test_clean_speech_scores_better(name: str, degraded: Clip, scores) -> None:
    best, worse = METRICS[name].score(replace(degraded, est=degraded.clean)), scores(name)
    for column in set(METRICS[name].columns) - UNRELIABLE:
        gain = best[column] - worse[column]
        assert (gain < 0) if METRICS[name].lower_is_better else (gain > 0), (column, best[column], worse[column])


@pytest.mark.parametrize("name", NAMES)
def test_the_container_does_not_count(name: str, degraded: Clip, scores) -> None:
    tensors = [torch.tensor(signal) for signal in (degraded.est, degraded.clean, degraded.noisy)]
    tensors[0].requires_grad_()
    assert METRICS[name].score(Clip(tensors[0], 16000, clean=tensors[1], noisy=tensors[2])) == scores(name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in OWN_RATE])
def test_the_rate_does_not_count(name: str, degraded: Clip, scores) -> None:
    est, clean, noisy = (
        soxr.resample(signal, 16000, 48000, "VHQ") for signal in (degraded.est, degraded.clean, degraded.noisy)
    )
    other = METRICS[name].score(Clip(est, 48000, clean=clean, noisy=noisy))
    assert other == pytest.approx(scores(name), abs=BY_RATE.get(name, 0.05))


@pytest.mark.parametrize("name", NAMES)
def test_mistakes_are_refused(name: str, degraded: Clip) -> None:
    metric = METRICS[name]
    for need in metric.needs:
        with pytest.raises(ValueError, match="align the signals"):
            metric.score(replace(degraded, **{need: getattr(degraded, need)[1:]}))
    with pytest.raises(ValueError, match="NaN or infinite"):
        metric.score(replace(degraded, est=np.full_like(degraded.est, np.nan)))
    with pytest.raises(ValueError, match=r"expected one channel"):
        metric.score(replace(degraded, est=degraded.est.reshape(2, -1)))
    with pytest.raises(TypeError, match="int16"):
        metric.score(replace(degraded, est=np.ones(73600, dtype=np.int16)))


@pytest.mark.parametrize("name", NAMES)
def test_silence_has_no_score(name: str, degraded: Clip) -> None:
    silent = replace(degraded, est=np.zeros_like(degraded.est))
    with pytest.raises(UndefinedScore, match="silent"):
        METRICS[name].score(silent)
    given = score_clip(silent, (name,))
    assert tuple(given) == METRICS[name].columns
    assert all(math.isnan(value) for value in given.values())


@pytest.mark.parametrize("name", NAMES)
def test_the_global_generator_is_left_alone(name: str, degraded: Clip) -> None:
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    METRICS[name].score(degraded)
    assert np.array_equal(np.random.get_state()[1], before[0])
    assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("missing", "name"),
    [("pystoi", "stoi"), ("pesq", "composite"), ("onnxruntime", "dnsmos_p808"), ("speechmos", "pdnsmos")],
)
def test_a_missing_package_is_named(missing: str, name: str, degraded: Clip, monkeypatch) -> None:
    load_session.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"^{missing} is not installed: pip install gense\[metrics\]$"):
        METRICS[name].score(degraded)
