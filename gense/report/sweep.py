"""The report of a sweep."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from gense.report.numbers import count, decimals_of, name_of, number, significant
from gense.report.page import checked_path, page, text, write
from gense.report.plots import SHAPES, Dot, pareto
from gense.report.table import Entry, Header, figure, table
from gense.sweeps.result import CellResult, Cost, Sweep

COSTS: dict[Cost, str] = {"calls": "network calls", "rtf": "real-time factor"}
_COLOURS = 8


def write_sweep_report(path: str | os.PathLike[str], sweep: Sweep, *, title: str, qualities: Sequence[str]) -> Path:
    """Write one HTML file with everything that a sweep found, to be opened from disk.

    For each quality it holds plots against network calls and against the real-time factor with the settings that no
    other beats, and the recommended setting per budget; and a table of all settings.

    Args:
        path: ends in .html; a reader never sees it half written.
        sweep: to be reported.
        title: heading of the page.
        qualities: columns of the sweep, the most important first.

    Returns:
        The path.

    Raises:
        ValueError: the path does not end in .html, no qualities, or one that the sweep does not have.
        OSError: the page cannot be written.
    """
    path = checked_path(path)
    unknown = [quality for quality in qualities if quality not in sweep.columns]
    if unknown or not qualities:
        raise ValueError(f"qualities={list(qualities)}: expected some of {', '.join(sweep.columns)}")
    qualities = list(dict.fromkeys(qualities))
    sections = []
    for index, quality in enumerate(qualities):
        if any(math.isfinite(result.scores[quality]) for result in sweep.cells):
            sections.append((f"quality-{index}", text(name_of(quality)), _quality(sweep, f"quality-{index}", quality)))
    if sweep.cells:
        sections.append(("settings", "All settings", _settings(sweep, qualities[0])))
    for name, heading, reasons in (
        ("failed", "Failed", sweep.failed), ("refused", "Not tried", sweep.refused),
    ):  # fmt: skip
        if reasons:
            sections.append((name, heading, _reasons(name, reasons)))
    return write(path, page(title, _lead(sweep, qualities[0]), sections))


def _lead(sweep: Sweep, quality: str) -> str:
    """The finding in one sentence, and what it rests on."""
    basis = (
        f"{count(len(sweep.cells), 'setting')} on {count(len(sweep.files), 'file')}; the same noise in every setting."
    )
    front = sweep.pareto(quality, "calls")
    if not front:
        return f"<p>{basis}</p>"
    best, decimals = front[-1], decimals_of([result.scores[quality] for result in front])
    finding = (
        f"The best mean {text(name_of(quality))}, <b>{number(best.scores[quality], decimals)}</b>, comes from "
        f"<b><bdi>{text(best.cell.label)}</bdi></b> with {_calls(best)} and a real-time factor of "
        f"{significant(best.rtf)}."
    )
    if len(front) > 1:
        cheap = front[0]
        finding += (
            f" The cheapest, <bdi>{text(cheap.cell.label)}</bdi>, reaches "
            f"{number(cheap.scores[quality], decimals)} with {_calls(cheap)}."
        )
    return f"<p>{finding}</p><p class='basis'>{basis}</p>"


def _calls(result: CellResult) -> str:
    return f"{result.calls:g} network call{'' if result.calls == 1 else 's'}"


def _quality(sweep: Sweep, key: str, quality: str) -> str:
    """Plots and recommendations for one quality."""
    kinds = _kinds(sweep)
    legend = "".join(
        f'<li><svg viewBox="-8 -8 16 16" aria-hidden="true"><path class="dot c{index % _COLOURS}" '
        f'd="M0,0{SHAPES[index % len(SHAPES)]}"/></svg><bdi>{text(kind)}</bdi></li>'
        for kind, index in _indices(kinds).items()
    )
    direction = "lower" if quality in sweep.lower_is_better else "higher"
    halves = "".join(
        f"<figure><figcaption>Against {COSTS[cost]}</figcaption>{_plot(sweep, quality, cost, kinds)}"
        f"{_budgets(sweep, f'{key}-{cost}', quality, cost)}</figure>"
        for cost in COSTS
    )
    return (
        f'<p class="hint">Means over files, {direction} is better. The line joins the settings that no other beats in '
        f"both quality and cost; the table below each plot tells their numbers.</p>"
        f'<p class="readout" role="status">Point at a mark, or tap it, to see which setting it is.</p>'
        f'<ul class="legend" aria-label="Marks">{legend}</ul><div class="pair">{halves}</div>'
    )


def _kinds(sweep: Sweep) -> list[str]:
    """What colour and shape tell of each setting: its method, or of a single method its sampler."""
    methods = [result.cell.method for result in sweep.cells]
    if len(set(methods)) > 1:
        return methods
    return [result.cell.sampler or "own sampler" for result in sweep.cells]


def _indices(kinds: Sequence[str]) -> dict[str, int]:
    return {kind: index for index, kind in enumerate(dict.fromkeys(kinds))}


def _plot(sweep: Sweep, quality: str, cost: Cost, kinds: Sequence[str]) -> str:
    indices = _indices(kinds)
    dots = []
    for row, (result, kind) in enumerate(zip(sweep.cells, kinds, strict=True)):
        score, price = result.scores[quality], result.cost(cost)
        if math.isfinite(score) and math.isfinite(price):
            index = indices[kind]
            dots.append(
                Dot(row, price, score, _said(sweep, result, quality), f"c{index % _COLOURS}", index % len(SHAPES))
            )
    known = {dot.row for dot in dots}
    front = [row for row in _rows(sweep, sweep.pareto(quality, cost)) if row in known]
    reference = sweep.noisy.get(quality, math.nan)
    down = quality in sweep.lower_is_better
    return pareto(name_of(quality), COSTS[cost], dots, front, reference=reference, down=down)


def _said(sweep: Sweep, result: CellResult, quality: str) -> str:
    decimals = _decimals(sweep, quality)
    return (
        f"{result.cell.label}: {name_of(quality)} {number(result.scores[quality], decimals)}, {_calls(result)}, "
        f"real-time factor {significant(result.rtf)}"
    )


def _decimals(sweep: Sweep, column: str) -> int:
    return decimals_of([result.scores[column] for result in sweep.cells] + [sweep.noisy.get(column, math.nan)])


def _rows(sweep: Sweep, results: Sequence[CellResult]) -> list[int]:
    """Numbers of settings in the table; by identity, as two may have equal figures."""
    numbers = {id(result): row for row, result in enumerate(sweep.cells)}
    return [numbers[id(result)] for result in results]


def _budgets(sweep: Sweep, key: str, quality: str, cost: Cost) -> str:
    """The best setting for every budget: each unbeaten one, from what it costs to what the next better one costs."""
    decimals, front = _decimals(sweep, quality), sweep.pareto(quality, cost)
    rows = []
    for index, result in enumerate(front):
        own = result.cost(cost)
        dearer = [other.cost(cost) for other in front[index:] if other.cost(cost) > own]
        budget = f"{_price(own)} to {_price(dearer[0])}" if dearer else f"from {_price(own)}"
        setting = f"<bdi>{text(result.cell.label)}</bdi>"
        row = [Entry(str(index + 1)), Entry(budget), Entry(setting), figure(result.scores[quality], decimals)]
        rows.append(row)
    headers = [
        Header("No.", sortable=False), Header("Budget", sortable=False),
        Header("Recommended setting", numeric=False, sortable=False), Header(name_of(quality), sortable=False),
    ]  # fmt: skip
    caption = f"Recommended for a budget of {COSTS[cost]}: the best that it buys."
    return table(key, caption, headers, rows, ids=_rows(sweep, front))


def _price(cost: float) -> str:
    return f"{cost:.0f}" if cost == round(cost) else significant(cost)


def _settings(sweep: Sweep, quality: str) -> str:
    """The table of all settings, the best first."""
    fronts: Mapping[Cost, set[int]] = {cost: set(_rows(sweep, sweep.pareto(quality, cost))) for cost in COSTS}
    marked = frozenset(fronts["calls"] | fronts["rtf"])
    cells = [result.cell for result in sweep.cells]
    optional: dict[str, list[str | int | None]] = {
        "Sampler": [cell.sampler or "" for cell in cells],
        "Schedule": [cell.schedule or "" for cell in cells],
        "Steps": [cell.steps for cell in cells],
        "Options": [", ".join(f"{name}={value}" for name, value in cell.options) for cell in cells],
        "Precision": [cell.dtype if cell.dtype != "float32" else "" for cell in cells],
    }
    told = {name: values for name, values in optional.items() if any(value not in ("", None) for value in values)}
    headers = [Header("Method", numeric=False), *(Header(name, numeric=name == "Steps") for name in told)]
    headers += [Header("Calls"), Header("Real-time factor")]
    headers += [*(Header(name_of(column)) for column in sweep.columns), Header("Seconds per file")]
    order = sorted(range(len(cells)), key=lambda row: _order(sweep, row, quality))
    rows = []
    for row in order:
        result = sweep.cells[row]
        entries = [Entry(f"<bdi>{text(result.cell.method)}</bdi>", result.cell.method)]
        for name, values in told.items():
            value = values[row]
            shown = "own" if value in ("", None) and name in ("Sampler", "Schedule", "Steps") else str(value)
            entries.append(Entry(f"<bdi>{text(shown)}</bdi>", value if name == "Steps" else shown))
        entries += [Entry(f"{result.calls:g}", result.calls), Entry(significant(result.rtf), result.rtf)]
        entries += [figure(result.scores[column], _decimals(sweep, column)) for column in sweep.columns]
        entries.append(Entry(significant(result.seconds), result.seconds))
        rows.append(entries)
    caption = (
        f"Means over {count(len(sweep.files), 'file')}. Bold: no other setting beats it in both "
        f"{text(name_of(quality))} and calls, or in both it and real-time factor. Press a header to sort."
    )
    sorted_by = (
        len(told) + 3 + sweep.columns.index(quality),
        "ascending" if quality in sweep.lower_is_better else "descending",
    )
    return table("settings", caption, headers, rows, ids=order, sorted_by=sorted_by, marked=marked)


def _order(sweep: Sweep, row: int, quality: str) -> tuple[bool, float]:
    gain = sweep.gain(sweep.cells[row], quality)
    return (True, 0.0) if math.isnan(gain) else (False, -gain)


def _reasons(key: str, reasons: Mapping[str, str]) -> str:
    rows = [
        [Entry(f"<bdi>{text(label)}</bdi>", label), Entry(f'<bdi class="long">{text(reason)}</bdi>', reason)]
        for label, reason in reasons.items()
    ]
    headers = [Header("Setting", numeric=False), Header("Reason", numeric=False)]
    return table(key, "These settings are in no figure of this report.", headers, rows)
