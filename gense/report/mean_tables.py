"""Tables of means: before and after, and against other systems."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gense.evaluation.result import Evaluation
from gense.evaluation.statistics import Interval, compare
from gense.report.figures import Figures
from gense.report.numbers import number, probability
from gense.report.page import text
from gense.report.plots import whiskers
from gense.report.table import Entry, Header, figure, table


def means(figures: Figures) -> str:
    """Every metric before and after, with intervals; the picture shows both on the metric's own scale."""
    enhanced = figures.evaluation.means()
    noisy = figures.evaluation.means(noisy=True) if figures.paired else {}
    headers = [Header("Metric", numeric=False)]
    headers += [Header("Noisy")] * figures.paired
    headers.append(Header("Enhanced"))
    if figures.paired:
        headers += [Header("", numeric=False, sortable=False), Header("Change")]
    headers.append(Header("95 % interval", sortable=False))
    headers += [Header("Files better"), Header("p")] if figures.paired else [Header("Files")]
    rows = []
    for column in figures.columns:
        decimals = figures.decimals[column]
        before = noisy.get(column, Interval(math.nan, math.nan, math.nan, 0))
        after = enhanced[column]
        row = [_metric(figures, column)]
        if figures.paired:
            row.append(figure(before.mean, decimals))
        row.append(Entry(f"<b>{number(after.mean, decimals)}</b>", after.mean))
        if figures.paired:
            row += [Entry(_picture(before, after, decimals)), *_change(figures, column, figures.noisy[column])]
        else:
            row += [Entry(_range(after, decimals)), figure(after.count, 0)]
        rows.append(row)
    caption = "Means over files, with 95 % bootstrap intervals"
    if figures.paired:
        caption = (
            "Means over files. Lines in the picture are their 95 % bootstrap intervals: hollow before, filled after. "
            "Change is enhanced minus noisy, and p how likely a change at least so large is if enhancement did "
            "nothing (sign-flip test over files, not corrected for the number of metrics); coloured where p < 0.05"
        )
    return table("means", f"{caption}.", headers, rows)


def against_others(figures: Figures, key: str, name: str, other: Evaluation) -> str:
    """This system against another one on the files that both have; `key` is the id of the table."""
    theirs = {file.name: file.scores for file in other.files}
    rows = []
    for column in figures.columns:
        found = [theirs.get(file.name, {}).get(column, math.nan) for file in figures.evaluation.files]
        pairs = [(a, b) for a, b in zip(figures.enhanced[column], found, strict=True) if a == a and b == b]
        if pairs:
            decimals = figures.decimals[column]
            ours, their = (sum(values) / len(pairs) for values in zip(*pairs, strict=True))
            row = [_metric(figures, column), figure(ours, decimals), figure(their, decimals)]
            rows.append(row + _change(figures, column, found))
    if not rows:
        return '<p class="note">No file has a score in common.</p>'
    headers = [
        Header("Metric", numeric=False), Header("This"), Header("Other"), Header("Difference"),
        Header("95 % interval", sortable=False), Header("Files better"), Header("p"),
    ]  # fmt: skip
    caption = (
        f"Difference is this minus <bdi>{text(name)}</bdi>, over the files that both have a score for; p is how likely "
        "a difference at least so large is if the two were alike (sign-flip test, not corrected for the number of "
        "metrics); coloured where p < 0.05."
    )
    return table(key, caption, headers, rows)


def _metric(figures: Figures, column: str) -> Entry:
    less = ' <span class="hint">less is better</span>' if figures.lower(column) else ""
    return Entry(f"{text(figures.name(column))}{less}", figures.name(column))


def _change(figures: Figures, column: str, other: Sequence[float]) -> list[Entry]:
    """Difference, interval, share of better files and p of one column against another."""
    decimals, found = figures.decimals[column], compare(figures.enhanced[column], other)
    change = found.difference
    better = found.losses if figures.lower(column) else found.wins
    return [
        figure(change.mean, decimals, signed=True, kind=figures.kind(column, change.mean) if found.p < 0.05 else ""),
        Entry(_range(change, decimals, signed=True)),
        Entry(f"{better} of {change.count}", better / change.count if change.count else None),
        Entry(probability(found.p), found.p),
    ]


def _range(interval: Interval, decimals: int, *, signed: bool = False) -> str:
    """Both ends of an interval; a dash where a single file gives none."""
    if math.isnan(interval.low):
        return "–"
    low, high = (number(end, decimals, signed=signed) for end in (interval.low, interval.high))
    return f"{low} to {high}"


def _picture(before: Interval, after: Interval, decimals: int) -> str:
    ends = [v for i in (before, after) for v in (i.mean, i.low, i.high) if math.isfinite(v)]
    if not ends:
        return ""
    low, high = min(ends), max(ends)
    room = (high - low) * 0.05 or 1.0
    said = "; ".join(
        f"{name} {number(i.mean, decimals)}" + ("" if math.isnan(i.low) else f", interval {_range(i, decimals)}")
        for name, i in (("noisy", before), ("enhanced", after))
        if i.count
    )
    values = [(i.mean, i.low, i.high, kind) for i, kind in ((before, "before"), (after, "after"))]
    return whiskers([v for v in values if math.isfinite(v[0])], low - room, high + room, said)
