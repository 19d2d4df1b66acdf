"""Tables of audio files: CSV, TSV or JSON lines."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson")
_PATHS = ("path", "audio_filepath")


def read_manifest(path: str | os.PathLike[str]) -> list[dict[str, str]]:
    """Read the rows of a table in UTF-8, in their order.

    The first line of a CSV or TSV names the columns; each line of JSON lines is an object. One column is `path` (or
    `audio_filepath`, as other toolkits call it); `speaker` is known to `Clips`; others are at hand to choose rows by.

    Returns:
        Column -> value as text, `path` made absolute: a relative one is taken from the folder of the table or, where
        there is no such file, from the working folder.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is no such table, or a row has no path.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as UTF-8 ({error})") from None
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: unknown kind of table {path.suffix!r}; expected {', '.join(SUFFIXES)}")
    rows = _lines(path, text) if path.suffix.lower() in (".jsonl", ".ndjson") else _table(path, text)
    found = []
    for number, row in rows:
        name = next((row[column] for column in _PATHS if row.get(column)), "")
        if not name:
            raise ValueError(f"{path}, line {number}: no path; expected a column path (or audio_filepath)")
        here = path.parent / name
        found.append({**row, "path": os.path.abspath(here if here.exists() or not Path(name).exists() else name)})
    if not found:
        raise ValueError(f"{path}: no rows")
    return found


def _table(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    names = list(reader.fieldnames or ())
    if not set(_PATHS) & set(names):
        raise ValueError(f"{path}: need a column path, got {', '.join(names) or 'nothing'}")
    return [(reader.line_num, {key: value or "" for key, value in row.items() if key}) for row in reader]


def _lines(path: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{path}, line {number}: expected an object such as {{\"path\": \"a.wav\"}}")
        rows.append((number, {str(key): "" if value is None else str(value) for key, value in row.items()}))
    return rows
