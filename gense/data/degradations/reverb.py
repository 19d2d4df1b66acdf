"""Reverberation by impulse responses of rooms, measured or simulated elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from gense.data.clips import Clips
from gense.data.degrade import Degradation, Pair

Target = Literal["dry", "early"]


class Reverb(Degradation):
    """Convolve the input with a room impulse response; the target stays aligned to the direct path.

    Args:
        folders: sources of impulse responses.
        target: "dry" keeps the target as it is; "early" gives it the direct path and the first reflections, which
            support speech instead of blurring it, so that a model need not undo them.
        early_ms: length of these after the direct path, ms.
        probability: share of items.

    Raises:
        ValueError: another target, or a negative length.
    """

    def __init__(
        self,
        folders: Sequence[str],
        *,
        target: Target = "dry",
        early_ms: float = 50.0,
        probability: float = 0.3,
    ):
        super().__init__(probability)
        check_target(target, early_ms)
        self.folders, self.target, self.early_ms = list(folders), target, early_ms

    def prepare(self, sample_rate: int) -> None:
        self.rirs = Clips(self.folders, sample_rate)
        self.rirs.load()

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        h = self.rirs[int(rng.integers(len(self.rirs)))]
        early = round(self.early_ms / 1000 * self.rirs.sample_rate) if self.target == "early" else None
        return reverberate(clean, noisy, h, early)


def check_target(target: str, early_ms: float) -> None:
    """Refuse what `reverberate` cannot make.

    Raises:
        ValueError: another target than "dry" and "early", or a negative length.
    """
    if target not in ("dry", "early"):
        raise ValueError(f"target={target!r}: expected dry or early")
    if early_ms < 0:
        raise ValueError(f"early_ms={early_ms}: expected a length in ms, 0 or more")


def reverberate(clean: np.ndarray, noisy: np.ndarray, h: np.ndarray, early: int | None) -> Pair:
    """Put (S,) into a room, float32 (S,) each.

    Args:
        clean: the target.
        noisy: the input.
        h: impulse response, (R,). Its direct path gets the gain 1 and the delay 0.
        early: samples after the direct path that the target gets, too; None leaves the target dry.
    """
    # A strong reflection may exceed the direct path, which comes first all the same
    direct = int(np.argmax(np.abs(h) >= 0.5 * np.abs(h).max()))
    if h[direct] == 0:  # a silent file
        return clean, noisy
    wet = _convolved(noisy, h / h[direct], direct)
    if early is not None:
        clean = _convolved(clean, h[: direct + early + 1] / h[direct], direct)
    return clean, wet


def _convolved(wav: np.ndarray, h: np.ndarray, start: int) -> np.ndarray:
    size = len(wav) + len(h) - 1
    wet = np.fft.irfft(np.fft.rfft(wav, size) * np.fft.rfft(h, size), size)
    return wet[start : start + len(wav)].astype(np.float32)
