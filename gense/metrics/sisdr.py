"""Scale-invariant signal-to-distortion ratio."""

from __future__ import annotations

import numpy as np

from .signals import Signal, as_pair


def si_sdr(est: Signal, ref: Signal) -> float:
    """SI-SDR in dB, equations 4 and 5 of Le Roux et al., "SDR - half-baked or well done?" (ICASSP 2019).

    The estimate is split into its projection on the reference and the rest, so a gain on either signal changes nothing.
    The mean is not removed: a constant offset counts as distortion.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,), sample-aligned.

    Returns:
        dB; inf for an exact multiple of the reference, -inf for an estimate orthogonal to it.

    Raises:
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    estimate, reference = as_pair(est, ref)
    target = np.dot(estimate, reference) / np.dot(reference, reference) * reference
    distortion = estimate - target
    with np.errstate(divide="ignore"):
        return float(10.0 * np.log10(np.dot(target, target) / np.dot(distortion, distortion)))
