"""What is wrong with an estimate: noise that is left, or artefacts that were added."""

from __future__ import annotations

import numpy as np

from .signals import Signal, UndefinedScore, as_pair

# Energies under this fraction of the estimate's are rounding of float64 (-280 dB) and count as zero.
_ROUNDING = 1e-28


def si_sir(est: Signal, clean: Signal, noisy: Signal) -> float:
    """Scale-invariant signal-to-interference ratio in dB: how far the noise of the input is under the speech.

    SI-SIR = 10 log10 |e_target|^2 / |e_interf|^2 (Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019).
    With s the clean speech, n = noisy - clean the noise, and P the orthogonal projection on the span of its arguments
    (the decomposition of Vincent et al., "Performance measurement in blind audio source separation", IEEE TASLP 2006,
    without their filters):

        e_target = P(s) est,  e_interf = P(s, n) est - P(s) est,  e_artif = est - P(s, n) est

    The three are orthogonal, so that 10^(-SI-SDR/10) = 10^(-SI-SIR/10) + 10^(-SI-SAR/10). Evaluation code that projects
    on s and n one by one takes them for orthogonal; it differs where noise and speech correlate.

    Args:
        est: estimate, (S,).
        clean: clean reference, (S,), sample-aligned.
        noisy: what was enhanced, (S,), sample-aligned.

    Returns:
        dB; inf where no noise is left, -inf where no speech is.

    Raises:
        UndefinedScore: the input has no noise: it is a multiple of the clean speech.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    target, interference, _ = _energies(est, clean, noisy)
    return _decibels(target, interference)


def si_sar(est: Signal, clean: Signal, noisy: Signal) -> float:
    """Scale-invariant signal-to-artefacts ratio in dB: 10 log10 |e_target|^2 / |e_artif|^2, parts as in `si_sir`.

    Artefacts are what is neither speech nor noise of the input: musical noise, distorted or invented speech.

    Returns:
        dB; inf for any mixture of clean speech and noise, such as the input itself, for nothing was added to it.

    Raises:
        UndefinedScore: the input has no noise: it is a multiple of the clean speech.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    target, _, artefacts = _energies(est, clean, noisy)
    return _decibels(target, artefacts)


def _energies(est: Signal, clean: Signal, noisy: Signal) -> tuple[float, float, float]:
    """Energies of e_target, e_interf and e_artif."""
    estimate, speech = as_pair(est, clean)
    mixture, _ = as_pair(noisy, clean)
    # The noise's part orthogonal to the speech spans, with the speech, the same plane.
    noise = _without(mixture, speech)
    if np.dot(noise, noise) <= _ROUNDING * np.dot(mixture, mixture):
        raise UndefinedScore("noisy is a multiple of clean: without noise there is nothing to tell from artefacts")
    residual = _without(estimate, speech)
    # A second pass removes what rounding left of the speech, which would pass for artefacts.
    noise, residual = _without(noise, speech), _without(residual, speech)
    artefacts = _without(residual, noise)
    total = np.dot(estimate, estimate)
    parts = (
        np.dot(estimate, speech) ** 2 / np.dot(speech, speech),
        np.dot(residual, noise) ** 2 / np.dot(noise, noise),
        np.dot(artefacts, artefacts),
    )
    target, interference, rest = (float(part) if part > _ROUNDING * total else 0.0 for part in parts)
    return target, interference, rest


def _without(signal: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """The part of a signal that is orthogonal to a direction."""
    return signal - np.dot(signal, direction) / np.dot(direction, direction) * direction


def _decibels(target: float, rest: float) -> float:
    if target == 0.0:
        return -np.inf
    return float(10.0 * np.log10(target / rest)) if rest else np.inf
