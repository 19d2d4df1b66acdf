"""What every metric checks and converts before it computes."""

from __future__ import annotations

import numpy as np
import soxr
from torch import Tensor

Signal = np.ndarray | Tensor
"""A waveform (S,) of floats, full scale 1.0."""


class UndefinedScore(ValueError):
    """The signals are well formed but the metric has no value for them: silence, no speech found, too short."""


def as_signal(signal: Signal, name: str) -> np.ndarray:
    """(S,) array or tensor on any device -> (S,) float64, refused unless it is finite and holds some sound.

    Args:
        signal: the waveform.
        name: what the error message calls the signal.

    Raises:
        TypeError: the values are not floats (16-bit integers would pass for a signal 90 dB too loud).
        ValueError: not one-dimensional, empty, or not finite.
        UndefinedScore: every sample is zero.
    """
    if isinstance(signal, Tensor):
        # NumPy has no bfloat16; integers stay what they are, to be refused below.
        signal = signal.detach().cpu()
        array = (signal.double() if signal.is_floating_point() else signal).numpy()
    else:
        array = np.asarray(signal)
    if not np.issubdtype(array.dtype, np.floating):
        raise TypeError(f"{name} has dtype {array.dtype}: expected floats in [-1, 1] (divide 16-bit samples by 32768)")
    if array.ndim != 1 or array.size == 0:
        raise ValueError(f"{name} has shape {array.shape}: expected one channel (S,) with S >= 1")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} has {np.count_nonzero(~np.isfinite(array))} samples that are NaN or infinite")
    if not array.any():
        raise UndefinedScore(f"{name} is silent: all {array.size} samples are zero")
    return array.astype(np.float64)


def as_pair(est: Signal, ref: Signal) -> tuple[np.ndarray, np.ndarray]:
    """The estimate and its reference as (S,) float64 arrays of the same length.

    Raises:
        ValueError: the lengths differ, or one of the signals is refused by `as_signal`.
    """
    est_array, ref_array = as_signal(est, "est"), as_signal(ref, "ref")
    if est_array.size != ref_array.size:
        raise ValueError(
            f"est has {est_array.size} samples and ref {ref_array.size}: align the signals and cut them to one length"
        )
    return est_array, ref_array


def at_rate(signal: np.ndarray, sample_rate: int, metric_rate: int) -> np.ndarray:
    """Resample (S,) from `sample_rate` to the rate in Hz that the metric is defined for.

    Raises:
        ValueError: the rate is not positive.
    """
    if sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate}: expected Hz, for example 16000")
    return signal if sample_rate == metric_rate else soxr.resample(signal, sample_rate, metric_rate)
