"""Log-spectral distance."""

from __future__ import annotations

import numpy as np

from .frames import frames
from .signals import Signal, UndefinedScore, as_pair

WINDOW_SECONDS = 0.032
HOP_SECONDS = 0.008
RANGE_DB = 50.0


def lsd(est: Signal, ref: Signal, sample_rate: int) -> float:
    """Log-spectral distance in dB: per frame the root mean square over frequency of the difference of the two log
    power spectra, then the mean over frames.

    Power spectra are of Hann windows of 32 ms every 8 ms. Both are floored 50 dB under the strongest bin of the
    reference, which confines the comparison to what is audible (Cohen, "Speech enhancement using a noncausal a priori
    SNR estimator", IEEE Signal Processing Letters 2004); without a floor, distances in pauses outweigh all others.

    The level counts: nothing is rescaled, an estimate g dB too loud is g dB away wherever it is above the floor; one
    gain on both signals changes nothing. Published distances differ in window, floor and rate: compare like with like.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,), sample-aligned.
        sample_rate: of both, in Hz. The whole band up to half of it counts, so a score belongs to its rate.

    Returns:
        dB, 0 for identical signals; lower is better.

    Raises:
        UndefinedScore: shorter than one window.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent; the rate is not positive.
    """
    estimate, reference = as_pair(est, ref)
    if sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate}: expected Hz, for example 16000")
    length, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    window = np.hanning(length + 1)[:-1]
    powers = [np.square(np.abs(np.fft.rfft(window * frames(signal, length, hop)))) for signal in (estimate, reference)]
    floor = powers[1].max() * 10.0 ** (-RANGE_DB / 10.0)
    if floor == 0.0:
        raise UndefinedScore("ref is silent in every whole frame")
    logs = [10.0 * np.log10(np.maximum(power, floor)) for power in powers]
    return float(np.sqrt(np.square(logs[0] - logs[1]).mean(axis=1)).mean())
