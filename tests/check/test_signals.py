"""The checks without models: faults planted into a real recording are found where they are, and nothing else is."""

from __future__ import annotations

import numpy as np
import pytest
import soxr
import torch

import gense
from gense.check import Checks, Flag, check
from gense.check.frames import frames_of
from gense.check.signals import added, lost, silence
from tests.conftest import Clip

RATE = 16000


@pytest.fixture(scope="module")
def loud(clip: Clip) -> int:
    """First sample of the loudest 0.6 s of speech."""
    power = np.convolve(clip.clean.astype(np.float64) ** 2, np.ones(9600), "valid")
    return int(power.argmax())


def rms(wav: np.ndarray) -> float:
    return float(np.sqrt(np.mean(wav.astype(np.float64) ** 2)))


def reworded(clip: Clip, loud: int) -> np.ndarray:
    """The clean speech with another word of the same speaker, 3 s away, in the loudest place and at its level."""
    out, first = clip.clean.copy(), (loud + 48000) % (len(clip.clean) - 9600)
    other = clip.clean[first : first + 9600]
    out[loud : loud + 9600] = other * (rms(out[loud : loud + 9600]) / rms(other))
    return out


def kinds(flags: list[Flag], start: float, end: float) -> set[str]:
    """What was flagged in seconds start to end; everything flagged must lie there, give or take a window."""
    for flag in flags:
        assert start - 0.35 < flag.start < flag.end < end + 0.35, str(flag)
    return {flag.kind for flag in flags if min(flag.end, end) - max(flag.start, start) > 0.05}


@pytest.mark.parametrize("gain", [1.0, 0.1, 4.0])
def test_the_clean_speech_raises_no_flag(clip: Clip, gain: float) -> None:
    assert check(gain * clip.clean, clip.noisy, RATE) == []


def test_the_input_itself_raises_no_flag(clip: Clip) -> None:
    assert check(clip.noisy, clip.noisy, RATE) == []


def test_a_bundled_method_raises_no_flag(clip: Clip) -> None:
    out = gense.enhance(clip.noisy, "flowse", check=True)
    assert isinstance(out.audio, np.ndarray)
    assert out.flags == []
    assert out.samples is None
    assert out.spread is None


def test_speech_where_the_input_is_silent(clip: Clip, loud: int) -> None:
    """A pause of 2 s with faint hiss is put behind the recording; the output says something in it."""
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(2 * RATE)
    noisy, out = np.concatenate([clip.noisy, hiss]), np.concatenate([clip.clean, 0 * hiss])
    assert check(out, noisy, RATE) == []
    first = len(clip.noisy) + 8000
    out[first : first + 9600] += 0.5 * clip.clean[loud : loud + 9600]
    found = check(out, noisy, RATE)
    assert kinds(found, first / RATE, first / RATE + 0.6) == {"silence"}
    assert max(flag.value for flag in found) > 20


def test_a_burst_of_noise(clip: Clip, loud: int) -> None:
    out, first = clip.clean.copy(), loud - 1600
    level = 3 * rms(clip.clean[loud : loud + 9600])
    out[first : first + 3200] += level * np.random.default_rng(1).standard_normal(3200)
    assert kinds(check(out, clip.noisy, RATE), first / RATE, first / RATE + 0.2) & {"silence", "added"}


def test_another_word(clip: Clip, loud: int) -> None:
    assert "added" in kinds(check(reworded(clip, loud), clip.noisy, RATE), loud / RATE, loud / RATE + 0.6)


@pytest.mark.parametrize("ratio", [0.75, 1.3])
def test_another_voice(clip: Clip, loud: int, ratio: float) -> None:
    """Pitch and formants moved together."""
    out = clip.clean.copy()
    first = max(0, min(loud - 6400, len(out) - 24000))
    moved = soxr.resample(clip.clean[first : first + 32000], ratio * RATE, RATE)[:19200]
    out[first : first + len(moved)] = moved
    assert "added" in kinds(check(out, clip.noisy, RATE), first / RATE, first / RATE + len(moved) / RATE)


def test_speech_that_is_gone(clip: Clip) -> None:
    """Against weaker noise than the clip's, as the check hears no speech that noise covers."""
    noisy = clip.clean + 0.3 * (clip.noisy - clip.clean)
    power = np.convolve(clip.clean.astype(np.float64) ** 2, np.ones(11200), "valid")
    first = int(power.argmax())
    out = clip.clean.copy()
    out[first : first + 11200] *= 1e-3
    assert lost(frames_of(clip.clean, noisy, RATE)) == []
    assert kinds(check(out, noisy, RATE), first / RATE, first / RATE + 0.7) == {"lost"}


