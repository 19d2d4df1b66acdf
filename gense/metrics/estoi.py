"""Extended short-time objective intelligibility."""

from __future__ import annotations

from .signals import Signal
from .stoi import intelligibility


def estoi(est: Signal, ref: Signal, sample_rate: int) -> float:
    """ESTOI of Jensen and Taal, "An algorithm for predicting the intelligibility of speech masked by modulated noise
    maskers" (IEEE/ACM TASLP 2016), as computed by pystoi.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,), sample-aligned.
        sample_rate: of both, in Hz; any other than 16 kHz is resampled first, so that a score does not depend on it.

    Returns:
        About 0 (unintelligible) to 1 (identical).

    Raises:
        ImportError: the package `pystoi` is not installed.
        UndefinedScore: less than 0.4 s of speech is left after the reference's silent frames are dropped.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    return intelligibility(est, ref, sample_rate, extended=True)
