"""The checks that need a model, with stand-ins whose answers are known, and a real network of random weights."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest

from gense.check import Checks, check
from gense.check.models import content, speaker
from gense.metrics.signals import UndefinedScore

RATE = 16000
CHOSEN = {"silence": False, "added": False, "lost": False}


def tone(hertz: float, seconds: float) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def pitch(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """A speaker is their pitch: 200 Hz points along one axis, 300 Hz along the other."""
    power = [abs(np.exp(-2j * np.pi * hertz * np.arange(len(wav)) / sample_rate) @ wav) for hertz in (200, 300)]
    return np.asarray(power)


def frames(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """The magnitude spectrum of every 20 ms."""
    hop = sample_rate // 50
    return np.abs(np.fft.rfft(wav[: len(wav) // hop * hop].reshape(-1, hop), axis=1))


def test_another_voice_is_found_where_it_speaks() -> None:
    noisy, out = tone(200, 12), np.concatenate([tone(200, 6), tone(300, 6)])
    (flag,) = check(out, noisy, RATE, Checks(speaker=pitch, speaker_limit=0.75, **CHOSEN))
    assert (flag.kind, flag.start, flag.end) == ("speaker", 4.5, 12.0)  # a window that holds half of it is the first
    assert flag.value == pytest.approx(0, abs=0.01)
    assert flag.limit == 0.75


def test_a_change_of_speaker_in_the_recording_is_none_in_the_output() -> None:
    both = np.concatenate([tone(200, 6), tone(300, 5)])
    assert speaker(both, both, RATE, pitch) == []


def test_the_end_is_heard_though_it_fills_no_window() -> None:
    noisy = tone(200, 7.2)
    out = np.concatenate([tone(200, 5.5), tone(300, 1.7)])
    (flag,) = speaker(out, noisy, RATE, pitch, 0.75)
    assert flag.end == pytest.approx(7.2)


def test_pauses_and_short_clips() -> None:
    def never(wav: np.ndarray, sample_rate: int) -> np.ndarray:
        raise AssertionError("a pause has no speaker")

    quiet = np.zeros(3 * RATE, np.float32)
    quiet[:1600] = 0.1
    assert speaker(quiet, quiet, RATE, never) == []

    def too_short(wav: np.ndarray, sample_rate: int) -> np.ndarray:
        raise UndefinedScore("too short")

    assert speaker(tone(200, 0.1), tone(200, 0.1), RATE, too_short) == []
    assert content(tone(200, 0.01), tone(200, 0.01), RATE, too_short) == []


def test_other_speech_is_found_where_it_is() -> None:
    noisy, out = tone(200, 4), tone(200, 4)
    out[32000:44800] = tone(1000, 0.8)
    (flag,) = check(out, noisy, RATE, Checks(content=frames, **CHOSEN))
    assert flag.kind == "content"
    assert flag.start == pytest.approx(2.0, abs=0.1)
    assert flag.end == pytest.approx(2.8, abs=0.1)
    assert flag.value == pytest.approx(1, abs=0.05)
    assert check(noisy, noisy, RATE, Checks(content=frames, **CHOSEN)) == []


def test_disagreement_in_pauses_does_not_count() -> None:
    noisy, out = tone(200, 4), tone(200, 4)
    noisy[32000:] = tone(1000, 2)
    out[32000:] *= 1e-3
    assert content(out, noisy, RATE, frames) == []


def test_features_of_different_length_are_refused() -> None:
    lengths = iter([10, 11])
    with pytest.raises(ValueError, match=r"\(10, 3\) and \(11, 3\)"):
        content(tone(200, 1), tone(200, 1), RATE, lambda wav, rate: np.ones((next(lengths), 3)))


def test_a_network_of_transformers(tmp_path: Path) -> None:
    """Random weights still tell different input from equal input."""
    transformers = pytest.importorskip("transformers")
    import torch

    from gense.metrics.ssl import features

    torch.manual_seed(0)
    config = transformers.Wav2Vec2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
    )
    transformers.Wav2Vec2Model(config).save_pretrained(tmp_path)
    model = functools.partial(features, model=str(tmp_path), layer=0)
    noisy, out = tone(200, 3), tone(200, 3)
    out[16000:32000] = np.random.default_rng(0).standard_normal(16000)
    assert content(noisy, noisy, RATE, model, 0.02) == []
    found = content(out, noisy, RATE, model, 0.02)
    assert found
    assert all(0.8 < flag.start < flag.end < 2.2 for flag in found)