def test_each_check_can_be_left_out(clip: Clip, loud: int) -> None:
    out = reworded(clip, loud)
    assert check(out, clip.noisy, RATE, Checks(added=False, silence=False)) == []
    assert {flag.kind for flag in check(out, clip.noisy, RATE, Checks(lost=False))} == {"added"}


def test_sound_is_not_reported_twice(clip: Clip) -> None:
    noisy = clip.noisy.copy()
    noisy[40000:64000] = 0.0
    frames = frames_of(clip.noisy, noisy, RATE)
    (whole,) = [flag for flag in silence(frames) if flag.value > 40]
    assert whole.start == pytest.approx(2.5, abs=0.1)
    assert whole.end == pytest.approx(4.0, abs=0.1)
    assert all(flag.end < 2.7 or flag.start > 3.8 for flag in added(frames))


def test_an_invented_recording(clip: Clip) -> None:
    """Speech out of nothing at all, where there is no level to compare."""
    (flag,) = check(np.ones_like(clip.clean) * 0.1, np.zeros_like(clip.clean), RATE)
    assert flag.kind == "silence"
    assert flag.start == 0.0
    assert flag.end == pytest.approx(len(clip.clean) / RATE)


def test_silence_raises_no_flag() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(RATE)
    assert check(np.zeros(RATE), np.zeros(RATE), RATE) == []
    assert check(np.zeros(RATE), noise, RATE) == []


@pytest.mark.parametrize("samples", [1, 2, 100, 1025])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_short_signals_can_be_checked(samples: int, rate: int) -> None:
    assert check(np.full(samples, 0.1, np.float32), np.full(samples, 0.1, np.float32), rate) == []


def test_blocks_change_nothing(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = frames_of(clip.clean, clip.noisy, RATE)
    monkeypatch.setattr("gense.check.frames._BLOCK", 100)
    cut = frames_of(clip.clean, clip.noisy, RATE)
    for name in ("output", "input", "unexplained", "output_bands", "input_bands", "voicing"):
        np.testing.assert_allclose(getattr(cut, name), getattr(whole, name), rtol=1e-4, atol=1e-6)


def test_frames_measure_power(clip: Clip) -> None:
    """A sine of amplitude 0.2 has power 0.02, all of it unexplained by silence and none by itself."""
    sine = (0.2 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)).astype(np.float32)
    frames = frames_of(sine, np.zeros_like(sine), RATE)
    np.testing.assert_allclose(frames.output[5:-5], 0.02, rtol=1e-3)
    np.testing.assert_allclose(frames.unexplained[5:-5], 0.02, rtol=1e-2)
    assert frames.input.max() < 1e-12
    assert frames_of(sine, sine, RATE).unexplained.max() == 0.0
    assert frames_of(sine, sine, RATE).voicing[5:-5].min() > 0.95


def test_channels_are_checked_one_by_one(clip: Clip, loud: int) -> None:
    wrong = reworded(clip, loud)
    out, noisy = np.stack([clip.clean, wrong]), np.stack([clip.noisy] * 2)
    expected = check(wrong, clip.noisy, RATE)
    found = check(out, noisy, RATE)
    assert [flag.channel for flag in found] == [1] * len(expected)
    assert [(flag.start, flag.end) for flag in found] == [(flag.start, flag.end) for flag in expected]
    assert "(channel 2)" in str(found[0])
    assert "channel" not in str(expected[0])
    batch = check(torch.from_numpy(out)[:, None], torch.from_numpy(noisy)[:, None], RATE)
    assert [flag.channel for flag in batch] == [1] * len(expected)


def test_integers_and_rates(clip: Clip, loud: int) -> None:
    wrong = reworded(clip, loud)
    expected = check(wrong, clip.noisy, RATE)
    integers = [np.round(wav * 32767).astype(np.int16) for wav in (wrong, clip.noisy)]
    upsampled = [soxr.resample(wav, RATE, 44100) for wav in (wrong, clip.noisy)]
    for found in (check(*integers, RATE), check(*upsampled, 44100)):
        assert [flag.kind for flag in found] == [flag.kind for flag in expected]
        assert [flag.start for flag in found] == pytest.approx([flag.start for flag in expected], abs=0.05)


def test_what_cannot_be_compared_is_refused() -> None:
    one = np.ones(RATE, np.float32)
    with pytest.raises(ValueError, match=r"enhanced has shape \(16000,\) and noisy \(15999,\)"):
        check(one, one[:-1], RATE)
    with pytest.raises(ValueError, match="1 NaN"):
        check(np.where(np.arange(RATE) == 5, np.nan, one), one, RATE)
    with pytest.raises(ValueError, match="sample_rate=0"):
        check(one, one, 0)
    with pytest.raises(TypeError, match="list"):
        check([0.0], one, RATE)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="speaker_limit=2"):
        Checks(speaker_limit=2)
