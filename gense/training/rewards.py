"""Rewards: metrics with weights, each brought to a common scale."""

from __future__ import annotations

import math
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from gense.metrics import Clip, Metric, score_clip
from gense.metrics.registry import chosen_metrics

SCALES: dict[str, tuple[float, float]] = {
    "pesq": (1.0, 4.64), "pesq_nb": (1.0, 4.55), "estoi": (0.0, 1.0), "stoi": (0.0, 1.0), "si_sdr": (-10.0, 30.0),
    "dnsmos": (1.0, 5.0), "pdnsmos": (1.0, 5.0), "dnsmos_p808": (1.0, 5.0), "speaker_similarity": (0.0, 1.0),
    "speech_bert_score": (0.0, 1.0), "wer": (1.0, 0.0), "dwer": (1.0, 0.0), "lps": (0.0, 1.0), "semdist": (1.0, 0.0),
    "lsd": (10.0, 0.0), "composite": (1.0, 5.0),
}  # fmt: skip
"""Metric -> the scores that count as 0 and 1. A lower score may be the better one."""


@dataclass(frozen=True)
class Reward:
    """One metric of a reward.

    Args:
        metric: a name as `gense evaluate --metrics` takes it: "dnsmos", "pesq", "speaker_similarity:resemblyzer",
            "wer:pocketsphinx", ...
        weight: of its scaled score in the sum; 0 only logs it.
        column: which of several scores it gives, such as "dnsmos_sig"; None takes the first.
        worst: score that counts as 0; None takes that of `SCALES`.
        best: score that counts as 1; may be lower than `worst`.

    Raises:
        ValueError: a scale that is not known and not given, or of no length.
    """

    metric: str
    weight: float = 1.0
    column: str | None = None
    worst: float | None = None
    best: float | None = None

    def __post_init__(self) -> None:
        known = SCALES.get(self.metric.partition(":")[0], (None, None))
        if (self.worst is None or self.best is None) and None in known:
            raise ValueError(f"reward {self.metric!r} has no usual scale: give worst and best")
        if self.ends[0] == self.ends[1]:
            raise ValueError(f"reward {self.metric!r}: worst = best = {self.ends[0]}: need two scores")

    @property
    def ends(self) -> tuple[float, float]:
        """The scores that count as 0 and 1."""
        worst, best = SCALES.get(self.metric.partition(":")[0], (0.0, 1.0))
        return worst if self.worst is None else self.worst, best if self.best is None else self.best

    def scaled(self, score: float) -> float:
        """The score on the scale from 0 to 1, which it may leave; an undefined score counts as the worst."""
        worst, best = self.ends
        return 0.0 if math.isnan(score) else (score - worst) / (best - worst)


class Rewards:
    """Scores clips by several rewards, in this process or in others.

    Args:
        rewards: at least one.
        workers: processes that score; 0 is this one. They start at the first call and end with `close`.

    Raises:
        ImportError: a package that a metric needs is not installed.
        OSError: a model that a metric needs is not on this machine.
        ValueError: no reward, no weight but 0, an unknown metric, or a column that it does not give.
    """

    def __init__(self, rewards: Sequence[Reward], *, workers: int = 0):
        if not rewards or not any(reward.weight for reward in rewards):
            raise ValueError("rewards: give at least one with a weight other than 0")
        if workers < 0:
            raise ValueError(f"workers={workers}: need at least 0")
        self.rewards, self.workers = list(rewards), workers
        self.metrics = list(dict.fromkeys(reward.metric for reward in rewards))
        metrics = {metric.name: metric for metric in chosen_metrics(self.metrics)}
        self.columns = [_column(reward, metrics[reward.metric]) for reward in rewards]
        self.needs = {need for metric in metrics.values() for need in metric.needs}
        self.weights = torch.tensor([reward.weight for reward in rewards], dtype=torch.float64)
        self._pool: ProcessPoolExecutor | None = None

    def __call__(self, clips: Sequence[Clip]) -> tuple[Tensor, list[dict[str, float]]]:
        """Scaled scores, float64 (clips, rewards), and the scores themselves by column.

        Raises:
            ValueError: a clip lacks what a metric needs.
        """
        missing = {need for need in self.needs if any(getattr(clip, need) is None for clip in clips)}
        if missing:
            raise ValueError(f"rewards {', '.join(self.metrics)} need {', '.join(sorted(missing))}: not in this data")
        score = partial(score_clip, metrics=self.metrics)
        if self.workers:
            if self._pool is None:
                # Not forked: a process with threads of torch inside may hang. One thread each, as they share the cores
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(self.workers, context, torch.set_num_threads, (1,))
            size = max(1, len(clips) // (4 * self.workers))
            scores = list(self._pool.map(score, clips, chunksize=size))
        else:
            scores = [score(clip) for clip in clips]
        return torch.tensor([self.scaled(one) for one in scores], dtype=torch.float64), scores

    def scaled(self, scores: dict[str, float]) -> list[float]:
        """The scaled score of each reward."""
        return [
            reward.scaled(scores[column]) for reward, column in zip(self.rewards, self.columns, strict=True)
        ]

    def total(self, scores: dict[str, float]) -> float:
        """The weighted sum."""
        return sum(reward.weight * value for reward, value in zip(self.rewards, self.scaled(scores), strict=True))

    def close(self) -> None:
        """End the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _column(reward: Reward, metric: Metric) -> str:
    column = reward.column or metric.columns[0]
    if column not in metric.columns:
        raise ValueError(f"reward {reward.metric!r} gives {', '.join(metric.columns)}, not {column!r}")
    return column
