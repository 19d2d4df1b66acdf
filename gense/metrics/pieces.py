"""Long signals in pieces that a model can take."""

from __future__ import annotations

import numpy as np


def split_at_pauses(signal: np.ndarray, sample_rate: int, seconds: float) -> list[np.ndarray]:
    """Cut (S,) where it is quietest, so that words stay whole.

    Each cut lies in the last third of the longest piece allowed, in the middle of the quietest tenth of a second there.

    Args:
        signal: (S,).
        sample_rate: Hz.
        seconds: length that no piece exceeds.

    Returns:
        The pieces, which joined give the signal; one where it is short enough.
    """
    most, frame = int(seconds * sample_rate), max(1, sample_rate // 10)
    pieces = []
    while signal.size > most:
        first = most - most // 3
        powers = np.convolve(np.square(signal[first:most], dtype=np.float64), np.ones(frame), "valid")
        cut = first + int(powers.argmin()) + frame // 2
        pieces.append(signal[:cut])
        signal = signal[cut:]
    return [*pieces, signal]
