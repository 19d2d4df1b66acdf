"""Perceptual evaluation of speech quality."""

from __future__ import annotations

from typing import Literal

from .signals import Signal, UndefinedScore, as_pair, at_rate

RATE = 16000
# The reference code holds 50 utterances in fixed arrays and writes past their end: the process dies, with isolated
# syllables from 30 s on, with read speech from about 130 s on. P.862.3 advises 8 to 30 s.
LONGEST_SECONDS = 40.0


def pesq(est: Signal, ref: Signal, sample_rate: int, band: Literal["wb", "nb"] = "wb") -> float:
    """PESQ as mean opinion score: ITU-T P.862.2 (wide band) or P.862.1 (narrow band).

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,).
        sample_rate: of both, in Hz; any other than 16 kHz is resampled first.
        band: "wb" (50-7000 Hz, at most 4.64) or "nb" (telephone band, at most 4.55).

    Raises:
        ImportError: the package `pesq` is not installed.
        UndefinedScore: no speech was found in a signal, or it is shorter than a quarter of a second or
            longer than 40 s: score long recordings in pieces.
        ValueError: unknown band, the lengths differ, a signal is not (S,), not finite, or silent.
    """
    if band not in ("wb", "nb"):
        raise ValueError(f"band={band!r}: expected 'wb' or 'nb'")
    try:
        import pesq as package
    except ModuleNotFoundError as error:
        raise ImportError("pesq is not installed: pip install gense[metrics]") from error
    estimate, reference = (at_rate(signal, sample_rate, RATE) for signal in as_pair(est, ref))
    seconds = estimate.size / RATE
    if seconds > LONGEST_SECONDS:
        raise UndefinedScore(f"PESQ of {seconds:.0f} s: at most {LONGEST_SECONDS:.0f} s; average over shorter pieces")
    try:
        return float(package.pesq(RATE, reference, estimate, band))
    except (package.NoUtterancesError, package.BufferTooShortError) as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error
        raise UndefinedScore(f"PESQ of {seconds:.2f} s: {reason}") from error
