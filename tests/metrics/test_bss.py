"""SI-SIR and SI-SAR: values known in advance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gense.metrics import UndefinedScore, si_sar, si_sdr, si_sir

SPEECH = np.array([1.0, 0.0, 0.0])


def test_the_three_parts_by_hand() -> None:
    # Noise (0, 2, 0): the estimate is 1 of speech, 0.1 along the noise and 0.01 along neither.
    noisy, est = np.array([1.0, 2.0, 0.0]), np.array([1.0, 0.1, 0.01])
    assert si_sir(est, SPEECH, noisy) == pytest.approx(20.0, abs=1e-9)
    assert si_sar(est, SPEECH, noisy) == pytest.approx(40.0, abs=1e-9)


def test_noise_that_resembles_the_speech_is_split() -> None:
    # Noise (5, 2, 0): only what is orthogonal to the speech interferes, so nothing changes.
    noisy, est = np.array([6.0, 2.0, 0.0]), np.array([1.0, 0.1, 0.01])
    assert si_sir(est, SPEECH, noisy) == pytest.approx(20.0, abs=1e-9)
    assert si_sar(est, SPEECH, noisy) == pytest.approx(40.0, abs=1e-9)


def test_the_parts_add_up_to_the_distortion() -> None:
    clean, noise, artefact = np.random.default_rng(1).standard_normal((3, 5000))
    noise += 0.4 * clean
    est, noisy = 0.7 * clean + 0.2 * noise + 0.1 * artefact, clean + noise
    share = sum(10 ** (-score(est, clean, noisy) / 10) for score in (si_sir, si_sar))
    assert -10 * math.log10(share) == pytest.approx(si_sdr(est, clean), abs=1e-9)


def test_gains_change_nothing() -> None:
    clean, noise, artefact = np.random.default_rng(2).standard_normal((3, 5000))
    est, noisy = clean + 0.2 * noise + 0.1 * artefact, clean + noise
    for score in (si_sir, si_sar):
        assert score(-5.0 * est, 1e-3 * clean, 1e-3 * noisy) == pytest.approx(score(est, clean, noisy), abs=1e-9)


def test_mixtures_have_no_artefacts_and_clean_speech_no_noise(clip) -> None:
    assert si_sar(clip.noisy, clip.clean, clip.noisy) == math.inf
    assert si_sir(clip.noisy, clip.clean, clip.noisy) == pytest.approx(si_sdr(clip.noisy, clip.clean), abs=1e-9)
    half = 0.3 * clip.noisy.astype(float) + 0.7 * clip.clean.astype(float)
    assert si_sar(half, clip.clean, clip.noisy) == math.inf
    assert si_sir(clip.clean, clip.clean, clip.noisy) == math.inf
    assert si_sar(clip.clean, clip.clean, clip.noisy) == math.inf
    assert si_sir(np.array([0.0, 1.0, 1.0]), SPEECH, np.array([1.0, 2.0, 0.0])) == -math.inf


def test_without_noise_nothing_can_be_told() -> None:
    for score in (si_sir, si_sar):
        with pytest.raises(UndefinedScore, match="multiple of clean"):
            score(np.array([1.0, 1.0, 0.0]), SPEECH, 3.0 * SPEECH)
        with pytest.raises(ValueError, match="align the signals"):
            score(SPEECH, SPEECH, np.ones(4))
