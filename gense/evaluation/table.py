"""Scores in a CSV: one row per file, written as results come, so that a second run goes on where the first ended."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from gense.evaluation.result import Evaluation, FileScores
from gense.metrics.registry import METRICS
from gense.metrics.with_models import LESS_IS_BETTER

PREFIX = "noisy_"
"""Before a column's name: the score of the noisy input."""
_FILES = ("enhanced", "clean", "noisy")
_LAST = (*_FILES, "error", "state")


class Table:
    """A CSV that grows row by row under the name `<path>.part` and gets its own name when it is complete.

    Every row has a key in the column `file`, and in `state` a mark of all that its values depend on; rows of an
    earlier run with the same key and mark need not be made again.

    Args:
        path: of the finished table.
        header: names of the columns, `file`, `error` and `state` among them.
        states: key -> mark, of all rows that can be made.
        resume: take over rows of an earlier run.

    Raises:
        ValueError: there is a file of that name that is no such table.
        OSError: the folder cannot be made or written.
    """

    def __init__(
        self, path: str | os.PathLike[str], header: Sequence[str], states: Mapping[str, str], *, resume: bool = True
    ):
        self.path, self.header, self.states = Path(path), list(header), dict(states)
        self._part = self.path.with_name(self.path.name + ".part")
        self.rows: dict[str, dict[str, str]] = {}
        for earlier in (self.path, self._part) if resume else ():
            if earlier.exists():
                known = _read(earlier)
                self.rows.update({row["file"]: row for row in known if states.get(row["file"]) == row["state"]})

    def __enter__(self) -> Table:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder: give the name of a CSV file")
        # Renamed at once, so that a crash right here costs no rows
        fresh = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._write(fresh, self.rows.values())
        fresh.replace(self._part)
        self._file = self._part.open("a", newline="", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if error is None:
            self._write(self._part, sorted(self.rows.values(), key=lambda row: row["file"]))
            self._part.replace(self.path)

    def finished(self) -> list[dict[str, str]]:
        """Rows taken over from an earlier run; those that tell of an error are not, to be tried again."""
        self.rows = {key: row for key, row in self.rows.items() if not row["error"]}
        return list(self.rows.values())

    def add(self, row: Mapping[str, str]) -> None:
        """Write one row down; its mark is filled in, if it has one."""
        row = {**row, "state": self.states.get(row["file"], "")}
        self.rows[row["file"]] = row
        csv.DictWriter(self._file, self.header).writerow(row)
        self._file.flush()

    def _write(self, path: Path, rows: Iterable[Mapping[str, str]]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.header)
            writer.writeheader()
            writer.writerows(rows)


def fingerprint(files: Iterable[Path], *settings: object) -> str:
    """Mark of all that a row depends on: files by place, size and time of change, and settings by their JSON."""
    seen = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return hashlib.sha256(json.dumps([seen, settings]).encode()).hexdigest()[:16]


def header(columns: Sequence[str], *, noisy: bool) -> list[str]:
    """Names of the columns of a table of scores."""
    return ["file", "seconds", *columns, *(PREFIX + column for column in columns if noisy), *_LAST]


def row_of(scores: FileScores) -> dict[str, str]:
    """One file as a row. Numbers are written in full; an undefined score is "nan"."""
    noisy = {PREFIX + column: value for column, value in scores.noisy_scores.items()}
    paths = {"enhanced": scores.est, "clean": scores.clean, "noisy": scores.noisy}
    return {
        "file": scores.name,
        "seconds": repr(float(scores.seconds)),
        **{column: repr(float(value)) for column, value in {**scores.scores, **noisy}.items()},
        **{what: str(path) for what, path in paths.items() if path is not None},
    }


def scores_of(row: Mapping[str, str]) -> FileScores:
    """What `row_of` wrote down."""
    columns = [name for name in row if name not in ("file", "seconds", *_LAST)]
    values = {name: float(row[name]) for name in columns if row[name]}
    marked = {name for name in values if name.startswith(PREFIX) and name.removeprefix(PREFIX) in columns}
    paths = {what: Path(row[what]) if row.get(what) else None for what in _FILES}
    return FileScores(
        row["file"],
        {name: value for name, value in values.items() if name not in marked},
        {name.removeprefix(PREFIX): value for name, value in values.items() if name in marked},
        float(row["seconds"]),
        paths["enhanced"] or Path(),
        paths["clean"],
        paths["noisy"],
    )


def write_csv(path: str | os.PathLike[str], evaluation: Evaluation) -> Path:
    """Write an evaluation as a CSV: one row per file, those without scores with the reason in the column `error`.

    Raises:
        OSError: the folder cannot be made or written.
    """
    noisy = any(file.noisy_scores for file in evaluation.files)
    with Table(path, header(evaluation.columns(), noisy=noisy), {}, resume=False) as table:
        for file in evaluation.files:
            table.add(row_of(file))
        for name, reason in evaluation.failed.items():
            table.add({"file": name, "error": reason})
    return Path(path)


def read_csv(path: str | os.PathLike[str], *, lower_is_better: Collection[str] = ()) -> Evaluation:
    """Read what `evaluate(..., output=)` or `write_csv` has written.

    Args:
        path: the table.
        lower_is_better: columns of which less is better, beside those of gense's own metrics, which are known; the
            table does not say.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such table.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    files, failed = [], {}
    for row in _read(path):
        if row["error"]:
            failed[row["file"]] = row["error"]
        else:
            files.append(scores_of(row))
    known = {column for metric in METRICS.values() if metric.lower_is_better for column in metric.columns}
    known |= LESS_IS_BETTER | set(lower_is_better)
    result = Evaluation(sorted(files, key=lambda file: file.name), failed)
    # The column of a metric with a model is NAME:MODEL
    result.lower_is_better = frozenset(name for name in result.columns() if {name, name.split(":")[0]} & known)
    return result


def _read(path: Path) -> list[dict[str, str]]:
    """Rows with a value, even if empty, in every column: the last row of a run that was killed may be cut off."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            names = rows.fieldnames or []
            if not {"file", "error", "state"} <= set(names):
                raise ValueError(
                    f"{path}: not a table of scores (expected the columns file, error and state, got "
                    f"{', '.join(names[:6]) or 'none'}): give another name"
                )
            return [row for row in rows if None not in row and None not in row.values()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a table of scores ({error}): give another name") from None
