"""Several samples: the mean, the samples, and how far they lie apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import gense
from gense import ensemble
from gense.chunking import Chunking
from tests.folders import noise_like_speech
from tests.tiny import passthrough, pointwise, tiny_flow

SHAPES = [(4000,), (2, 4000), (1, 4000), (2, 2, 3000)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_samples_have_the_audio_s_kind_with_an_axis_in_front(shape: tuple[int, ...], kind: str) -> None:
    wav = noise_like_speech(int(np.prod(shape))).reshape(shape).astype(np.float64)
    given = torch.from_numpy(wav) if kind == "tensor" else wav
    out = gense.enhance(given, pointwise(), samples=3)
    assert type(out.audio) is type(out.samples) is type(given)
    assert (out.audio.shape, out.audio.dtype) == (given.shape, given.dtype)
    assert (tuple(out.samples.shape), out.samples.dtype) == ((3, *shape), given.dtype)
    np.testing.assert_allclose(np.asarray(out.audio), np.asarray(out.samples).mean(axis=0), atol=1e-6)
    spread = out.spread
    assert spread.db.shape == (*shape[:-1], len(spread.hertz), len(spread.seconds))
    assert spread.db.dtype == np.float32
    assert np.isfinite(spread.db).all()
    assert spread.db.mean() > 0.5


def test_samples_are_what_their_seeds_give() -> None:
    wav = noise_like_speech(8000, channels=2)
    method = tiny_flow()
    out = gense.enhance(wav, method, samples=3, seed=5, steps=1)
    for number, sample in enumerate(out.samples):
        assert np.array_equal(sample, gense.enhance(wav, method, seed=5 + number, steps=1))
    again = gense.enhance(wav, method, samples=3, seed=5, steps=1)
    assert np.array_equal(out.audio, again.audio)
    assert np.array_equal(out.spread.db, again.spread.db)
    assert not np.array_equal(out.audio, gense.enhance(wav, method, samples=3, seed=6, steps=1).audio)


def test_one_sample_is_what_there_always_was() -> None:
    wav = noise_like_speech(4000)
    assert np.array_equal(gense.enhance(wav, pointwise(), samples=1), gense.enhance(wav, pointwise()))


def test_a_file_gets_the_mean(tmp_path: Path) -> None:
    wav = noise_like_speech(12000, channels=2)
    soundfile.write(tmp_path / "in.wav", wav.T, 24000, subtype="FLOAT")
    out = gense.enhance(str(tmp_path / "in.wav"), pointwise(), samples=2)
    assert out.audio == str(tmp_path / "in.enhanced.wav")
    written, rate = soundfile.read(out.audio, dtype="float32")
    assert rate == 24000
    assert (out.samples.shape, out.samples.dtype) == ((2, 2, 12000), np.float32)
    np.testing.assert_allclose(written.T, out.samples.mean(axis=0), atol=1e-6)
    assert out.spread.hertz[-1] == 12000
    assert out.spread.seconds[-1] == pytest.approx(0.5, abs=0.017)


def test_integers_are_averaged_before_they_are_rounded() -> None:
    wav = np.round(noise_like_speech(4000) * 100).astype(np.int16)
    out = gense.enhance(wav, pointwise(), samples=4)
    exact = np.mean([gense.enhance(wav / 32768, pointwise(), seed=seed) for seed in range(4)], axis=0) * 32768
    assert out.audio.dtype == out.samples.dtype == np.int16
    assert np.abs(out.audio - exact).max() <= 0.51


def test_chunks_change_neither_samples_nor_spread() -> None:
    wav = noise_like_speech(3 * 16000)
    whole = gense.enhance(wav, pointwise(), samples=2)
    cut = gense.enhance(wav, pointwise(Chunking(1.0, 0.25, 2)), samples=2)
    np.testing.assert_allclose(cut.samples, whole.samples, atol=1e-2)  # the STFT is padded at the cuts
    far = np.abs(cut.spread.db - whole.spread.db) > 0.01
    assert far.mean() < 0.1


def test_silence_has_no_spread() -> None:
    wav = noise_like_speech(32000)
    quiet = gense.enhance(0 * wav, pointwise(), samples=2)
    assert not quiet.audio.any()
    assert not quiet.spread.db.any()


def test_deterministic_methods_are_refused() -> None:
    with pytest.raises(ValueError, match=r"samples=8: this method is deterministic"):
        gense.enhance(noise_like_speech(4000), passthrough(), samples=8)
    assert isinstance(gense.enhance(noise_like_speech(4000), passthrough(), samples=1), np.ndarray)


@pytest.mark.parametrize("samples", [0, -1, 2.0, True, "2", None])
def test_impossible_numbers_are_refused(samples: object) -> None:
    with pytest.raises(ValueError, match="samples="):
        gense.enhance(noise_like_speech(4000), pointwise(), samples=samples)  # type: ignore[call-overload]


def test_the_last_seed_is_checked_too() -> None:
    with pytest.raises(ValueError, match="seed="):
        gense.enhance(noise_like_speech(4000), pointwise(), samples=2, seed=2**64 - 1)


# -- the spread by itself --------------------------------------------------------------------------------------------


def test_equal_samples_have_no_spread() -> None:
    wav = noise_like_speech(8000)
    assert not ensemble.spread(np.stack([wav] * 3)[:, None], 16000).db.any()


def test_a_gain_is_a_spread_of_its_decibels() -> None:
    """Two samples 6 dB apart: (n - 1)-standard deviation 6 / sqrt(2), at every cell that lies over the floor."""
    wav = np.random.default_rng(0).standard_normal(16000)
    db = ensemble.spread(np.stack([wav, wav * 10 ** (6 / 20)])[:, None], 16000).db
    np.testing.assert_allclose(np.median(db), 6 / np.sqrt(2), rtol=1e-3)
    assert db.max() < 6 / np.sqrt(2) + 1e-3


def test_the_floor_lies_60_db_under_the_loudest_cell() -> None:
    rng = np.random.default_rng(1)
    loud = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    for faint, seen in ((1e-6, False), (1e-2, True)):
        samples = np.stack([loud + faint * rng.standard_normal(16000) for _ in range(2)])
        db = ensemble.spread(samples[:, None], 16000).db[0]
        assert (db[128:].max() > 1) == seen


def test_spread_is_where_samples_differ() -> None:
    """A tone at 3 kHz in the second half that the samples have at different levels."""
    time = np.arange(32000) / 16000
    tone = np.sin(2 * np.pi * 3000 * time) * (time > 1)
    samples = np.stack([np.sin(2 * np.pi * 500 * time) + level * tone for level in (0.1, 0.3, 1.0)])
    spread = ensemble.spread(samples[:, None], 16000)
    bin_ = int(np.argmin(np.abs(spread.hertz - 3000)))
    assert spread.db[0, bin_, spread.seconds > 1.1].min() > 8
    assert spread.db[0, :, spread.seconds < 0.9].max() < 1e-3
    assert spread.db[0, np.abs(spread.hertz - 500) < 40][:, spread.seconds > 1.1].max() < 0.1


def test_blocks_leave_the_spread_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(2).standard_normal((3, 2, 9001)).astype(np.float32)
    whole = ensemble.spread(samples, 16000).db
    monkeypatch.setattr(ensemble, "_BLOCK", 7)
    np.testing.assert_allclose(ensemble.spread(samples, 16000).db, whole, atol=1e-4)


@pytest.mark.parametrize("samples", [1, 10, 255, 256, 257])
@pytest.mark.parametrize("rate", [1000, 16000, 44100])
def test_short_samples_have_a_spread(samples: int, rate: int) -> None:
    db = ensemble.spread(np.random.default_rng(3).standard_normal((2, 1, samples)), rate).db
    assert np.isfinite(db).all()


def test_the_mean_keeps_what_samples_share() -> None:
    rng = np.random.default_rng(4)
    speech = noise_like_speech(16000)
    samples = (speech + 0.1 * rng.standard_normal((16, 1, 16000))).astype(np.float32)
    error = ensemble.mean(samples)[0] - speech
    assert error.std() == pytest.approx(0.1 / 4, rel=0.05)


def test_more_noise_in_the_input_gives_more_spread(clip) -> None:
    """What a bundled method is unsure of grows with the noise that hides it, once it takes more steps than one."""
    speech, noise = clip.clean[16000:40000], (clip.noisy - clip.clean)[16000:40000]
    settings = {"samples": 3, "steps": 4}
    levels = [gense.enhance(speech + gain * noise, "flowse", **settings).spread.db.mean() for gain in (0.1, 1.0)]
    assert levels[1] > 1.5 * levels[0]
