"""The figures of an evaluation as the report needs them: by column, with change, ranking and direction."""

from __future__ import annotations

import math

import numpy as np

from gense.evaluation.result import Evaluation
from gense.evaluation.statistics import compare
from gense.report.numbers import decimals_of, name_of, number
from gense.report.page import text


class Figures:
    """An evaluation, column by column.

    Attributes:
        evaluation: what they come from.
        columns: those that have a score for at least one file.
        paired: whether there are scores of noisy inputs to compare with.
        enhanced: column -> score of each file; NaN where there is none.
        noisy: the same of the noisy inputs.
        change: enhanced - noisy.
        by_change: whether files are ranked by their change in the first column, and not by their score.
        decimals: column -> digits after the point in print.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        self.evaluation = evaluation
        values = {column: evaluation.values(column) for column in evaluation.columns()}
        self.columns = [column for column, scores in values.items() if not all(map(math.isnan, scores))]
        self.enhanced = {column: values[column] for column in self.columns}
        self.noisy = {column: evaluation.values(column, noisy=True) for column in self.columns}
        self.change = {
            column: [e - n for e, n in zip(self.enhanced[column], self.noisy[column], strict=True)]
            for column in self.columns
        }
        self.decimals = {column: decimals_of(self.enhanced[column] + self.noisy[column]) for column in self.columns}
        self.paired = any(not math.isnan(value) for scores in self.change.values() for value in scores)
        self.by_change = any(not math.isnan(value) for column in self.columns[:1] for value in self.change[column])

    def name(self, column: str) -> str:
        """What a column is called in print."""
        return name_of(column)

    def lower(self, column: str) -> bool:
        """Whether less is better."""
        return column in self.evaluation.lower_is_better

    def kind(self, column: str, change: float) -> str:
        """ "up" for a change to the better, "down" for one to the worse, "" for none."""
        if math.isnan(change) or change == 0:
            return ""
        return "up" if (change < 0) == self.lower(column) else "down"

    def ranking(self) -> list[int]:
        """Files with a score in the first column, the worst first: by change, or by score where nothing is paired."""
        if not self.columns:
            return []
        first = self.columns[0]
        sign = -1 if self.lower(first) else 1
        keys = [sign * value for value in (self.change if self.by_change else self.enhanced)[first]]
        return sorted((i for i, key in enumerate(keys) if not math.isnan(key)), key=lambda i: keys[i])

    def spread(self, most: int) -> list[int]:
        """At most so many files, evenly over the ranking, both ends among them; unranked ones come last."""
        ranked = self.ranking()
        order = ranked + sorted(set(range(len(self.evaluation.files))) - set(ranked))
        if len(order) <= most:
            return order
        return [order[i] for i in np.linspace(0, len(order) - 1, most).round().astype(int)]

    def extremes(self, most: int) -> tuple[list[int], list[int]]:
        """The worst and the best files, at most so many of each, the most extreme first; no file is both."""
        order = self.ranking()
        low = min(most, (len(order) + 1) // 2)
        high = min(most, len(order) - low)
        return order[:low], order[::-1][:high]

    def finding(self, column: str) -> str:
        """What happened to the mean of a column, in a sentence, as HTML."""
        name, decimals = text(self.name(column)), self.decimals[column]
        pairs = [(e, n) for e, n in zip(self.enhanced[column], self.noisy[column], strict=True) if e == e and n == n]
        if not pairs:
            mean = self.evaluation.means()[column].mean
            return f"The mean {name} is <b>{number(mean, decimals)}</b>."
        enhanced, noisy = (list(values) for values in zip(*pairs, strict=True))
        found = compare(enhanced, noisy)
        change = found.difference
        before, after = (number(float(np.mean(values)), decimals) for values in (noisy, enhanced))
        if len(pairs) == 1:
            return f"{name} goes from <b>{before}</b> to <b>{after}</b> ({number(change.mean, decimals, signed=True)})."
        better, worse = (found.losses, found.wins) if self.lower(column) else (found.wins, found.losses)
        moved = "rises" if change.mean > 0 else "falls" if change.mean < 0 else "stays"
        extent = number(change.mean, decimals, signed=True)
        if not math.isnan(change.low):
            low, high = (number(end, decimals, signed=True) for end in (change.low, change.high))
            extent += f", 95 % interval {low} to {high}"
        return (
            f"Mean {name} {moved} from <b>{before}</b> to <b>{after}</b> ({extent}). "
            f"It gets better on {better} of {len(pairs)} files and worse on {worse or 'none'}."
        )
