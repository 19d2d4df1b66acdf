"""Metrics: values known in advance, invariances, and what they refuse."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch

from gense.metrics import UndefinedScore, dnsmos, estoi, evaluate_pair, pesq, si_sdr
from gense.metrics.dnsmos import load_session, windows
from tests.conftest import Clip


@pytest.fixture(scope="module")
def short(clip: Clip) -> Clip:
    """The first 4.6 s, which DNSMOS scores in one window: the network takes a third of a second for each."""
    return Clip(noisy=clip.noisy[:73600], clean=clip.clean[:73600], sample_rate=clip.sample_rate)


WITH_REFERENCE = [
    pytest.param(lambda est, ref: si_sdr(est, ref), id="si_sdr"),
    pytest.param(lambda est, ref: pesq(est, ref, 16000), id="pesq"),
    pytest.param(lambda est, ref: estoi(est, ref, 16000), id="estoi"),
]


def test_si_sdr_by_hand():
    # The projection of (1, 1, 0) on (2, 0, 0) is (1, 0, 0), the rest (0, 1, 0): equal powers, 0 dB.
    assert si_sdr(np.array([1.0, 1.0, 0.0]), np.array([2.0, 0.0, 0.0])) == pytest.approx(0.0, abs=1e-12)
    # Orthogonal error of a tenth of the amplitude: 20 dB.
    assert si_sdr(np.array([1.0, 0.1]), np.array([1.0, 0.0])) == pytest.approx(20.0, abs=1e-9)


def test_si_sdr_ignores_gain_and_reaches_its_ends():
    generator = np.random.default_rng(0)
    ref, noise = generator.standard_normal((2, 4000))
    score = si_sdr(ref + 0.3 * noise, ref)
    assert si_sdr(-7.0 * (ref + 0.3 * noise), 0.01 * ref) == pytest.approx(score, abs=1e-9)
    assert si_sdr(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == -math.inf
    assert si_sdr(np.array([2.0, 4.0]), np.array([1.0, 2.0])) == math.inf


def test_identical_signals_get_the_best_scores(clip: Clip):
    assert pesq(clip.clean, clip.clean, 16000) == pytest.approx(4.644, abs=2e-3)  # ceiling of P.862.2
    assert pesq(clip.clean, clip.clean, 16000, band="nb") == pytest.approx(4.549, abs=2e-3)  # ceiling of P.862.1
    assert estoi(clip.clean, clip.clean, 16000) == pytest.approx(1.0, abs=1e-6)


def test_less_noise_scores_higher(clip: Clip):
    half = 0.5 * (clip.noisy + clip.clean)
    for metric in (lambda est: pesq(est, clip.clean, 16000), lambda est: estoi(est, clip.clean, 16000)):
        assert metric(clip.noisy) < metric(half) < metric(clip.clean)
    noisy, clean = dnsmos(clip.noisy, 16000), dnsmos(clip.clean, 16000)
    assert noisy.ovrl + 0.5 < clean.ovrl
    assert noisy.bak + 1.0 < clean.bak
    assert noisy.sig < clean.sig


def test_scores_do_not_depend_on_the_container(short: Clip):
    arrays = evaluate_pair(short.noisy, short.clean, 16000)
    tensors = evaluate_pair(torch.tensor(short.noisy), torch.tensor(short.clean, requires_grad=True), 16000)
    assert tensors == arrays


def test_other_rates_are_resampled(short: Clip):
    noisy, clean = (soxr.resample(signal, 16000, 48000, "VHQ") for signal in (short.noisy, short.clean))
    assert pesq(noisy, clean, 48000) == pytest.approx(pesq(short.noisy, short.clean, 16000), abs=0.01)
    assert estoi(noisy, clean, 48000) == pytest.approx(estoi(short.noisy, short.clean, 16000), abs=1e-3)
    assert dnsmos(noisy, 48000).ovrl == pytest.approx(dnsmos(short.noisy, 16000).ovrl, abs=0.1)


def test_estoi_leaves_the_global_generator_alone(clip: Clip):
    before = np.random.get_state()[1].copy()
    estoi(clip.noisy, clip.clean, 16000)
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize(
    ("seconds", "count"),
    # Doubled up to 9.01 s or more, then one window a second: 3 -> 12, 4.6 -> 9.2, 8 -> 16, 9.5 s as it is.
    [(3.0, 3), (4.6, 1), (8.0, 7), (9.5, 1), (12.0, 3)],
)
def test_dnsmos_windows(seconds: float, count: int):
    signal = np.arange(round(seconds * 16000), dtype=np.float32)
    pieces = windows(signal)
    assert [piece.size for piece in pieces] == [144160] * count
    assert [piece[0] for piece in pieces] == [signal[k * 16000 % signal.size] for k in range(count)]


def test_dnsmos_scores_on_the_published_scale(clip: Clip):
    # Exactly one window, so the score is one run of the network through the published quadratics, written out here.
    window = np.tile(clip.noisy, 2)[:144160]
    sig, bak, ovrl = load_session().run(None, {"input_1": window[None]})[0][0].astype(float)
    scores = dnsmos(window, 16000)
    assert scores.sig == pytest.approx(0.0052439 + 1.22083953 * sig - 0.08397278 * sig**2, abs=1e-9)
    assert scores.bak == pytest.approx(-0.39604546 + 1.60915514 * bak - 0.13166888 * bak**2, abs=1e-9)
    assert scores.ovrl == pytest.approx(0.04602535 + 1.11546468 * ovrl - 0.06766283 * ovrl**2, abs=1e-9)


@pytest.mark.parametrize("metric", WITH_REFERENCE)
def test_pairs_that_cannot_be_compared(metric, clip: Clip):
    with pytest.raises(ValueError, match=r"est has 143999 samples and ref 144000"):
        metric(clip.noisy[:-1], clip.clean)
    with pytest.raises(ValueError, match=r"ref has shape \(2, 72000\): expected one channel"):
        metric(clip.noisy, clip.clean.reshape(2, -1))
    with pytest.raises(ValueError, match="est has 1 samples that are NaN or infinite"):
        metric(np.where(np.arange(144000) == 5, np.nan, clip.noisy), clip.clean)
    with pytest.raises(UndefinedScore, match="est is silent"):
        metric(np.zeros_like(clip.noisy), clip.clean)
    with pytest.raises(TypeError, match="ref has dtype int16"):
        metric(clip.noisy, (clip.clean * 32767).astype(np.int16))
    with pytest.raises(TypeError, match="est has dtype int16"):
        metric(torch.tensor(clip.noisy * 32767).to(torch.int16), clip.clean)


def test_what_dnsmos_and_pesq_refuse(clip: Clip):
    with pytest.raises(ValueError, match=r"peak of \d+: expected full scale 1.0"):
        dnsmos(clip.noisy * 32768, 16000)
    with pytest.raises(ValueError, match="sample_rate=0"):
        dnsmos(clip.noisy, 0)
    with pytest.raises(ValueError, match="band='fb'"):
        pesq(clip.noisy, clip.clean, 16000, band="fb")
    with pytest.raises(UndefinedScore, match=r"0\.10 s"):
        pesq(clip.noisy[16000:17600], clip.clean[16000:17600], 16000)
    with pytest.raises(UndefinedScore, match="at most 40 s"):
        pesq(np.tile(clip.noisy, 5), np.tile(clip.clean, 5), 16000)
    with pytest.raises(UndefinedScore, match=r"needs 0\.4 s of speech"):
        estoi(clip.noisy[16000:19200], clip.clean[16000:19200], 16000)


@pytest.mark.parametrize(
    ("missing", "metric"),
    [
        ("pesq", lambda x: pesq(x, x, 16000)),
        ("pystoi", lambda x: estoi(x, x, 16000)),
        ("onnxruntime", lambda x: dnsmos(x, 16000)),
        ("speechmos", lambda x: dnsmos(x, 16000)),
    ],
)
def test_a_missing_package_is_named(missing, metric, clip: Clip, monkeypatch):
    load_session.cache_clear()
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf"^{missing} is not installed: pip install gense\[metrics\]$"):
        metric(clip.clean)


def test_report_holds_every_score(short: Clip):
    scores = evaluate_pair(short.noisy, short.clean, 16000)
    assert list(scores) == ["pesq", "estoi", "si_sdr", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
    assert scores["si_sdr"] == si_sdr(short.noisy, short.clean)
    assert scores["dnsmos_bak"] == dnsmos(short.noisy, 16000).bak
    assert list(evaluate_pair(short.noisy, short.clean, 16000, ("si_sdr", "estoi"))) == ["si_sdr", "estoi"]
    assert list(evaluate_pair(short.noisy, None, 16000)) == ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]


def test_report_survives_silence_but_not_mistakes(clip: Clip):
    scores = evaluate_pair(np.zeros_like(clip.noisy), clip.clean, 16000)
    assert len(scores) == 6
    assert all(math.isnan(score) for score in scores.values())
    with pytest.raises(ValueError, match="align the signals"):
        evaluate_pair(clip.noisy[1:], clip.clean, 16000)
    with pytest.raises(ValueError, match="loudness unknown"):
        evaluate_pair(clip.noisy, clip.clean, 16000, ("loudness",))
    with pytest.raises(ValueError, match="nothing to compute"):
        evaluate_pair(clip.noisy, None, 16000, ("pesq",))


def test_shipped_clip_is_moderately_noisy(clip: Clip):
    scores = evaluate_pair(clip.noisy, clip.clean, 16000, ("pesq", "si_sdr"))
    assert clip.noisy.size == 144000
    assert 1.1 < scores["pesq"] < 1.5
    assert 3.0 < scores["si_sdr"] < 6.0


def test_dnsmos_agrees_with_its_package(data_dir: Path):
    # What speechmos' own `dnsmos.run` gives for this file; 1e-3 leaves room for other builds of onnxruntime.
    noisy, rate = soundfile.read(data_dir / "val_pairs" / "noisy" / "05.flac")
    scores = dnsmos(noisy, rate)
    assert (scores.ovrl, scores.sig, scores.bak) == pytest.approx((1.12151, 1.24373, 1.15289), abs=1e-3)
