"""Files in and out, levels, resampling."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from gense import audio
from gense.audio import Level
from tests.folders import noise_like_speech

FORMATS = [
    ("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "PCM_32"), ("wav", "PCM_U8"), ("wav", "FLOAT"), ("wav", "DOUBLE"),
    ("flac", "PCM_16"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("opus", "OPUS"), ("mp3", "MPEG_LAYER_III"),
    ("aiff", "PCM_16"), ("w64", "PCM_16"), ("au", "PCM_16"), ("caf", "PCM_16"),
]  # fmt: skip
# Largest error of writing twice: libsndfile divides by 2^15 on reading and multiplies by 2^15 - 1 on writing
TOLERANCE = {"PCM_16": 2.1 / 2**15, "PCM_24": 2.1 / 2**23, "PCM_32": 1e-7, "PCM_U8": 2.1 / 2**7, "FLOAT": 0.0}


def write(path: Path, wav: np.ndarray, rate: int, subtype: str) -> Path:
    kind = {"OPUS": "OGG"}.get(path.suffix[1:].upper(), path.suffix[1:].upper())
    soundfile.write(path, wav, rate, subtype=subtype, format=kind)
    return path


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_writing_like_a_file_keeps_its_format(tmp_path: Path, suffix: str, subtype: str) -> None:
    wav = noise_like_speech(8000, channels=2).T
    source = write(tmp_path / f"in.{suffix}", wav, 16000, subtype)
    read, rate = audio.read(source)
    assert (read.shape, read.dtype, rate) == (wav.shape, np.float32, 16000)
    target = audio.write(tmp_path / f"out.{suffix}", read, rate, like=source)
    before, after = soundfile.info(source), soundfile.info(target)
    assert (after.format, after.subtype, after.samplerate, after.channels, after.frames) == (
        before.format, before.subtype, 16000, 2, 8000
    )  # fmt: skip
    if subtype in TOLERANCE:
        assert np.abs(audio.read(target)[0] - wav).max() <= TOLERANCE[subtype]


def test_another_suffix_takes_the_sample_format_where_it_has_it(tmp_path: Path) -> None:
    source = write(tmp_path / "in.wav", noise_like_speech(800), 16000, "PCM_24")
    wav, rate = audio.read(source)
    assert soundfile.info(audio.write(tmp_path / "a.flac", wav, rate, like=source)).subtype == "PCM_24"
    assert soundfile.info(audio.write(tmp_path / "a.ogg", wav, rate, like=source)).subtype == "VORBIS"


@pytest.mark.parametrize("source", ["wav", "flac", "ogg", "opus", "mp3", "aiff", "w64", "caf", "au"])
@pytest.mark.parametrize("target", ["wav", "flac", "mp3", "caf"])
def test_every_format_becomes_every_other(tmp_path: Path, source: str, target: str) -> None:
    wav = (0.1 * np.sin(np.arange(16000) / 5)[:, None]).astype(np.float32)
    given = audio.write(tmp_path / f"given.{source}", wav, 16000)
    read, rate = audio.read(audio.write(tmp_path / f"made.{target}", wav, 16000, like=given))
    assert rate == 16000
    assert np.abs(np.fft.rfft(read[:16000, 0])).argmax() == np.abs(np.fft.rfft(wav[:, 0])).argmax()


def test_integer_formats_clip_and_do_not_wrap(tmp_path: Path) -> None:
    audio.write(tmp_path / "a.wav", np.array([2.0, -2.0, 0.0], dtype=np.float32), 16000)
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav")[0][:, 0], [1.0, -1.0, 0.0], atol=1e-4)


@pytest.mark.parametrize("share", [0.98, 0.5, 0.05])
@pytest.mark.parametrize(
    ("suffix", "subtype"), [pair for pair in FORMATS if pair[1] not in ("PCM_32", "PCM_U8", "DOUBLE")]
)
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, suffix: str, subtype: str, share: float) -> None:
    """libsndfile reads the rest of most of them without a word."""
    whole = write(tmp_path / f"whole.{suffix}", noise_like_speech(32000), 16000, subtype).read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.\w+: (cut off|cannot be read as audio)"):
        audio.read(cut)


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36])
def test_a_stream_of_unknown_length_is_no_cut_file(tmp_path: Path, size: int) -> None:
    """Programs that write WAV into a pipe put a huge number where the length belongs."""
    header = bytearray(write(tmp_path / "a.wav", noise_like_speech(1000), 16000, "PCM_16").read_bytes())
    at = header.find(b"data")
    header[4:8], header[at + 4 : at + 8] = struct.pack("<I", size), struct.pack("<I", size)
    (tmp_path / "a.wav").write_bytes(header)
    assert audio.read(tmp_path / "a.wav")[0].shape == (1000, 1)


def test_an_odd_number_of_bytes_and_bytes_behind_the_end_are_no_cut_files(tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.wav", noise_like_speech(1001), 8000, "PCM_U8")
    odd.write_bytes(odd.read_bytes()[:-1])  # without the padding byte, as some programs write it
    assert len(audio.read(odd)[0]) == 1001
    tagged = write(tmp_path / "tagged.wav", noise_like_speech(1000), 8000, "PCM_16")
    tagged.write_bytes(tagged.read_bytes() + b"TAGTAGTAG")
    assert len(audio.read(tagged)[0]) == 1000


@pytest.mark.parametrize(
    ("name", "rate", "channels", "error", "message"),
    [
        ("a.m4a", 16000, 1, ValueError, r"unknown audio format '\.m4a'; use \.wav"),
        ("a", 16000, 1, ValueError, "unknown audio format ''"),
        ("a.raw", 16000, 1, ValueError, r"unknown audio format '\.raw'"),
        ("no/a.wav", 16000, 1, FileNotFoundError, "no: no such folder to write a.wav into"),
        ("folder.wav", 16000, 1, IsADirectoryError, "is a folder"),
        ("a.mp3", 96000, 1, ValueError, r"MP3 .* at 96000 Hz with 1 channels \(.*\); use \.wav"),
        ("a.opus", 44100, 1, ValueError, r"OPUS at 44100 Hz .*Opus only supports"),
        ("a.flac", 16000, 9, ValueError, "with 9 channels"),
    ],
)
def test_what_cannot_be_written_is_refused_before_and_leaves_nothing(
    tmp_path: Path, name: str, rate: int, channels: int, error: type, message: str
) -> None:
    (tmp_path / "folder.wav").mkdir()
    before = sorted(tmp_path.rglob("*"))
    for attempt in (
        lambda: audio.check_writable(tmp_path / name, rate, channels),
        lambda: audio.write(tmp_path / name, np.zeros((10, channels), np.float32), rate),
    ):
        with pytest.raises(error, match=message):
            attempt()
    assert sorted(tmp_path.rglob("*")) == before


def test_checking_leaves_nothing_and_spares_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(b"mine")
    audio.check_writable(tmp_path / "a.wav", 16000, 2)
    audio.check_writable(tmp_path / "b.flac", 16000, 2)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.wav", b"mine")]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(file: soundfile.SoundFile, *args: object) -> None:
        file.flush()
        raise KeyboardInterrupt

    (tmp_path / "a.wav").write_bytes(b"mine")
    monkeypatch.setattr(soundfile.SoundFile, "write", half)
    with pytest.raises(KeyboardInterrupt):
        audio.write(tmp_path / "a.wav", np.zeros(10, np.float32), 16000)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a.wav", b"mine")]


def test_resampling_keeps_tones_below_the_lower_nyquist() -> None:
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    up = audio.resample(tone, 8000, 48000)
    expected = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    assert up.shape == (48000,)
    np.testing.assert_allclose(up[2000:-2000], expected[2000:-2000], atol=1e-4)
    assert audio.resample(tone, 8000, 8000) is tone


def test_peak_level_is_the_largest_sample_and_rms_the_root_mean_square() -> None:
    wav = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    peak, rms = Level("peak").scale(wav), Level("rms", target_db=-20).scale(wav)
    assert peak.shape == rms.shape == (3, 1)
    torch.testing.assert_close((wav / peak).abs().amax(dim=-1), torch.ones(3))
    torch.testing.assert_close((wav / rms).square().mean(dim=-1).sqrt(), torch.full((3,), 0.1))
    assert torch.equal(Level("none").scale(wav), torch.ones(3, 1))


@pytest.mark.parametrize("kind", ["peak", "rms", "none"])
@pytest.mark.parametrize("value", [0.0, 1e-45, 1e-39])
def test_the_level_of_silence_divides_by_one(kind: str, value: float) -> None:
    assert torch.equal(Level(kind).scale(torch.full((1, 100), value)), torch.ones(1, 1))


def test_the_training_level_stays_within_its_jitter() -> None:
    wav = torch.ones(2000, 10)
    scale = Level("peak", jitter_db=6.0).scale(wav, training=True)
    decibels = 20 * scale.log10()
    assert decibels.abs().max() <= 6.0
    assert decibels.std() > 3.0
    assert torch.equal(Level("peak", jitter_db=6.0).scale(wav), torch.ones(2000, 1))


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="kind='loud': expected peak, rms or none"):
        Level("loud")
