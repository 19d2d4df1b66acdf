"""Level: how loud a recording is, and how its gain wanders."""

from __future__ import annotations

import numpy as np

from gense.data.degrade import Degradation, Pair, checked_range, smooth_curve


class Gain(Degradation):
    """Another level for input and target alike, and a gain that wanders in the input alone, as of a moving talker.

    An enhancer whose `level` is not "none" brings its input to one level first and hears nothing of the constant part;
    it matters before what depends on the level, such as `Clip` with a fixed ceiling.

    Args:
        db: range of the constant gain, dB.
        drift_db: standard deviation of the wandering gain, dB; 0 leaves it out.
        drift_seconds: time in which it wanders from one value to another.
        probability: share of items.

    Raises:
        ValueError: no range, a negative deviation, or no time.
    """

    def __init__(
        self,
        *,
        db: tuple[float, float] = (-20.0, 6.0),
        drift_db: float = 0.0,
        drift_seconds: float = 1.0,
        probability: float = 0.2,
    ):
        super().__init__(probability)
        self.db = checked_range("db", db)
        if drift_db < 0 or drift_seconds <= 0:
            raise ValueError(f"drift_db={drift_db}, drift_seconds={drift_seconds}: expected >= 0 and > 0")
        self.drift_db, self.drift_seconds = drift_db, drift_seconds

    def prepare(self, sample_rate: int) -> None:
        self.spacing = max(1, round(self.drift_seconds * sample_rate))

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        gain = 10 ** (rng.uniform(*self.db) / 20)
        clean, noisy = clean * np.float32(gain), noisy * np.float32(gain)
        if self.drift_db:
            noisy = noisy * 10 ** (self.drift_db * smooth_curve(len(noisy), self.spacing, rng) / 20)
        return clean, noisy.astype(np.float32)
