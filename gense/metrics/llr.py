"""Log-likelihood ratio of linear predictors."""

from __future__ import annotations

import numpy as np

from .segsnr import RATE, mean_of_best, windowed
from .signals import Signal, as_pair, at_rate

ORDER = 16
# White noise at -160 dB of full scale, added to each autocorrelation: a digitally silent frame has a flat spectrum
# instead of none. On speech it changes nothing in seven digits. The code that Loizou published adds an offset of 2e-16
# to the samples; what it then gives for such frames is rounding, and differs from one implementation to the next.
_FLOOR = 1e-14


def log_likelihood_ratio(est: Signal, ref: Signal, sample_rate: int) -> float:
    """LLR = log (a_e R a_e') / (a_r R a_r'), mean over the best 95 % of frames of 30 ms.

    a_e and a_r are the prediction-error filters of order 16 of estimate and reference, R is the autocorrelation matrix
    of the reference (Quackenbush et al., "Objective measures of speech quality", 1988). As in the composite measures of
    Hu and Loizou (2008), a frame is not limited to 2, as it is where the LLR is reported by itself.

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
    lags = _autocorrelation(windowed(reference))
    best, theirs = _predictor(lags), _predictor(_autocorrelation(windowed(estimate)))
    offsets = np.abs(np.subtract.outer(np.arange(ORDER + 1), np.arange(ORDER + 1)))
    matrices = lags[:, offsets]
    ratios = np.einsum("ti,tij,tj->t", theirs, matrices, theirs) / np.einsum("ti,tij,tj->t", best, matrices, best)
    # The reference's own predictor is the best there is: a ratio under 1 is rounding.
    return mean_of_best(np.log(np.maximum(ratios, 1.0)))


def _autocorrelation(pieces: np.ndarray) -> np.ndarray:
    """Frames (T, N) -> lags 0 to 16, (T, 17)."""
    length = pieces.shape[1]
    lags = np.stack([np.einsum("tn,tn->t", pieces[:, : length - k], pieces[:, k:]) for k in range(ORDER + 1)], axis=1)
    lags[:, 0] += _FLOOR
    return lags


def _predictor(lags: np.ndarray) -> np.ndarray:
    """Prediction-error filters (T, 17), the first coefficient 1, by the Levinson-Durbin recursion."""
    filters = np.zeros_like(lags)
    filters[:, 0] = 1.0
    error = lags[:, 0].copy()
    for order in range(1, ORDER + 1):
        reflection = -np.einsum("tk,tk->t", filters[:, :order], lags[:, order:0:-1]) / error
        filters[:, 1 : order + 1] += reflection[:, None] * filters[:, order - 1 :: -1][:, :order]
        error *= 1.0 - np.square(reflection)
    return filters
