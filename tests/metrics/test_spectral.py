"""Measures on spectra of short frames: log-spectral distance and the composite measures with their parts."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gense.metrics import Composite, UndefinedScore, composite, lsd, pesq, stoi
from gense.metrics.llr import log_likelihood_ratio
from gense.metrics.segsnr import segmental_snr, windowed
from gense.metrics.wss import weighted_spectral_slope


def noise(samples: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples)


def test_lsd_of_a_gain_is_the_gain() -> None:
    # White noise has nearly no bin 40 dB under its strongest one, so the floor does not matter.
    ref = noise(32000)
    assert lsd(2.0 * ref, ref, 16000) == pytest.approx(20 * np.log10(2.0), abs=0.01)
    assert lsd(ref, ref, 16000) == 0.0
    assert lsd(0.5 * ref, 0.1 * ref, 48000) == pytest.approx(lsd(5.0 * ref, ref, 48000), abs=1e-9)


def test_lsd_stops_at_the_floor() -> None:
    # A tone fills at most 5 of 257 bins; an estimate at -200 dB differs by no more than 50 dB in those.
    tone = np.sin(2 * np.pi * 1000.0 * np.arange(16000) / 16000)
    assert 0.0 < lsd(1e-10 * tone, tone, 16000) < 50.0 * np.sqrt(5 / 257)


def test_lsd_grows_with_the_noise_and_needs_a_window(clip) -> None:
    scores = [lsd(clip.clean + gain * (clip.noisy - clip.clean), clip.clean, 16000) for gain in (0.1, 0.5, 1.0)]
    assert scores == sorted(scores)
    with pytest.raises(UndefinedScore, match="511 samples: too short, one frame has 512"):
        lsd(np.ones(511), np.ones(511), 16000)
    with pytest.raises(UndefinedScore, match="ref is silent in every whole frame"):
        lsd(noise(600), np.r_[np.zeros(599), 1.0], 16000)
    with pytest.raises(ValueError, match="sample_rate=0"):
        lsd(noise(600), noise(600), 0)


def test_llr_of_known_predictors() -> None:
    # x[n] = 0.9 x[n-1] + e: its best filter leaves the variance of e, no filter that of x, which is 1 / (1 - 0.81)
    # times as much.
    white = noise(160000)
    coloured = np.zeros_like(white)
    for index in range(1, white.size):
        coloured[index] = 0.9 * coloured[index - 1] + white[index]
    expected = -np.log(1 - 0.81)
    # Estimated filters of 480 samples and the 5 % of frames that are left out lower it by a few per cent.
    assert log_likelihood_ratio(white, 0.1 * coloured, 16000) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("distance", [log_likelihood_ratio, weighted_spectral_slope])
def test_distances_of_shape_ignore_gain(distance, clip) -> None:
    assert distance(clip.clean, clip.clean, 16000) == 0.0
    assert distance(0.5 * clip.noisy, clip.noisy, 16000) == pytest.approx(0.0, abs=1e-3)
    scores = [distance(clip.clean + gain * (clip.noisy - clip.clean), clip.clean, 16000) for gain in (0.03, 0.2, 1.0)]
    assert scores == sorted(scores)


def test_digital_silence_is_a_flat_spectrum() -> None:
    # Half of the frames of the estimate are silent: the distance there is that of the reference from white noise.
    tone = np.sin(2 * np.pi * 0.05 * np.arange(16000)) + noise(16000)
    silent = np.where(np.arange(16000) < 8000, 0.0, tone)
    score = log_likelihood_ratio(silent, tone, 16000)
    assert 0.2 < score < 5.0
    assert np.isfinite(weighted_spectral_slope(silent, tone, 16000))


def test_segmental_snr_by_hand() -> None:
    ref = noise(16000)
    assert segmental_snr(ref * 1.1, ref, 16000) == pytest.approx(20.0, abs=1e-6)
    assert segmental_snr(ref, ref, 16000) == 35.0
    assert segmental_snr(-9.0 * ref, ref, 16000) == -10.0
    # 32 frames of which the last is not used; every second half carries the error.
    assert len(windowed(noise(480 + 31 * 120))) == 31
    with pytest.raises(UndefinedScore, match=r"too short, needs 0\.0375 s"):
        segmental_snr(noise(599), noise(599), 16000)


def test_composite_is_the_published_sum(clip) -> None:
    pair = (clip.noisy[:73600], clip.clean[:73600], 16000)
    scores, quality = composite(*pair), pesq(*pair)
    likelihood, slope = log_likelihood_ratio(*pair), weighted_spectral_slope(*pair)
    assert scores.csig == pytest.approx(3.093 - 1.029 * likelihood + 0.603 * quality - 0.009 * slope)
    assert scores.cbak == pytest.approx(1.634 + 0.478 * quality - 0.007 * slope + 0.063 * segmental_snr(*pair))
    assert scores.covl == pytest.approx(1.594 + 0.805 * quality - 0.512 * likelihood - 0.007 * slope)


def test_composite_stays_in_its_range(clip) -> None:
    clean = clip.clean[:73600]
    assert composite(clean, clean, 16000) == Composite(5.0, 5.0, 5.0)
    assert composite(clean + noise(73600), clean, 16000) == Composite(1.0, pytest.approx(1.2, abs=0.2), 1.0)
    better = composite(clean + 0.01 * noise(73600), clean, 16000)
    worse = composite(clean + 0.1 * noise(73600), clean, 16000)
    assert worse.csig < better.csig
    assert worse.cbak < better.cbak
    assert worse.covl < better.covl


def test_parts_agree_with_another_implementation(data_dir) -> None:
    # LLR, WSS and segSNR of these files by pysepm-evo 0.1.1, a translation of the code that Loizou published.
    expected = {
        "01": (1.2461843880, 56.4728131594, 2.6322102119),
        "05": (1.0366522554, 89.2066574096, -5.1458642197),
    }
    for name, values in expected.items():
        pair = [soundfile.read(data_dir / "val_pairs" / kind / f"{name}.flac")[0] for kind in ("noisy", "clean")]
        parts = (log_likelihood_ratio, weighted_spectral_slope, segmental_snr)
        assert [part(*pair, 16000) for part in parts] == pytest.approx(values, rel=1e-6)


def test_stoi_and_narrow_band_pesq_have_their_ends(clip) -> None:
    assert stoi(clip.clean, clip.clean, 16000) == pytest.approx(1.0, abs=1e-6)
    with pytest.raises(UndefinedScore, match=r"^STOI of 0\.20 s: needs 0\.4 s of speech"):
        stoi(clip.noisy[16000:19200], clip.clean[16000:19200], 16000)
