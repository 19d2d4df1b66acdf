"""Files as streams: the same as the whole at once, in memory that does not grow with the file."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

import gense
from gense import Enhancer
from gense.api import enhance_file
from gense.audio import Level
from gense.chunking import Chunking
from gense.clips import at_rate
from gense.recordings import measure
from tests.folders import noise_like_speech
from tests.tiny import Passthrough, passthrough, tiny_flow
from tests.tiny_text import tiny_text


@pytest.fixture(scope="module")
def flow() -> Enhancer:
    return tiny_flow()


def stereo(seconds: float, rate: int) -> np.ndarray:
    """(2, S), one channel quieter; with a block of silence."""
    wav = noise_like_speech(round(seconds * rate), channels=2) * np.array([[0.5], [0.05]], np.float32)
    wav[:, rate : 2 * rate] = 0
    return wav


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("seconds", [1.5, 7.3])
def test_a_file_gives_the_bits_of_its_samples(tmp_path: Path, flow: Enhancer, seconds: float, rate: int) -> None:
    """In its last chunk, too; in blocks whose ends are no ends of chunks."""
    wav = stereo(seconds, rate)
    soundfile.write(tmp_path / "a.wav", wav.T, rate, subtype="FLOAT")
    out = gense.enhance(tmp_path / "a.wav", flow, seed=3)
    assert np.array_equal(soundfile.read(out, dtype="float32")[0].T, gense.enhance(wav, flow, sample_rate=rate, seed=3))


def test_batches_of_chunks_change_nothing_but_the_last_bits(
    tmp_path: Path, flow: Enhancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does: wait until several chunks are there."""
    from gense import recordings

    chunks = recordings.Chunks
    monkeypatch.setattr(recordings, "Chunks", lambda *args, **given: chunks(*args, **{**given, "together": 3}))
    wav = stereo(9.0, 16000)
    soundfile.write(tmp_path / "a.wav", wav.T, 16000, subtype="FLOAT")
    out = soundfile.read(gense.enhance(tmp_path / "a.wav", flow), dtype="float32")[0].T
    assert np.array_equal(out, gense.enhance(wav, flow))


@pytest.mark.parametrize("rate", [16000, 22050])
def test_the_level_of_the_output_is_that_of_the_whole(tmp_path: Path, rate: int) -> None:
    model = tiny_flow()
    model.output_level = Level("rms", -20.0)
    wav = stereo(5.1, rate)
    soundfile.write(tmp_path / "a.wav", wav.T, rate, subtype="FLOAT")
    out = soundfile.read(gense.enhance(tmp_path / "a.wav", model), dtype="float32")[0].T
    whole = gense.enhance(wav, model, sample_rate=rate)
    np.testing.assert_allclose(out, whole, rtol=0, atol=1e-6 * np.abs(whole).max())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.enhanced.wav", "a.wav"]


def test_each_chunk_has_its_words(tmp_path: Path) -> None:
    model, wav = tiny_text(chunking=Chunking(1.0, 0.25)), stereo(3.0, 16000)
    soundfile.write(tmp_path / "a.wav", wav.T, 16000, subtype="FLOAT")
    out = gense.enhance(tmp_path / "a.wav", model, text="good morning to all of you")
    whole = gense.enhance(wav, model, text="good morning to all of you")
    assert np.array_equal(soundfile.read(out, dtype="float32")[0].T, whole)


def test_a_silent_channel_stays_silent_and_takes_no_work(tmp_path: Path, flow: Enhancer) -> None:
    wav = stereo(5.0, 16000)
    wav[1] = 0
    soundfile.write(tmp_path / "a.flac", wav.T, 16000)
    calls = []
    hook = flow.head.backbone.register_forward_hook(lambda *_: calls.append(1))
    out = soundfile.read(gense.enhance(tmp_path / "a.flac", flow))[0]
    hook.remove()
    assert not out[:, 1].any()
    assert out[:, 0].any()
    assert len(calls) == 2 * 3  # two steps, three chunks of one channel


def test_measuring_finds_what_the_whole_has(tmp_path: Path, flow: Enhancer) -> None:
    wav = stereo(7.0, 44100)
    soundfile.write(tmp_path / "a.wav", wav.T, 44100, subtype="FLOAT")
    found = measure(tmp_path / "a.wav", flow)
    assert (found.rate, found.channels) == (44100, 2)
    for channel, scale in zip(wav, found.scales, strict=True):
        resampled = at_rate(channel, 44100, flow)
        assert found.samples == len(resampled)
        assert float(scale) == pytest.approx(float(flow.level.scale(resampled[None])), rel=1e-6)


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """What NumPy and Python hold at most; 120 s of stereo more are 7.7 MB of samples on each side. Tensors made from
    nothing escape this count; benchmarks/memory.py counts all."""
    peaks = []
    for seconds in (80, 200):
        path = tmp_path / f"{seconds}.wav"
        soundfile.write(path, stereo(seconds, 8000).T, 8000)
        tracemalloc.start()
        gense.enhance(path, passthrough(Chunking(1.0, 0.25)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1e6


@pytest.mark.parametrize("settings", [{"samples": 2}, {"check": True}, {}])
def test_where_the_whole_is_needed_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict
) -> None:
    """For samples, for a check, and by a method that takes recordings whole."""
    model = tiny_flow() if settings else passthrough(None)
    monkeypatch.setattr("gense.api.enhance_recording", lambda *_, **__: pytest.fail("was streamed"))
    soundfile.write(tmp_path / "a.wav", stereo(2.1, 16000).T, 16000)
    gense.enhance(tmp_path / "a.wav", model, output=tmp_path / "b.wav", **settings)
    assert soundfile.info(tmp_path / "b.wav").frames == round(2.1 * 16000)


def test_a_file_that_changes_meanwhile_is_told_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, path = passthrough(Chunking(1.0, 0.25)), tmp_path / "a.wav"
    for seconds, later in ((4.0, 2.0), (2.0, 4.0)):
        soundfile.write(path, stereo(seconds, 16000).T, 16000)

        def measured(source: Path, enhancer: Enhancer, later: float = later) -> object:
            found = measure(source, enhancer)
            soundfile.write(source, stereo(later, 16000).T, 16000)
            return found

        monkeypatch.setattr("gense.recordings.measure", measured)
        with pytest.raises(ValueError, match="the recording has another length than when it was measured"):
            enhance_file(path, tmp_path / "b.wav", model, None, 0)
        assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_a_failure_in_the_last_chunk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = passthrough(Chunking(1.0, 0.25)), []

    def fail_at_last(head: Passthrough, cond: dict, **_: object) -> object:
        calls.append(1)
        if len(calls) == 8:
            raise RuntimeError("out of memory")
        return cond["noisy_stft"]

    monkeypatch.setattr(Passthrough, "generate", fail_at_last)
    soundfile.write(tmp_path / "a.wav", stereo(3.0, 16000).T, 16000)
    (tmp_path / "b.wav").write_bytes(b"mine")
    with pytest.raises(RuntimeError, match="out of memory"):
        enhance_file(tmp_path / "a.wav", tmp_path / "b.wav", model, None, 0)
    assert (tmp_path / "b.wav").read_bytes() == b"mine"
    assert len(list(tmp_path.iterdir())) == 2
