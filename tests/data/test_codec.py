"""Codecs: what comes out lies where it went in."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from gense.audio import resample
from gense.data import Codec
from gense.data.degradations.codec import aligned, codec_delay, coded

if tuple(map(int, soundfile.__libsndfile_version__.split(".")[:2])) < (1, 2):
    pytest.skip("needs libsndfile 1.2", allow_module_level=True)

CASES = [("mp3", 24.0), ("mp3", 48.0), ("opus", 8.0), ("opus", 24.0), ("gsm", None), ("ulaw", None), ("alaw", None)]


def lag(late: np.ndarray, early: np.ndarray) -> int:
    size = len(late) + len(early)
    both = np.fft.irfft(np.fft.rfft(late, size) * np.conj(np.fft.rfft(early, size)), size)
    place = int(np.argmax(both))
    return place if place < size // 2 else place - size


@pytest.mark.parametrize(("kind", "kbps"), CASES)
@pytest.mark.parametrize("rate", [16000, 24000])
def test_speech_comes_back_aligned_and_damaged(clip, kind, kbps, rate) -> None:
    speech = resample(clip.clean[clip.sample_rate : 3 * clip.sample_rate], clip.sample_rate, rate)
    out = aligned(coded(speech, rate, kind, kbps), codec_delay(kind, kbps, rate), len(speech))
    assert out.shape == speech.shape
    assert abs(lag(out, speech)) <= 1  # at 8 kbit/s the waveform of Opus moves by fractions of a sample
    snr = 10 * np.log10((speech**2).sum() / ((out - speech) ** 2).sum())
    assert 8.0 < snr < 35.0


def test_low_rates_of_mp3_have_a_delay_that_has_to_be_taken_away() -> None:
    """LAME writes no header that tells the decoder where to begin where none fits: 528 + 1 + 576 samples."""
    assert codec_delay("mp3", 24.0, 16000) == 1105
    assert codec_delay("mp3", 64.0, 16000) == 0


def test_a_telephone_ends_at_4_khz(clip) -> None:
    speech = clip.clean[clip.sample_rate : 3 * clip.sample_rate]
    out = coded(speech, 16000, "gsm")
    power, frequencies = np.abs(np.fft.rfft(out)) ** 2, np.fft.rfftfreq(len(out), 1 / 16000)
    assert power[frequencies > 4100].sum() < 1e-6 * power.sum()


def test_the_level_is_kept(clip) -> None:
    speech = clip.clean[clip.sample_rate : 2 * clip.sample_rate]
    for gain in (1e-3, 20.0):
        out = coded(gain * speech, 16000, "ulaw")[: len(speech)]
        assert np.dot(out, speech) / np.dot(speech, speech) == pytest.approx(gain, rel=0.05)


def test_a_delay_is_taken_away_on_either_side() -> None:
    wav = np.arange(1, 6, dtype=np.float32)
    assert aligned(wav, 2, 5).tolist() == [3, 4, 5, 0, 0]
    assert aligned(wav, -1, 4).tolist() == [0, 1, 2, 3]


def test_all_kinds_are_drawn(clip) -> None:
    speech = clip.clean[clip.sample_rate : clip.sample_rate + 8000]
    codec = Codec({"mp3": [16, 48], "ulaw": []})
    codec.prepare(16000)
    rng = np.random.default_rng(0)
    outs = [codec(speech, speech, rng)[1].tobytes() for _ in range(60)]
    shares = sorted(outs.count(out) / len(outs) for out in set(outs))
    assert shares == pytest.approx([0.25, 0.25, 0.5], abs=0.2)


@pytest.mark.parametrize(
    ("kinds", "message"),
    [
        ({}, "at least one codec"),
        ({"aac": []}, "unknown codec 'aac'; expected mp3, opus, gsm, ulaw, alaw"),
        ({"mp3": []}, "mp3 needs bit rates in kbit/s"),
        ({"gsm": [13]}, "gsm has one bit rate: give an empty list"),
    ],
)
def test_impossible_codecs_are_refused(kinds, message) -> None:
    with pytest.raises(ValueError, match=message):
        Codec(kinds)


def test_a_bit_rate_that_the_codec_has_not_at_this_rate_is_refused_before_training() -> None:
    with pytest.raises(ValueError, match="mp3 has 32 to 320 kbit/s at 48000 Hz, got 16"):
        Codec({"mp3": [16]}).prepare(48000)
