"""Weighted spectral slope distance."""

from __future__ import annotations

import numpy as np

from .segsnr import RATE, mean_of_best, windowed
from .signals import Signal, as_pair, at_rate

_BINS = 512  # of a transform of 1024 points, without the last
# Centres and widths in Hz of the 25 critical bands (published with Loizou, "Speech enhancement: theory and practice",
# 2007); above 540 Hz, each centre is the one before plus its width.
_CENTRES = (
    50.0, 120.0, 190.0, 260.0, 330.0, 400.0, 470.0, 540.0, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17, 3597.63,
)  # fmt: skip
_WIDTHS = (
    70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 70.0, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423,
    153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465, 346.136,
)  # fmt: skip
_NEAR_GLOBAL, _NEAR_LOCAL = 20.0, 1.0  # Klatt's K_max and K_locmax, dB


def weighted_spectral_slope(est: Signal, ref: Signal, sample_rate: int) -> float:
    """WSS: squared difference of the slopes between neighbouring critical bands, in dB, weighted towards the peaks of
    the spectra; mean over the best 95 % of frames of 30 ms.

    Klatt, "Prediction of perceived phonetic distance from critical-band spectra" (ICASSP 1982), as in the composite
    measures of Hu and Loizou (2008). The bands end at 3.8 kHz.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,), sample-aligned.
        sample_rate: of both, in Hz; any other than 16 kHz is resampled first.

    Returns:
        0 for identical signals, and for an estimate that differs by a gain; lower is better.

    Raises:
        UndefinedScore: shorter than 37.5 ms.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    estimate, reference = (at_rate(signal, sample_rate, RATE) for signal in as_pair(est, ref))
    bands = _critical_bands()
    ours, theirs = (_decibels(windowed(signal), bands) for signal in (estimate, reference))
    weights = (_weights(ours) + _weights(theirs)) / 2.0
    squares = np.square(np.diff(ours, axis=1) - np.diff(theirs, axis=1))
    return mean_of_best((weights * squares).sum(axis=1) / weights.sum(axis=1))


def _critical_bands() -> np.ndarray:
    """Weights of the bins, (25, 512): bells of equal area, cut off under exp(-6.51), 28 dB below the narrowest."""
    per_hertz = _BINS / (RATE / 2.0)
    centres, widths = np.array(_CENTRES)[:, None], np.array(_WIDTHS)[:, None]
    distance = (np.arange(_BINS) - np.floor(centres * per_hertz)) / (widths * per_hertz)
    bells = np.exp(-11.0 * np.square(distance)) * _WIDTHS[0] / widths
    return np.where(bells > np.exp(-30.0 / (2.0 * 2.303)), bells, 0.0)


def _decibels(pieces: np.ndarray, bands: np.ndarray) -> np.ndarray:
    """Frames (T, 480) -> energy in each band, (T, 25), at least -100 dB."""
    power = np.square(np.abs(np.fft.rfft(pieces, 2 * _BINS)[:, :_BINS]))
    return 10.0 * np.log10(np.maximum(power @ bands.T, 1e-10))


def _weights(energy: np.ndarray) -> np.ndarray:
    """(T, 25) dB -> weight of each slope, (T, 24): near 1 close to the largest peak and to the nearest one.

    The nearest peak lies uphill. As in the published code, from the foot of a rise it is the last band that still
    rises, one short of the summit.
    """
    rising = np.diff(energy, axis=1) > 0
    base = energy[:, :-1]
    count = base.shape[1]
    above, below = base.copy(), base.copy()
    for band in range(count - 2, -1, -1):
        above[:, band] = np.where(rising[:, band + 1], above[:, band + 1], base[:, band])
    for band in range(1, count):
        below[:, band] = np.where(rising[:, band - 1], base[:, band], below[:, band - 1])
    nearest = np.where(rising, above, below)
    largest = energy.max(axis=1, keepdims=True)
    return _NEAR_GLOBAL / (_NEAR_GLOBAL + largest - base) * _NEAR_LOCAL / (_NEAR_LOCAL + nearest - base)
