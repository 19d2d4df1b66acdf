"""A sweep in words: Markdown tables of all settings, of the best ones, and of the recommended one per budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gense.sweeps.result import CellResult, Cost, Sweep
from gense.sweeps.table import NOISY

BUDGETS: dict[Cost, tuple[float, ...]] = {"calls": (1, 2, 4, 8, 16, 32), "rtf": (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)}
"""The budgets that are asked about unless others are named."""

UNIT: dict[Cost, str] = {"calls": "network calls per file", "rtf": "real-time factor"}


def markdown(sweep: Sweep) -> str:
    """All settings, the noisy input first: scores, network calls per file, real-time factor."""
    rows = [[result.cell.label, *_scores(sweep, result.scores), *_costs(result)] for result in sweep.cells]
    if sweep.noisy:
        rows.insert(0, [NOISY, *_scores(sweep, sweep.noisy), "", ""])
    return _table(["setting", *sweep.columns, "calls", "RTF"], rows)


def summary(sweep: Sweep, quality: str, budgets: dict[Cost, Sequence[float]] | None = None) -> str:
    """The Pareto fronts and the recommended settings for both costs, in Markdown.

    Args:
        sweep: the results.
        quality: a column.
        budgets: cost -> budgets; `BUDGETS` where a cost is not named.

    Raises:
        ValueError: no such column.
    """
    parts = []
    for cost, usual in BUDGETS.items():
        front = sweep.pareto(quality, cost)
        rows = [[result.cell.label, f"{result.scores[quality]:.4g}", *_costs(result)] for result in front]
        parts.append(f"Not beaten in {quality} at their {UNIT[cost]}:\n")
        parts.append(_table(["setting", quality, "calls", "RTF"], rows) + "\n")
        asked = list((budgets or {}).get(cost, usual))
        advice = sweep.recommend(quality, cost, asked)
        rows = [
            [f"{budget:g}", *([r.cell.label, f"{r.scores[quality]:.4g}", *_costs(r)] if (r := advice.get(budget))
                              else ["none is that cheap", "", "", ""])]
            for budget in asked
        ]  # fmt: skip
        parts.append(f"Recommended for a budget in {UNIT[cost]}:\n")
        parts.append(_table(["at most", "setting", quality, "calls", "RTF"], rows) + "\n")
    return "\n".join(parts).rstrip()


def _scores(sweep: Sweep, scores: dict[str, float]) -> list[str]:
    return [f"{scores[column]:.4g}" for column in sweep.columns]


def _costs(result: CellResult) -> list[str]:
    return [f"{result.calls:.3g}", f"{result.rtf:.3g}"]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
