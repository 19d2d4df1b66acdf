"""Colour of the recording chain."""

from __future__ import annotations

import numpy as np

from gense.data.degrade import Degradation, Pair, random_filter


class Equalise(Degradation):
    """Colour the input with a smooth random response, which the target does not have.

    Args:
        probability: share of items.
        depth_db: standard deviation of the response at its control points, dB.
    """

    def __init__(self, *, probability: float = 0.2, depth_db: float = 3.0):
        super().__init__(probability)
        self.depth_db = depth_db

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        return clean, random_filter(noisy, rng, self.depth_db).astype(np.float32)
