"""The plots, as SVG that takes its colours and sizes from the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gense.report.axes import Axis, axis_for
from gense.report.numbers import decimals_of, number
from gense.report.page import text

SHAPES = (
    "m-4,0a4,4 0 1 0 8,0a4,4 0 1 0-8,0z",
    "m-3.6-3.6h7.2v7.2h-7.2z",
    "m0-5l4.8,8.4h-9.6z",
    "m0-5.2l5.2,5.2l-5.2,5.2l-5.2-5.2z",
    "m0,5l4.8-8.4h-9.6z",
)
"""Circle, square, triangle, diamond, triangle downwards; about 8 units wide, from the middle."""


DENSE = 150
"""Dots beyond which they are drawn smaller."""


@dataclass(frozen=True)
class Dot:
    """A point of a plot.

    Attributes:
        row: number of the table row that it stands for.
        x: value across.
        y: value up.
        title: what is said when it is pointed at.
        kind: class of the dot.
        shape: index in `SHAPES`, so that colour is not all that tells kinds apart.
    """

    row: int
    x: float
    y: float
    title: str
    kind: str = ""
    shape: int = 0


def scatter(name: str, dots: Sequence[Dot], *, better: str) -> str:
    """Noisy against enhanced score, one dot per file; the diagonal of no change; the better half shaded.

    Args:
        name: of the metric.
        dots: x is the score of the noisy file, y that of the enhanced one; both finite.
        better: "above" or "below": the side of the diagonal where the enhanced file is better.
    """
    across, up = _square([dot.x for dot in dots] + [dot.y for dot in dots])
    low, high = across.low, across.high
    left, right, bottom, top = across(low), across(high), up(low), up(high)
    corner = f"{left:g},{top:g}" if better == "above" else f"{right:g},{bottom:g}"
    marks = [
        f'<path class="gain" d="M{left:g},{bottom:g}L{corner}L{right:g},{top:g}Z"/>',
        f'<path class="diagonal" d="M{left:g},{bottom:g}L{right:g},{top:g}"/>',
    ]
    label = f"{name} of {len(dots)} files, noisy across, enhanced up. Arrow keys step through the files."
    return _svg(240, 240, label, _frame(across, up, "noisy", "enhanced"), marks + _drawn(dots, across, up), len(dots))


def ranked(name: str, dots: Sequence[Dot]) -> str:
    """Scores in rising order, one dot per file: for files whose noisy input has no score.

    Args:
        name: of the metric.
        dots: x is the rank, y the score; both finite.
    """
    across = axis_for([dot.x for dot in dots], 44, 232)
    up = axis_for([dot.y for dot in dots], 196, 8)
    label = f"{name} of {len(dots)} files in rising order. Arrow keys step through the files."
    return _svg(
        240,
        240,
        label,
        _frame(across, up, "files in rising order", "", ticks=False),
        _drawn(dots, across, up),
        len(dots),
    )


def whiskers(values: Sequence[tuple[float, float, float, str]], low: float, high: float, label: str) -> str:
    """Means with their intervals on one line: (mean, low, high, kind) each."""
    axis = Axis(low, high, 8, 152)
    marks = []
    for mean, left, right, kind in values:
        if math.isnan(mean):
            continue
        if not math.isnan(left):
            marks.append(f'<path class="whisker {kind}" d="M{axis(left):.1f},10H{axis(right):.1f}"/>')
        marks.append(f'<circle class="mean {kind}" cx="{axis(mean):.1f}" cy="10" r="4"/>')
    return (
        f'<svg class="whiskers" viewBox="0 0 160 20" role="img" aria-label="{text(label)}">'
        f"<title>{text(label)}</title>{''.join(marks)}</svg>"
    )


def pareto(
    name: str, cost: str, dots: Sequence[Dot], front: Sequence[int], *, reference: float = math.nan, down: bool = False
) -> str:
    """Quality against cost, and the settings that no other beats, numbered from the cheapest.

    Args:
        name: of the quality.
        cost: name of the cost.
        dots: x is the cost, y the quality; both finite.
        front: rows of the unbeaten settings, by rising cost.
        reference: quality of the inputs as they are; NaN if unknown.
        down: whether less quality is better.
    """
    log = min(dot.x for dot in dots) > 0
    across = axis_for([dot.x for dot in dots], 54, 470, log=log)
    heights = [dot.y for dot in dots] + ([] if math.isnan(reference) else [reference])
    up = axis_for(heights, 290, 12, margin=0.09)
    marks = []
    if not math.isnan(reference):
        y = up(reference)
        marks.append(f'<path class="diagonal" d="M54,{y:.1f}H470"/>')
        marks.append(f'<text class="hint" x="464" y="{y - 6:.1f}" text-anchor="end">noisy input</text>')
    by_row = {dot.row: dot for dot in dots}
    corners = [(across(by_row[row].x), up(by_row[row].y)) for row in front]
    # Between two unbeaten settings a budget buys the cheaper one: the front is a staircase
    steps = "".join(f"H{x:.1f}V{y:.1f}" for x, y in corners[1:])
    if corners:
        marks.append(f'<path class="front" d="M{corners[0][0]:.1f},{corners[0][1]:.1f}{steps}H470"/>')
    marks += _drawn(dots, across, up)
    marks += _numbers(corners, down)
    label = f"{name} against {cost} of {len(dots)} settings. Arrow keys step through the settings."
    title = f"{cost}, logarithmic" if log else cost
    return _svg(480, 340, label, _frame(across, up, title, ""), marks, len(dots))


def _numbers(corners: Sequence[tuple[float, float]], down: bool) -> list[str]:
    """The numbers 1, 2, ... beside points, on the side where no dots are, and not on one another."""
    taken: list[tuple[float, float]] = []
    marks = []
    for index, (x, y) in enumerate(corners):
        away = 18 if down else -9
        while any(abs(x - left) < 14 and abs(y + away - top) < 13 for left, top in taken):
            away += 4 if down else -4
        taken.append((x, y + away))
        marks.append(f'<text class="rank" x="{x:.1f}" y="{y + away:.1f}" text-anchor="middle">{index + 1}</text>')
    return marks


def _square(values: Sequence[float]) -> tuple[Axis, Axis]:
    """Two axes of equal range, so that the diagonal is where x = y."""
    across = axis_for(values, 44, 232)
    return across, Axis(across.low, across.high, 196, 8)


def _frame(across: Axis, up: Axis, below: str, beside: str, *, ticks: bool = True) -> list[str]:
    """Grid lines, tick labels and titles of the axes."""
    lines = []
    for x, label in across.ticks() if ticks else []:
        lines.append(f'<path class="grid" d="M{x:.1f},{up.start:g}V{up.end:g}"/>')
        lines.append(f'<text x="{x:.1f}" y="{up.start + 16:g}" text-anchor="middle">{label}</text>')
    for y, label in up.ticks(7 if up.start > 200 else 5):
        lines.append(f'<path class="grid" d="M{across.start:g},{y:.1f}H{across.end:g}"/>')
        lines.append(f'<text x="{across.start - 6:g}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    middle = (across.start + across.end) / 2
    lines.append(f'<text class="axis" x="{middle:g}" y="{up.start + 36:g}" text-anchor="middle">{text(below)}</text>')
    if beside:
        y = (up.start + up.end) / 2
        lines.append(
            f'<text class="axis" transform="translate(11 {y:g}) rotate(-90)" text-anchor="middle">{text(beside)}</text>'
        )
    return lines


def _drawn(dots: Sequence[Dot], across: Axis, up: Axis) -> list[str]:
    """The dots from left to right, which is the order in which the arrow keys visit them."""
    return [
        f'<path class="dot {dot.kind}" data-row="{dot.row}" '
        f'd="M{across(dot.x):.1f},{up(dot.y):.1f}{SHAPES[dot.shape]}">'
        f"<title>{text(dot.title)}</title></path>"
        for dot in sorted(dots, key=lambda dot: (dot.x, dot.y))
    ]


def _svg(width: int, height: int, label: str, frame: list[str], marks: list[str], dots: int) -> str:
    inner = "\n".join(frame + marks)
    dense = " dense" if dots > DENSE else ""
    return (
        f'<svg class="plot{dense}" viewBox="0 0 {width} {height}" tabindex="0" role="img" aria-label="{text(label)}">'
        f"\n{inner}\n</svg>"
    )


def values_said(*pairs: tuple[str, float]) -> str:
    """Figures for the title of a dot: "PESQ 1.52, RTF 0.08"."""
    return ", ".join(f"{name} {number(value, decimals_of([value]))}" for name, value in pairs)
