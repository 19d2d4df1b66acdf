"""Tables that sort when a header is pressed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gense.report.numbers import number
from gense.report.page import text

LONG = 20
"""Rows beyond which a table scrolls in a box of its own height, with its head in view."""


@dataclass(frozen=True)
class Header:
    """The head of a column.

    Attributes:
        label: shown, plain text.
        group: label above adjoining columns; "" for none.
        numeric: figures: aligned to the right and sorted by value.
        sortable: whether a press sorts by this column.
    """

    label: str
    group: str = ""
    numeric: bool = True
    sortable: bool = True


@dataclass(frozen=True)
class Entry:
    """One cell of the body.

    Attributes:
        html: what is shown, as HTML.
        key: what the cell sorts by; None or NaN sorts last.
        kind: class of the cell: "up" and "down" colour a gain and a loss.
    """

    html: str
    key: float | str | None = None
    kind: str = ""


def figure(value: float, decimals: int, *, signed: bool = False, kind: str = "") -> Entry:
    """A cell with a figure, which sorts by its full value."""
    return Entry(number(value, decimals, signed=signed), value, kind)


def table(
    name: str,
    note: str,
    headers: Sequence[Header],
    rows: Sequence[Sequence[Entry]],
    *,
    ids: Sequence[int] | None = None,
    sorted_by: tuple[int, str] | None = None,
    marked: frozenset[int] = frozenset(),
) -> str:
    """A table as HTML, in a box of its own that scrolls sideways on a narrow screen.

    Args:
        name: an id that no other table of the page has.
        note: what the table shows, as HTML; it stands above the box, so that it does not scroll away.
        headers: one for each column; the first column names its row.
        rows: cells of the body.
        ids: a number for each row, which ties it to the dots of the plots.
        sorted_by: (column, "ascending" or "descending") if the rows come sorted.
        marked: numbers of rows to be set in bold.
    """
    grouped = any(header.group for header in headers)
    size = " long" if len(rows) > LONG else ""
    lines = [
        f'<p class="hint" id="{name}-note">{note}</p>',
        f'<div class="table{size}" tabindex="0" role="region" aria-labelledby="{name}-note">',
        f'<table aria-labelledby="{name}-note"><thead>',
    ]
    if grouped:
        lines.append(f"<tr>{_groups(headers)}</tr>")
    heads = [_head(header, i, sorted_by) for i, header in enumerate(headers)]
    lines.append(f"<tr>{''.join(heads)}</tr></thead><tbody>")
    for position, row in enumerate(rows):
        tied = "" if ids is None else f' data-row="{ids[position]}"'
        mark = ' class="marked"' if ids is not None and ids[position] in marked else ""
        lines.append(f"<tr{tied}{mark}>{''.join(_cell(entry, headers[i], i) for i, entry in enumerate(row))}</tr>")
    lines.append("</tbody></table></div>")
    return "\n".join(lines)


def _groups(headers: Sequence[Header]) -> str:
    """The row above the heads: adjoining columns of one group share a cell."""
    cells: list[tuple[str, int]] = []
    for header in headers:
        if cells and header.group and cells[-1][0] == header.group:
            cells[-1] = (header.group, cells[-1][1] + 1)
        else:
            cells.append((header.group, 1))
    return "".join(
        f'<th scope="colgroup" colspan="{width}">{text(label)}</th>' if label else "<td></td>" for label, width in cells
    )


def _head(header: Header, column: int, sorted_by: tuple[int, str] | None) -> str:
    order = f' aria-sort="{sorted_by[1]}"' if sorted_by and sorted_by[0] == column else ""
    kind = ' class="number"' if header.numeric else ""
    label = f'<button type="button">{text(header.label)}</button>' if header.sortable else text(header.label)
    return f'<th scope="col" data-column="{column}"{kind}{order}>{label}</th>'


def _cell(entry: Entry, header: Header, column: int) -> str:
    kind = " ".join(filter(None, ["number" if header.numeric else "", entry.kind]))
    marks = f' class="{kind}"' if kind else ""
    if header.sortable:
        marks += f' data-key="{_key(entry.key)}"'
    return f'<th scope="row"{marks}>{entry.html}</th>' if column == 0 else f"<td{marks}>{entry.html}</td>"


def _key(key: float | str | None) -> str:
    """The value to sort by; JavaScript reads "Infinity" but not "inf"."""
    if key is None or isinstance(key, str):
        return text(key or "")
    if math.isnan(key):
        return ""
    return f"{'-' if key < 0 else ''}Infinity" if math.isinf(key) else f"{key:.6g}"
