"""The plots of an evaluation: one dot per file, one plot per metric."""

from __future__ import annotations

import math

from gense.report.figures import Figures
from gense.report.numbers import count, number
from gense.report.page import text
from gense.report.plots import Dot, ranked, scatter

FIRST = 8
"""Plots that are open; those of further metrics unfold."""


def plots(figures: Figures, shown: list[int]) -> str:
    """Small plots side by side, tied by the file that is pointed at."""
    drawn = [_plot(figures, column, shown) for column in figures.columns]
    if figures.paired:
        what = (
            "Each dot is a file: its noisy score across, its enhanced score up. On the dashed line nothing changed; in "
            "the shaded half the file got better."
        )
    else:
        what = "Each dot is a file; the files are in rising order of the score."
    more = ""
    if len(drawn) > FIRST:
        rest = "".join(drawn[FIRST:])
        more = f'<details><summary>{len(drawn) - FIRST} more metrics</summary><div class="plots">{rest}</div></details>'
    return (
        f'<p class="hint">{what}</p><p class="readout" role="status">Point at a dot, or tap it, to see which file it '
        f'is.</p><div class="plots">{"".join(drawn[:FIRST])}</div>{more}'
    )


def _plot(figures: Figures, column: str, shown: list[int]) -> str:
    name, decimals = figures.name(column), figures.decimals[column]
    enhanced, noisy = figures.enhanced[column], figures.noisy[column]
    files = figures.evaluation.files
    scored = [index for index in shown if math.isfinite(enhanced[index])]
    pairs = [index for index in scored if math.isfinite(noisy[index])]
    note = ""
    if pairs:
        dots = []
        for index in pairs:
            change = figures.change[column][index]
            said = (
                f"{files[index].name}: {name} {number(noisy[index], decimals)} to {number(enhanced[index], decimals)} "
                f"({number(change, decimals, signed=True)})"
            )
            dots.append(Dot(index, noisy[index], enhanced[index], said, figures.kind(column, change)))
        better = "below" if figures.lower(column) else "above"
        drawing, without = scatter(name, dots, better=better), len(shown) - len(pairs)
    elif scored:
        order = sorted(scored, key=lambda index: enhanced[index])
        dots = [
            Dot(
                index,
                rank + 1,
                enhanced[index],
                f"{files[index].name}: {name} {number(enhanced[index], decimals)}",
                "c0",
            )
            for rank, index in enumerate(order)
        ]
        drawing, without = ranked(name, dots), len(shown) - len(scored)
    else:
        drawing, without = "", len(shown)
    if without:
        note = f' <span class="hint">without {count(without, "file")} of undefined score</span>'
    return f"<figure><figcaption>{text(name)}{note}</figcaption>{drawing}</figure>\n"
