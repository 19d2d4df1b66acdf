"""The rows of a sweep, one a setting and file, written as CSV or Parquet and read again."""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from gense.metrics.registry import METRICS
from gense.sweeps.result import Cell, CellResult, Sweep

NOISY = "noisy input"
"""What stands in the column `method` for the inputs as they are."""

FORMATS = (".csv", ".parquet")
_TEXT = ("method", "sampler", "schedule", "dtype", "options", "file")
_COST = {"calls": int, "seconds": float, "duration": float}


@dataclass(frozen=True)
class Row:
    """One file under one setting.

    Attributes:
        cell: the setting; that of the inputs as they are is `Cell(NOISY)`.
        file: name of the file.
        calls: network calls.
        seconds: of work.
        duration: of the audio, seconds.
        scores: by column; NaN where undefined.
    """

    cell: Cell
    file: str
    calls: int
    seconds: float
    duration: float
    scores: dict[str, float]


def settled(value: Any) -> Any:
    """An option's value as it is kept: lists become tuples, so that settings can be compared and looked up."""
    return tuple(settled(item) for item in value) if isinstance(value, (list, tuple)) else value


def lower_is_better(metrics: Iterable[Any]) -> frozenset[str]:
    """The columns of metrics in which less is better."""
    return frozenset(column for metric in metrics if metric.lower_is_better for column in metric.columns)


def summed(
    rows: Iterable[Row],
    files: Sequence[str],
    columns: Sequence[str],
    *,
    lower: frozenset[str] = frozenset(),
    refused: dict[str, str] | None = None,
    failed: dict[str, str] | None = None,
) -> Sweep:
    """Gather rows into the results of settings, in the order in which these first appear.

    A setting without rows for all files is left out.
    """
    by_cell: dict[Cell, dict[str, Row]] = {}
    for row in rows:
        by_cell.setdefault(row.cell, {})[row.file] = row
    inputs = by_cell.pop(Cell(NOISY), {})
    # A file for which even the input has no score says nothing about the settings
    counted = {
        column: [f for f in files if f not in inputs or not math.isnan(inputs[f].scores[column])] for column in columns
    }

    def mean(found: dict[str, Row]) -> dict[str, float]:
        return {c: fmean(found[f].scores[c] for f in counted[c]) if counted[c] else math.nan for c in columns}

    cells = []
    for cell, found in by_cell.items():
        if set(files) <= set(found):
            ordered = [found[name] for name in files]
            seconds, duration = sum(row.seconds for row in ordered), sum(row.duration for row in ordered)
            cells.append(
                CellResult(
                    cell, mean(found), fmean(row.calls for row in ordered), seconds / duration, seconds / len(files),
                    [{"file": row.file, **row.scores, "calls": row.calls, "seconds": row.seconds,
                      "duration": row.duration} for row in ordered],
                )
            )  # fmt: skip
    noisy = mean(inputs) if set(files) <= set(inputs) else {}
    return Sweep(cells, list(columns), list(files), lower, noisy, refused or {}, failed or {})


def check_format(path: str | os.PathLike[str]) -> Path:
    """Return the path of a table, or say before any work why it cannot be written.

    Raises:
        ValueError: a suffix other than .csv and .parquet.
        ImportError: Parquet without pyarrow.
        OSError: the folder is missing or cannot be written.
    """
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f"output {path}: expected a name that ends in {' or '.join(FORMATS)}")
    if path.suffix == ".parquet":
        _pyarrow()
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise PermissionError(f"output {path}: it is a folder itself, or lies in one that cannot be written")
    return path


def write_rows(path: str | os.PathLike[str], rows: Sequence[Row], columns: Sequence[str]) -> Path:
    """Write rows, whole or not at all; the suffix names the format.

    Raises:
        ValueError, ImportError, OSError: see `check_format`.
    """
    path = check_format(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    table = [_flat(row, columns) for row in rows]
    try:
        if path.suffix == ".parquet":
            pa, parquet = _pyarrow()
            fields = [(name, pa.string()) for name in _TEXT] + [("steps", pa.int64()), ("calls", pa.int64())]
            fields += [(name, pa.float64()) for name in ("seconds", "duration", *columns)]
            types = dict(fields)
            schema = pa.schema([(name, types[name]) for name in _names(columns)])
            parquet.write_table(pa.Table.from_pylist(table, schema=schema), temporary)
        else:
            with temporary.open("w", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, _names(columns), lineterminator="\n")
                writer.writeheader()
                writer.writerows(table)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def read_sweep(path: str | os.PathLike[str], *, lower: Iterable[str] = ()) -> Sweep:
    """Read what a sweep has written.

    Args:
        path: CSV or Parquet.
        lower: columns in which less is better, beside those of `gense.metrics.METRICS`.

    Raises:
        ValueError: not the table of a sweep.
        FileNotFoundError: no such file.
        ImportError: Parquet without pyarrow.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        table = _pyarrow()[1].read_table(path).to_pylist()
    else:
        with path.open(newline="", encoding="utf-8") as file:
            table = list(csv.DictReader(file))
    known = set(_names(()))
    if not table or not known <= set(table[0]):
        raise ValueError(f"{path}: not the table of a sweep; expected the columns {', '.join(_names(()))} and scores")
    columns = [name for name in table[0] if name not in known]
    rows = [_row(entry, columns) for entry in table]
    directions = frozenset(lower) | lower_is_better(METRICS.values())
    return summed(rows, list(dict.fromkeys(row.file for row in rows)), columns, lower=directions & set(columns))


def _names(columns: Iterable[str]) -> list[str]:
    return ["method", "sampler", "schedule", "steps", "dtype", "options", "file", *_COST, *columns]


def _flat(row: Row, columns: Sequence[str]) -> dict[str, Any]:
    cell = row.cell
    return {
        "method": cell.method, "sampler": cell.sampler, "schedule": cell.schedule, "steps": cell.steps,
        "dtype": cell.dtype, "options": json.dumps(dict(cell.options)) if cell.options else None, "file": row.file,
        "calls": row.calls, "seconds": row.seconds, "duration": row.duration,
        **{column: row.scores[column] for column in columns},
    }  # fmt: skip


def _row(entry: dict[str, Any], columns: Sequence[str]) -> Row:
    options = json.loads(entry["options"]) if entry["options"] else {}
    cell = Cell(
        entry["method"], entry["sampler"] or None, entry["schedule"] or None,
        int(entry["steps"]) if entry["steps"] not in (None, "") else None,
        entry["dtype"], tuple((name, settled(value)) for name, value in options.items()),
    )  # fmt: skip
    costs = {name: kind(entry[name]) for name, kind in _COST.items()}
    return Row(cell, entry["file"], **costs, scores={column: float(entry[column]) for column in columns})


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ImportError("pyarrow is not installed: pip install gense[sweep], or write .csv") from error
    return pyarrow, pyarrow.parquet
