"""Simulated rooms: reverberation time, direct path, repeatability."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyroomacoustics", reason="needs pyroomacoustics")

from gense.data import SimulatedReverb
from gense.data.degradations.rooms import simulate_room

RATE = 16000
SIZE = np.array([5.0, 4.0, 3.0])


def decay_time(h: np.ndarray) -> float:
    """Seconds for 60 dB, from the slope between -5 and -25 dB of the energy still to come (Schroeder 1965)."""
    left = np.cumsum(h[::-1] ** 2)[::-1]
    level = 10 * np.log10(left / left[0] + 1e-12)
    return 3 * (int(np.argmax(level < -25)) - int(np.argmax(level < -5))) / RATE


@pytest.mark.parametrize("t60", [0.3, 0.7])
def test_a_room_decays_in_the_time_asked_for(t60) -> None:
    h = simulate_room(SIZE, t60, 1.5, RATE, np.random.default_rng(0))
    assert decay_time(h) == pytest.approx(t60, rel=0.2)


def test_the_direct_path_is_one_sample_and_comes_first() -> None:
    h = np.abs(simulate_room(SIZE, 0.4, 1.0, RATE, np.random.default_rng(1)))
    direct = int(np.argmax(h >= 0.5 * h.max()))
    assert h[direct] == h.max()
    assert h[direct - 20 : direct].max() < 0.1 * h[direct]


def test_rooms_are_the_same_for_a_seed_and_differ_among_each_other() -> None:
    first, second = SimulatedReverb(rooms=2, t60=(0.2, 0.4)), SimulatedReverb(rooms=2, t60=(0.2, 0.4))
    other = SimulatedReverb(rooms=1, t60=(0.2, 0.4), seed=1)
    for reverb in (first, second, other):
        reverb.prepare(RATE)
    assert all(np.array_equal(a, b) for a, b in zip(first.rirs, second.rirs, strict=True))
    assert not np.array_equal(first.rirs[0], other.rirs[0])
    assert not np.array_equal(first.rirs[0][:3000], first.rirs[1][:3000])


def test_the_input_stays_aligned_to_the_dry_target(clip) -> None:
    reverb = SimulatedReverb(rooms=1, t60=(0.3, 0.3), distance=(0.5, 0.5))
    reverb.prepare(RATE)
    speech = clip.clean[RATE : 2 * RATE]
    dry, wet = reverb(speech, speech, np.random.default_rng(0))
    assert np.array_equal(dry, speech)
    both = np.fft.irfft(np.fft.rfft(wet, 2 * RATE) * np.conj(np.fft.rfft(speech, 2 * RATE)))
    assert int(np.argmax(both)) == 0


def test_impossible_rooms_are_refused() -> None:
    with pytest.raises(ValueError, match="rooms=0"):
        SimulatedReverb(rooms=0)
    with pytest.raises(ValueError, match=r"t60=0.01 s is too short for a room of 5.0 x 4.0 x 3.0 m"):
        simulate_room(SIZE, 0.01, 1.0, RATE, np.random.default_rng(0))
