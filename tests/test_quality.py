"""The bundled model makes speech better: the shipped clip always, real recordings where there are any."""

from __future__ import annotations

import statistics

import numpy as np
import pytest

import gense
from gense.data import Pairs
from gense.metrics import evaluate_pair
from gense.sweeps.cost import counted

METRICS = ("pesq", "estoi", "si_sdr")


@pytest.fixture(scope="module")
def enhancer():
    return gense.load("flowse", device="cpu")


def test_the_shipped_clip_gets_better(enhancer, clip) -> None:
    out = gense.enhance(clip.noisy, enhancer, sample_rate=clip.sample_rate)
    before, after = (evaluate_pair(wav, clip.clean, clip.sample_rate, METRICS) for wav in (clip.noisy, out))
    assert after["pesq"] > before["pesq"] + 0.6
    assert after["estoi"] > before["estoi"] + 0.1
    assert after["si_sdr"] > before["si_sdr"] + 2.0


def test_the_default_takes_one_call(enhancer, clip) -> None:
    with counted(enhancer) as counter:
        gense.enhance(clip.noisy[: 5 * clip.sample_rate], enhancer, sample_rate=clip.sample_rate)
    assert counter.calls == 1


def test_real_speech_gets_better(enhancer, data_dir) -> None:
    gains: dict[str, list[float]] = {name: [] for name in METRICS}
    for clean, noisy in Pairs(str(data_dir / "val_pairs"), enhancer.sample_rate, limit=8):
        out = gense.enhance(noisy, enhancer)
        before, after = (evaluate_pair(wav, clean, enhancer.sample_rate, METRICS) for wav in (noisy, out))
        for name in METRICS:
            gains[name].append(after[name] - before[name])
    means = {name: statistics.fmean(values) for name, values in gains.items()}
    assert means["pesq"] > 0.55
    assert means["estoi"] > 0.1
    assert means["si_sdr"] > 4.0


@pytest.mark.slow
def test_all_pairs_pass_what_a_default_must(enhancer, data_dir) -> None:
    bar = {"pesq": 1.95, "estoi": 0.73, "si_sdr": 9.0, "dnsmos_ovrl": 2.9}
    scores: dict[str, list[float]] = {name: [] for name in bar}
    for clean, noisy in Pairs(str(data_dir / "val_pairs"), enhancer.sample_rate):
        found = evaluate_pair(gense.enhance(noisy, enhancer), clean, enhancer.sample_rate, (*METRICS, "dnsmos"))
        for name in bar:
            scores[name].append(found[name])
    assert all(statistics.fmean(scores[name]) >= least for name, least in bar.items())


def test_clean_speech_stays_what_it_is(enhancer, clip) -> None:
    out = gense.enhance(clip.clean, enhancer, sample_rate=clip.sample_rate)
    scores = evaluate_pair(out, clip.clean, clip.sample_rate, METRICS)
    assert scores["estoi"] > 0.95
    assert scores["si_sdr"] > 15


def test_noise_alone_is_suppressed(enhancer, clip) -> None:
    noise = clip.noisy - clip.clean
    out = gense.enhance(np.ascontiguousarray(noise), enhancer, sample_rate=clip.sample_rate)
    assert np.square(out).mean() < 0.5 * np.square(noise).mean()
