"""Clipping: an overloaded microphone or converter."""

from __future__ import annotations

import numpy as np

from gense.data.degrade import Degradation, Pair, checked_range


class Clip(Degradation):
    """Cut the peaks of the input, hard or rounded.

    The ceiling is the level above which a drawn share of the samples lies, so the damage does not depend on the level;
    or, with `ceiling`, a fixed one, as of a converter.

    Args:
        share: range of the share of samples above the ceiling, drawn evenly on a logarithmic scale.
        soft_share: share of clipped items that are rounded by c tanh(x / c), c being the ceiling, as by an analogue
            stage, instead of cut.
        ceiling: full scale is 1; None takes it from `share`.
        probability: share of items.

    Raises:
        ValueError: a share is not within 0 and 1, or the ceiling is not above 0.
    """

    def __init__(
        self,
        *,
        share: tuple[float, float] = (0.001, 0.1),
        soft_share: float = 0.3,
        ceiling: float | None = None,
        probability: float = 0.1,
    ):
        super().__init__(probability)
        self.share = checked_range("share", share, least=1e-6, most=1.0)
        if not 0 <= soft_share <= 1:
            raise ValueError(f"soft_share={soft_share}: expected 0 to 1")
        if ceiling is not None and not ceiling > 0:
            raise ValueError(f"ceiling={ceiling}: expected a value above 0, where full scale is 1")
        self.soft_share, self.ceiling = soft_share, ceiling

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        share = np.exp(rng.uniform(*np.log(self.share)))
        soft = rng.random() < self.soft_share
        ceiling = self.ceiling or float(np.quantile(np.abs(noisy), 1 - share))
        if ceiling <= 0:  # more silence than samples to keep
            return clean, noisy
        cut = ceiling * np.tanh(noisy / ceiling) if soft else np.clip(noisy, -ceiling, ceiling)
        return clean, cut.astype(np.float32)
