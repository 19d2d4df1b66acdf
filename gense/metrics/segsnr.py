"""Segmental signal-to-noise ratio."""

from __future__ import annotations

import numpy as np

from .frames import frames
from .signals import Signal, UndefinedScore, as_pair, at_rate

RATE = 16000
LENGTH, HOP = 480, 120  # 30 ms, three quarters overlapping
LOWEST, HIGHEST = -10.0, 35.0  # dB, of one frame


def windowed(signal: np.ndarray) -> np.ndarray:
    """(S,) at 16 kHz -> (T, 480): the frames that the measures of Hu and Loizou (2008) share, under a Hann window.

    As published, the last whole frame is not used.

    Raises:
        UndefinedScore: there is no frame but the last one.
    """
    pieces = frames(signal, LENGTH, HOP)[:-1]
    if not len(pieces):
        raise UndefinedScore(f"{signal.size / RATE:.3f} s: too short, needs {(LENGTH + HOP) / RATE:.4f} s")
    return pieces * np.hanning(LENGTH + 2)[1:-1]


def segmental_snr(est: Signal, ref: Signal, sample_rate: int) -> float:
    """Mean over frames of 30 ms of the signal-to-noise ratio in dB, each limited to [-10, 35] (Hansen and Pellom, "An
    effective quality evaluation protocol for speech enhancement algorithms", ICSLP 1998).

    The noise is est - ref, so the level of the estimate counts. A frame where the reference is zero counts -10 dB.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,), sample-aligned.
        sample_rate: of both, in Hz; any other than 16 kHz is resampled first.

    Returns:
        dB in [-10, 35]; 35 for identical signals without digital silence.

    Raises:
        UndefinedScore: shorter than 37.5 ms.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    estimate, reference = (at_rate(signal, sample_rate, RATE) for signal in as_pair(est, ref))
    signal, noise = (np.square(windowed(x)).sum(axis=1) for x in (reference, estimate - reference))
    tiny = np.finfo(np.float64).eps  # as published; it only shows where a frame is zero
    return float(np.clip(10.0 * np.log10(signal / (noise + tiny) + tiny), LOWEST, HIGHEST).mean())


def mean_of_best(distances: np.ndarray) -> float:
    """Mean of the smallest 95 % of (T,) distances: Hu and Loizou (2008) drop the frames that are furthest off."""
    return float(np.sort(distances)[: round(0.95 * distances.size)].mean())
