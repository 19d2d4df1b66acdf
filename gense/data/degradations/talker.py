"""Somebody else who talks at the same time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gense.data.clips import Clips, excerpt
from gense.data.degrade import Degradation, Pair, active_level, checked_range


class InterferingTalker(Degradation):
    """Add another talker, softer than the target as a rule, over a part of the item.

    The talker is drawn without regard to who speaks the target; name folders of other speakers where that matters.

    Args:
        folders: sources of speech.
        sir: range of the ratio of the target's to the other's active speech level, dB.
        overlap: range of the share of the item during which the other talks.
        probability: share of items.

    Raises:
        ValueError: no range, or a share outside 0 and 1.
    """

    def __init__(
        self,
        folders: Sequence[str],
        *,
        sir: tuple[float, float] = (3.0, 20.0),
        overlap: tuple[float, float] = (0.3, 1.0),
        probability: float = 0.1,
    ):
        super().__init__(probability)
        self.folders, self.sir = list(folders), checked_range("sir", sir)
        self.overlap = checked_range("overlap", overlap, least=0.0, most=1.0)

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.talkers = Clips(self.folders, sample_rate)
        self.talkers.load()

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        length = max(1, round(rng.uniform(*self.overlap) * len(noisy)))
        start = int(rng.integers(len(noisy) - length + 1))
        voice = excerpt(self.talkers.draw, length, rng)
        level = active_level(voice, self.sample_rate)
        ratio = rng.uniform(*self.sir)
        if level <= 0:
            return clean, noisy
        out = noisy.copy()
        gain = active_level(clean, self.sample_rate) / level * 10 ** (-ratio / 20)
        out[start : start + length] += np.float32(gain) * voice
        return clean, out
