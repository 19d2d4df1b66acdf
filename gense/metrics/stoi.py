"""Short-time objective intelligibility."""

from __future__ import annotations

import warnings

import numpy as np

from .signals import Signal, UndefinedScore, as_pair, at_rate

RATE = 16000


def stoi(est: Signal, ref: Signal, sample_rate: int) -> float:
    """STOI of Taal et al., "An algorithm for intelligibility prediction of time-frequency weighted noisy speech"
    (IEEE TASLP 2011), as computed by pystoi.

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
    return intelligibility(est, ref, sample_rate, extended=False)


def intelligibility(est: Signal, ref: Signal, sample_rate: int, *, extended: bool) -> float:
    """STOI, or ESTOI where `extended`; arguments and errors as in `stoi`."""
    try:
        import pystoi
    except ModuleNotFoundError as error:
        raise ImportError("pystoi is not installed: pip install gense[metrics]") from error
    estimate, reference = (at_rate(signal, sample_rate, RATE) for signal in as_pair(est, ref))
    # pystoi dithers with NumPy's global generator (1e-16, no effect on the score): leave the caller's stream as it was.
    state = np.random.get_state()
    try:
        with warnings.catch_warnings():
            # Where there is too little speech it warns and returns 1e-5, which would enter an average as a real score.
            warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
            return float(pystoi.stoi(reference, estimate, RATE, extended=extended))
    except RuntimeWarning as error:
        name, seconds = "ESTOI" if extended else "STOI", estimate.size / RATE
        raise UndefinedScore(f"{name} of {seconds:.2f} s: needs 0.4 s of speech after silence is dropped") from error
    finally:
        np.random.set_state(state)
