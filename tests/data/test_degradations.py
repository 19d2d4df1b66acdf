"""Each degradation does to the signal what it says, measured."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gense.data import (
    AddNoise,
    BandLimit,
    Clip,
    Codec,
    Equalise,
    Gain,
    InterferingTalker,
    PacketLoss,
    Reverb,
    Wind,
)
from gense.data.degradations.band import butterworth
from gense.data.degradations.packets import lost_packets, without_packets
from gense.data.degradations.wind import wind_noise
from gense.data.degrade import Degradation, active_level, degrade, rms, smooth_curve

RATE = 16000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def applied(degradation: Degradation, clean: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    degradation.prepare(RATE)
    return degradation(clean, clean, rng(seed))


def decibels(part: float, whole: float) -> float:
    return 20 * float(np.log10(part / whole))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory, clip):
    root = tmp_path_factory.mktemp("sounds")
    soundfile.write(root / "voice.wav", clip.clean[3 * RATE : 6 * RATE], RATE)
    h = np.zeros(6000)
    h[40], h[40 + 400], h[40 + 3000] = 0.5, 0.3, 0.2  # 25 ms and 187.5 ms after the direct path
    (root / "rir").mkdir()
    soundfile.write(root / "rir/r.wav", h, RATE, subtype="FLOAT")
    return root


@pytest.fixture(scope="module")
def speech(clip) -> np.ndarray:
    return clip.clean[RATE : 3 * RATE]


def everything(sounds) -> list[Degradation]:
    folder = [str(sounds / "voice.wav")]
    return [
        AddNoise(folder), BandLimit(low_share=0.5), Clip(), Codec({"mp3": [24], "ulaw": []}), Equalise(),
        Gain(drift_db=2.0), InterferingTalker(folder), PacketLoss(loss=(0.3, 0.3)),
        Reverb([str(sounds / "rir")], target="early"), Wind(),
    ]  # fmt: skip


def test_all_keep_length_type_and_what_they_are_given(sounds, speech) -> None:
    for degradation in everything(sounds):
        degradation.prepare(RATE)
        for length in (len(speech), 1601):
            given = speech[:length].copy()
            clean, noisy = degradation(given, given, rng(1))
            again = degradation(given, given, rng(1))
            assert clean.shape == noisy.shape == (length,), degradation
            assert clean.dtype == noisy.dtype == np.float32, degradation
            assert np.isfinite(noisy).all(), degradation
            assert np.array_equal(given, speech[:length]), degradation
            assert np.array_equal(noisy, again[1]), degradation
            assert length < len(speech) or not np.array_equal(noisy, clean), degradation


def test_all_leave_silence_finite(sounds) -> None:
    silence = np.zeros(RATE, np.float32)
    for degradation in everything(sounds):
        clean, noisy = applied(degradation, silence)
        assert np.isfinite(clean).all(), degradation
        assert np.isfinite(noisy).all(), degradation


def test_each_is_applied_with_its_own_probability(speech) -> None:
    loud, soft = Gain(db=(20.0, 20.0), probability=0.25), Gain(db=(-40.0, -40.0), probability=0.6)
    given = speech[:1600]
    generator = rng()
    seen = [round(decibels(rms(degrade(given, given, [loud, soft], generator)[1]), rms(given))) for _ in range(800)]
    shares = {level: seen.count(level) / len(seen) for level in (0, 20, -40, -20)}
    assert sum(shares.values()) == 1.0
    for level, share in {0: 0.75 * 0.4, 20: 0.25 * 0.4, -40: 0.75 * 0.6, -20: 0.25 * 0.6}.items():
        assert shares[level] == pytest.approx(share, abs=0.05)  # three standard errors


@pytest.mark.parametrize("order", [2.0, 6.0])
def test_a_band_limit_takes_away_what_its_formula_says_and_delays_nothing(order) -> None:
    noise = rng().standard_normal(8 * RATE).astype(np.float32)
    limit = BandLimit(high=(3000.0, 3000.0), low=(300.0, 300.0), low_share=1.0, order=(order, order))
    _, limited = applied(limit, noise)
    before, after = (np.abs(np.fft.rfft(wav)) ** 2 for wav in (noise, limited))
    frequencies = np.fft.rfftfreq(len(noise), 1 / RATE)
    for frequency, expected in {
        150: -10 * np.log10(1 + 2 ** (2 * order)), 300: -3.01, 1000: 0.0, 3000: -3.01,
        6000: -10 * np.log10(1 + 2 ** (2 * order)),
    }.items():  # fmt: skip
        near = np.abs(frequencies - frequency) < 0.01 * frequency
        assert 10 * np.log10(after[near].sum() / before[near].sum()) == pytest.approx(expected, abs=0.6)
    # A filter without delay is symmetric: the correlation peaks at lag 0
    lags = np.correlate(limited[1000:9000], noise[900:9100], "valid")
    assert int(np.argmax(lags)) - 100 == 0


def test_a_steep_band_limit_is_a_cliff() -> None:
    assert butterworth(np.array(2900.0), 3000.0, 40.0) > 0.95
    assert butterworth(np.array(3600.0), 3000.0, 40.0) < 1e-3
    assert butterworth(np.array(8000.0), 1.0, 1e4) == pytest.approx(0.0, abs=1e-100)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_clipping_cuts_the_share_it_is_asked_for(speech, share) -> None:
    _, cut = applied(Clip(share=(share, share), soft_share=0.0), speech)
    ceiling = np.abs(cut).max()
    assert np.mean(np.abs(speech) > ceiling) == pytest.approx(share, rel=0.05)
    below = np.abs(speech) < ceiling
    assert np.array_equal(cut[below], speech[below])


def test_soft_clipping_stays_below_the_ceiling_and_keeps_the_order(speech) -> None:
    _, soft = applied(Clip(share=(0.05, 0.05), soft_share=1.0), speech)
    ceiling = np.quantile(np.abs(speech), 0.95)
    assert np.abs(soft).max() <= ceiling
    order = np.argsort(speech)
    assert (np.diff(soft[order]) >= 0).all()
    quiet = np.abs(speech) < 0.01 * ceiling
    np.testing.assert_allclose(soft[quiet], speech[quiet], rtol=1e-3)
    _, fixed = applied(Clip(ceiling=0.02, soft_share=0.0), speech)
    assert np.abs(fixed).max() == pytest.approx(0.02)


def test_a_gain_changes_both_sides_and_drifts_in_the_input_alone(speech) -> None:
    clean, noisy = applied(Gain(db=(-6.0, -6.0)), speech)
    assert decibels(rms(clean), rms(speech)) == pytest.approx(-6.0, abs=1e-4)
    assert np.array_equal(clean, noisy)
    ones = np.ones(60 * RATE, np.float32)
    clean, noisy = applied(Gain(db=(0.0, 0.0), drift_db=3.0, drift_seconds=0.5), ones)
    assert np.array_equal(clean, ones)
    # Between two values of unit variance a raised cosine has 3/4 of it on average, in square
    assert np.std(20 * np.log10(noisy)) == pytest.approx(3.0 * 0.75**0.5, rel=0.15)


def test_a_smooth_curve_moves_only_as_fast_as_its_spacing() -> None:
    curve = smooth_curve(100_000, 1000, rng())
    assert abs(curve.mean()) < 0.3
    assert np.abs(np.diff(curve)).max() < 6 * np.pi / 2 / 1000


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1.0), (0.1, 2.0), (0.25, 3.0)])
def test_packets_are_lost_in_the_share_and_in_the_bursts_asked_for(loss, burst) -> None:
    lost = lost_packets(200_000, loss, burst, rng())
    starts = np.count_nonzero(np.diff(lost.astype(int)) == 1)
    assert lost.mean() == pytest.approx(loss, rel=0.05)
    assert lost.sum() / starts == pytest.approx(burst, rel=0.03)


def test_a_lost_packet_is_silent_or_repeats_what_came_and_fades() -> None:
    tone = np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE).astype(np.float32)  # 20 ms hold whole periods of it
    lost = np.zeros(50, bool)
    lost[[10, 11]] = True
    silent = without_packets(tone, lost, 320, RATE, None)
    hidden = without_packets(tone, lost, 320, RATE, 3.0)
    assert not silent[3200:3840].any()
    for part, level in ((slice(3200, 3520), -3.0), (slice(3520, 3840), -6.0)):
        assert decibels(rms(hidden[part]), rms(tone[:320])) == pytest.approx(level, abs=1e-3)
    for out in (silent, hidden):
        # Outside the loss and 2 ms around it nothing changes, and nowhere is a click
        assert np.array_equal(out[: 3200 - 32], tone[: 3200 - 32])
        assert np.array_equal(out[3840 + 32 :], tone[3840 + 32 :])
        assert np.abs(np.diff(out)).max() <= 1.2 * np.abs(np.diff(tone)).max()


def test_without_losses_and_before_the_first_packet() -> None:
    tone = np.sin(np.arange(1000) / 5).astype(np.float32)
    assert np.array_equal(without_packets(tone, np.zeros(10, bool), 100, RATE, 3.0), tone)
    first = np.zeros(10, bool)
    first[0] = True
    assert not without_packets(tone, first, 100, RATE, 3.0)[:100].any()  # there is nothing to repeat


def test_another_talker_comes_at_the_ratio_asked_for_and_for_a_part(sounds, speech) -> None:
    folder = [str(sounds / "voice.wav")]
    _, both = applied(InterferingTalker(folder, sir=(6.0, 6.0), overlap=(1.0, 1.0)), speech)
    ratio = decibels(active_level(speech, RATE), active_level(both - speech, RATE))
    assert ratio == pytest.approx(6.0, abs=0.01)
    _, part = applied(InterferingTalker(folder, overlap=(0.25, 0.25)), speech)
    changed = np.flatnonzero(part != speech)
    assert changed[-1] - changed[0] < len(speech) // 4
    assert len(changed) > len(speech) // 10


def test_wind_comes_at_the_ratio_asked_for(speech) -> None:
    _, windy = applied(Wind(snr=(0.0, 0.0)), speech)
    assert decibels(active_level(speech, RATE), rms(windy - speech)) == pytest.approx(0.0, abs=1e-3)


def test_the_spectrum_of_wind_falls_with_the_power_7_over_3_and_its_level_grows_with_the_square_of_speed() -> None:
    levels = {}
    for speed in (4.0, 8.0):
        wind = wind_noise(np.full(30 * RATE, speed), RATE, rng())
        power, frequencies = np.abs(np.fft.rfft(wind)) ** 2, np.fft.rfftfreq(len(wind), 1 / RATE)
        high, low = (power[np.abs(frequencies - f) < 0.05 * f].mean() for f in (4000, 1000))
        assert 10 * np.log10(high / low) == pytest.approx(-20 * 7 / 3 * np.log10(2), abs=0.7)
        levels[speed] = rms(wind)
        assert np.sum(power[frequencies < 200]) > 0.7 * np.sum(power)
    # 40 log10 of the speed, less what lies below the 10 Hz that a microphone hears
    assert decibels(levels[8.0], levels[4.0]) == pytest.approx(12.0, abs=1.0)


def test_gusts_are_louder() -> None:
    speed = np.repeat([3.0, 12.0], 4 * RATE)
    wind = wind_noise(speed, RATE, rng())
    assert decibels(rms(wind[5 * RATE :]), rms(wind[: 3 * RATE])) > 20


def test_the_early_target_has_the_first_reflections_and_no_others(sounds) -> None:
    impulse = np.zeros(8000, np.float32)
    impulse[100] = 0.5
    target, wet = applied(Reverb([str(sounds / "rir")], target="early", early_ms=50.0), impulse)
    for signal, late in ((target, 0.0), (wet, 0.2)):
        assert signal[100] == pytest.approx(0.5, abs=1e-3)
        assert signal[500] == pytest.approx(0.3, abs=1e-3)
        assert signal[3100] == pytest.approx(late, abs=1e-3)
    dry, _ = applied(Reverb([str(sounds / "rir")]), impulse)
    assert np.array_equal(dry, impulse)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Gain(probability=1.5), "probability=1.5: expected 0 to 1"),
        (lambda: Gain(db=(3.0, -3.0)), r"db=\(3.0, -3.0\): need \(low, high\)"),
        (lambda: Gain(drift_seconds=0.0), "drift_seconds=0.0"),
        (lambda: Clip(share=(0.5, 2.0)), r"share=\(0.5, 2.0\): need \(low, high\), within 1e-06 and 1"),
        (lambda: Clip(ceiling=0.0), "ceiling=0.0: expected a value above 0"),
        (lambda: BandLimit(high=(0.0, 10.0)), r"high=\(0.0, 10.0\)"),
        (lambda: PacketLoss(loss=(0.0, 1.0)), r"loss=\(0.0, 1.0\)"),
        (lambda: PacketLoss(packet_ms=()), r"packet_ms=\(\): need lengths"),
        (lambda: Reverb([], target="wet"), "target='wet': expected dry or early"),
        (lambda: InterferingTalker([], overlap=(0.0, 2.0)), r"overlap=\(0.0, 2.0\)"),
        (lambda: Wind(speed=(0.0, 1.0)), r"speed=\(0.0, 1.0\)"),
    ],
)
def test_impossible_settings_are_refused(build, message) -> None:
    with pytest.raises(ValueError, match=message):
        build()
