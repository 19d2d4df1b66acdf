"""Cutting a signal into overlapping frames."""

from __future__ import annotations

import numpy as np

from .signals import UndefinedScore


def frames(signal: np.ndarray, length: int, hop: int) -> np.ndarray:
    """(S,) -> (T, length): a view of the frames that lie within the signal whole, one every `hop` samples.

    Raises:
        UndefinedScore: the signal is shorter than a frame.
    """
    if signal.size < length:
        raise UndefinedScore(f"{signal.size} samples: too short, one frame has {length}")
    return np.lib.stride_tricks.sliding_window_view(signal, length)[::hop]
