"""What an evaluation leaves: the scores of every file, and their means."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gense.evaluation.statistics import Interval, interval


@dataclass
class FileScores:
    """One file and its scores.

    Attributes:
        name: relative path without suffix, with "/" between folders.
        scores: column -> score of the enhanced file; NaN where a score is undefined for it.
        noisy_scores: the same for the noisy input; empty where none was given.
        seconds: length that was scored.
        est: the enhanced file.
        clean: its clean reference.
        noisy: what was enhanced.
    """

    name: str
    scores: dict[str, float]
    noisy_scores: dict[str, float]
    seconds: float
    est: Path
    clean: Path | None = None
    noisy: Path | None = None


@dataclass
class Evaluation:
    """The scores of a set of files.

    Attributes:
        files: sorted by name.
        failed: name -> why the file has no scores.
        lower_is_better: columns of which less is better, as of error rates.
        left_out: names of clean or noisy files without an enhanced one.
    """

    files: list[FileScores]
    failed: dict[str, str] = field(default_factory=dict)
    lower_is_better: frozenset[str] = frozenset()
    left_out: list[str] = field(default_factory=list)

    def columns(self) -> list[str]:
        """Names of the scores, in the order of the metrics."""
        return list(dict.fromkeys(column for file in self.files for column in file.scores))

    def values(self, column: str, *, noisy: bool = False) -> list[float]:
        """One score of every file, in the order of `files`; NaN where a file has none."""
        nan = float("nan")
        return [(file.noisy_scores if noisy else file.scores).get(column, nan) for file in self.files]

    def means(self, *, noisy: bool = False) -> dict[str, Interval]:
        """Column -> mean over files with its 95 % confidence interval; of the noisy inputs if so asked.

        Columns of which no file has a score are left out.
        """
        found = {column: interval(self.values(column, noisy=noisy)) for column in self.columns()}
        return {column: mean for column, mean in found.items() if mean.count}
