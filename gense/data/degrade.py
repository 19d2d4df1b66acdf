"""What turns clean speech into training input, drawn anew for every item: the base class and what its classes share.

Each takes (clean, noisy) of shape (S,) and a generator and returns a new pair; clean changes only where the target
does. The classes lie in `gense.data.degradations`, one idea a file.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]


class Degradation:
    """A random change of a (clean, noisy) pair, applied with some probability.

    Args:
        probability: share of items.

    Raises:
        ValueError: it is not within 0 and 1.
    """

    probability: float = 1.0

    def __init__(self, probability: float = 1.0):
        if not 0 <= probability <= 1:
            raise ValueError(f"probability={probability}: expected 0 to 1, the share of items that are changed")
        self.probability = probability

    def prepare(self, sample_rate: int) -> None:
        """Load what the degradation needs, once, before workers start."""

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the changed pair, float32 (S,) each, without writing into what is given."""
        raise NotImplementedError


def degrade(
    clean: np.ndarray, noisy: np.ndarray, degradations: Sequence[Degradation], rng: np.random.Generator
) -> Pair:
    """Apply degradations in order, each with its own probability; float32 (S,) each."""
    for degradation in degradations:
        if rng.random() < degradation.probability:
            clean, noisy = degradation(clean, noisy, rng)
    return np.ascontiguousarray(clean, np.float32), np.ascontiguousarray(noisy, np.float32)


def rms(wav: np.ndarray) -> float:
    """Root mean square of (S,)."""
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))


def active_level(wav: np.ndarray, sample_rate: int) -> float:
    """RMS over the 20 ms frames whose power lies within 30 dB of the 95th percentile frame."""
    size = max(1, sample_rate // 50)
    frames = wav[: len(wav) // size * size].reshape(-1, size)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    loud = power[power >= 1e-3 * np.percentile(power, 95)]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


def checked_range(
    name: str, given: Sequence[float], *, least: float = -math.inf, most: float = math.inf
) -> tuple[float, float]:
    """Return (low, high) of a setting.

    Raises:
        ValueError: these are not two numbers in rising order within `least` and `most`.
    """
    if len(given) != 2 or not least <= given[0] <= given[1] <= most:
        limits = f", within {least:g} and {most:g}" if math.isfinite(least) or math.isfinite(most) else ""
        raise ValueError(f"{name}={tuple(given)}: need (low, high){limits}")
    return float(given[0]), float(given[1])


def normalised(shares: Sequence[float], name: str) -> np.ndarray:
    """Shares as probabilities, (N,).

    Raises:
        ValueError: one is negative, or none is above 0.
    """
    total = sum(shares)
    if not total > 0 or min(shares) < 0:
        raise ValueError(f"{name}: shares {list(shares)} need to be >= 0, one of them above")
    return np.array(shares, dtype=float) / total


def pick(options: Sequence[Any], shares: np.ndarray, rng: np.random.Generator) -> Any:
    """Draw one of the options by their probabilities."""
    return options[int(rng.choice(len(options), p=shares))]


def random_filter(wav: np.ndarray, rng: np.random.Generator, depth_db: float = 4.0) -> np.ndarray:
    """Filter (S,) with zero phase through a response drawn at eight points of the frequency axis."""
    spectrum = np.fft.rfft(wav)
    points = rng.normal(0.0, depth_db, 8)
    response = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), points)
    return np.fft.irfft(spectrum * 10 ** (response / 20), len(wav))


def zero_phase(wav: np.ndarray, response: np.ndarray, pad: int) -> np.ndarray:
    """Filter (S,) by a real response over the frequencies of a transform of S + pad samples, without delay.

    Args:
        wav: (S,).
        response: gains, ((S + pad) // 2 + 1,).
        pad: zeros against which the response rings, instead of against the other end of the signal.
    """
    size = len(wav) + pad
    return np.fft.irfft(np.fft.rfft(wav, size) * response, size)[: len(wav)].astype(np.float32)


def smooth_curve(length: int, spacing: int, rng: np.random.Generator) -> np.ndarray:
    """A random curve (S,) through normal values every `spacing` samples, joined by raised cosines.

    It starts anywhere between two of these values, so that no item begins with one.
    """
    points = rng.standard_normal(length // spacing + 3)
    place = np.arange(length) / spacing + rng.random()
    index = place.astype(int)
    share = 0.5 - 0.5 * np.cos(np.pi * (place - index))
    return (1 - share) * points[index] + share * points[index + 1]
