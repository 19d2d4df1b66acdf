"""Limits on what audio files announce: absurd headers and decompression bombs are refused, and limits can be raised."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense import audio
from gense.choices import checked_rate
from gense.limits import Limits
from tests.folders import noise_like_speech


def encoded(wav: np.ndarray, rate: int = 16000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, wav, rate, format=kind, subtype=subtype)
    return buffer.getvalue()


def read(content: bytes, limits: Limits | None = None) -> tuple[np.ndarray, int]:
    return audio.read(io.BytesIO(content), name="a.wav", limits=limits)


def announcing(frames: int) -> bytes:
    """A FLAC file of 16000 samples that announces another number of them, in 36 bits; 0 means unknown."""
    content = bytearray(encoded(noise_like_speech(16000), kind="FLAC"))
    content[21] = content[21] & 0xF0 | frames >> 32
    content[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(content)


@pytest.mark.parametrize("rate", [1, 999, 768001, 2**31 - 1])
def test_absurd_rates_are_refused(rate: int) -> None:
    content = bytearray(encoded(noise_like_speech(100)))
    content[24:28] = struct.pack("<I", rate)
    with pytest.raises(ValueError, match=rf"a\.wav: announces a sampling rate of {rate} Hz, expected 1000 to 768000"):
        read(bytes(content))
    assert read(bytes(content), Limits(min_rate=1, max_rate=2**31))[1] == rate


def test_many_channels_are_refused() -> None:
    content = encoded(np.zeros((10, 65), np.float32))
    with pytest.raises(ValueError, match=r"announces 65 channels, expected at most 64; .* GENSE_MAX_CHANNELS=65"):
        read(content)
    assert read(content, Limits(max_channels=65))[0].shape == (10, 65)


def test_a_file_that_announces_more_than_it_can_hold_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match=r"lasts 4294967 s or more, expected at most 172800 s; .* GENSE_MAX_SECONDS="):
        read(announcing(2**36 - 1))
    with pytest.raises(ValueError, match="bytes that unpack to 10737418240 or more, over 1000 times as many"):
        read(announcing(int(2.5 * 2**30)))
    unlimited = Limits(max_seconds=1e12, max_expansion=1e12)
    with pytest.raises(ValueError, match=r"68719476735 samples or more .*GENSE_MAX_SAMPLES="):
        read(announcing(2**36 - 1), unlimited)


def test_memory_follows_what_is_there_and_not_what_is_announced() -> None:
    """Two GiB are announced: the file is cut off, and no such array has been made."""
    import tracemalloc

    tracemalloc.start()
    with pytest.raises(ValueError, match=r"cut off|cannot be read as audio"):
        read(announcing(2**29), Limits(max_expansion=1e12))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 << 20


def test_a_bomb_of_silence_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both where the length is announced and where it shows only on the way."""
    monkeypatch.setattr("gense.limits._FREE_SAMPLES", 10**6)
    bomb = bytearray(encoded(np.zeros(8 * 10**6, np.float32), kind="FLAC"))
    with pytest.raises(ValueError, match=rf"{len(bomb)} bytes that unpack to 32000000 or more, .*GENSE_MAX_EXPANSION"):
        read(bytes(bomb))
    assert read(bytes(bomb), Limits(max_expansion=10**4))[0].shape == (8 * 10**6, 1)
    bomb[21] &= 0xF0
    bomb[22:26] = bytes(4)
    with pytest.raises(ValueError, match=rf"{len(bomb)} bytes that unpack to \d+ or more, over 1000 times as many"):
        read(bytes(bomb))
    assert read(bytes(bomb), Limits(max_expansion=10**4))[0].shape == (8 * 10**6, 1)
    with pytest.raises(ValueError, match=r"1048576 samples or more .* expected at most 1000000 in memory"):
        read(bytes(bomb), Limits(max_expansion=10**4, max_samples=10**6))
    with pytest.raises(ValueError, match="s or more, expected at most 100 s"):
        read(bytes(bomb), Limits(max_expansion=10**4, max_seconds=100))


def test_flac_of_unknown_length_is_read_whole() -> None:
    """As ffmpeg writes it into a pipe."""
    known, _ = read(announcing(16000))
    np.testing.assert_array_equal(read(announcing(0))[0], known)


def test_limits_are_raised_by_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(encoded(np.zeros((10, 65), np.float32)))
    monkeypatch.setenv("GENSE_MAX_CHANNELS", "65")
    monkeypatch.setenv("GENSE_MAX_RATE", "1e6")
    monkeypatch.setenv("GENSE_MAX_SECONDS", "inf")
    assert audio.read(tmp_path / "a.wav")[0].shape == (10, 65)
    assert checked_rate(1000000) == 1000000
    assert Limits.from_environment() == Limits(max_channels=65, max_rate=10**6, max_seconds=float("inf"))
    assert Limits.from_environment({}) == Limits()


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("GENSE_MAX_RATE", "fast", "GENSE_MAX_RATE='fast': expected a number above 0"),
        ("GENSE_MAX_SAMPLES", "inf", "GENSE_MAX_SAMPLES='inf': expected a number above 0"),
        ("GENSE_MAX_SECONDS", "-1", "max_seconds=-1.0: expected a number above 0"),
        ("GENSE_MAX_SECONDS", "nan", "max_seconds=nan: expected a number above 0"),
        ("GENSE_MIN_RATE", "1e9", "min_rate=1000000000 lies above max_rate=768000"),
    ],
)
def test_impossible_limits_are_refused(variable: str, value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Limits.from_environment({variable: value})
