"""What a sweep measured: the cells of the grid, the best of them, and the recommended one per budget."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Cost = Literal["calls", "rtf"]
COSTS = ("calls", "rtf")


@dataclass(frozen=True)
class Cell:
    """One setting.

    Attributes:
        method: its name in the sweep.
        sampler: None for the method's own, and where nothing is sampled.
        schedule: likewise.
        steps: likewise.
        dtype: of the network.
        options: of sampler and schedule, and guidance, by name.
    """

    method: str
    sampler: str | None = None
    schedule: str | None = None
    steps: int | None = None
    dtype: str = "float32"
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def label(self) -> str:
        """For people: "flowse, heun, 4 steps, churn=0.5". What is the method's own is left out."""
        count = f"{self.steps} step{'' if self.steps == 1 else 's'}" if self.steps is not None else None
        parts = [self.method, self.sampler, self.schedule, count, None if self.dtype == "float32" else self.dtype]
        return ", ".join([*filter(None, parts), *(f"{name}={value}" for name, value in self.options)])


@dataclass
class CellResult:
    """What one setting gave.

    Attributes:
        cell: the setting.
        scores: column -> mean over the files. A file for which a score is undefined makes the mean NaN, unless it is
            undefined for its noisy input, too; such files are left out.
        calls: network calls per file, counted.
        rtf: seconds of work per second of audio.
        seconds: work per file.
        per_file: a mapping for each file: "file" (its name), a score for each column, and "calls", "seconds" (of work)
            and "duration" (of the audio, seconds).
    """

    cell: Cell
    scores: dict[str, float]
    calls: float
    rtf: float
    seconds: float
    per_file: list[dict[str, float | str]]

    def cost(self, kind: Cost) -> float:
        """Network calls per file, or the real-time factor.

        Raises:
            ValueError: another kind.
        """
        if kind not in COSTS:
            raise ValueError(f"cost={kind!r}: expected one of {', '.join(COSTS)}")
        return self.calls if kind == "calls" else self.rtf


@dataclass
class Sweep:
    """The results of a sweep.

    Attributes:
        cells: what each setting gave, in the order of the grid.
        columns: names of the scores.
        files: names of the files.
        lower_is_better: the columns in which less is better.
        noisy: column -> mean score of the inputs as they are.
        refused: label -> why this setting was not tried.
        failed: label -> what went wrong when it was tried; it has no place among `cells`.
    """

    cells: list[CellResult]
    columns: list[str]
    files: list[str]
    lower_is_better: frozenset[str] = frozenset()
    noisy: dict[str, float] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def gain(self, result: CellResult, quality: str) -> float:
        """A score with its sign turned where less is better, so that more is better.

        Raises:
            ValueError: no such column.
        """
        if quality not in self.columns:
            raise ValueError(f"quality={quality!r}: expected one of {', '.join(self.columns)}")
        score = result.scores[quality]
        return -score if quality in self.lower_is_better else score

    def pareto(self, quality: str, cost: Cost) -> list[CellResult]:
        """The settings that no other one beats: none is at least as good and as cheap, and better in one of the two.

        Returns:
            Them by rising cost, hence by rising quality. Settings whose quality is NaN are left out.

        Raises:
            ValueError: no such quality or cost.
        """
        best, front = -math.inf, []
        spent = math.nan
        for result in self._by_cost(quality, cost):
            gain, price = self.gain(result, quality), result.cost(cost)
            if gain > best or (gain == best and price == spent):
                front.append(result)
                best, spent = gain, price
        return front

    def recommend(self, quality: str, cost: Cost, budgets: Iterable[float]) -> dict[float, CellResult]:
        """The best setting that each budget pays for, and the cheapest of several best.

        Args:
            quality: a column.
            cost: what the budget is counted in.
            budgets: the most that a setting may cost.

        Returns:
            Budget -> setting. A budget that pays for none is left out.

        Raises:
            ValueError: no such quality or cost.
        """
        front = self.pareto(quality, cost)
        affordable = {budget: [result for result in front if result.cost(cost) <= budget] for budget in budgets}
        return {
            budget: max(results, key=lambda result: self.gain(result, quality))
            for budget, results in affordable.items() if results
        }

    def _by_cost(self, quality: str, cost: Cost) -> list[CellResult]:
        """The settings of defined quality, the cheapest first, of equal cost the best first."""
        defined = [result for result in self.cells if not math.isnan(self.gain(result, quality))]
        return sorted(defined, key=lambda result: (result.cost(cost), -self.gain(result, quality)))
