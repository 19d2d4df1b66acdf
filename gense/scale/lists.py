"""Lists of paths: CSV, TSV, JSON lines, Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from typing import Any

from gense.scale.arrow import pyarrow
from gense.scale.items import Item, key_of, refused
from gense.scale.places import is_local, join, locate, uri_of

LISTS = (".csv", ".tsv", ".jsonl", ".json", ".ndjson")
PATHS = ("path", "audio_filepath")
_BLOCK = 1024


def clips_in_list(uri: str, *, format: str | None, key_column: str | None) -> Iterator[Item]:
    """The files that a list names; sizes are looked up, folder by folder where there is no local disk.

    Args:
        uri: of the list; the suffix names its kind.
        format: of the results, None keeps that of each file.
        key_column: column with the names of the results; None takes the path: relative to the folder of the list for
            files below it, whole for others.

    Raises:
        ValueError: the list has no column with paths, or not the one with keys.
    """
    name = uri.rpartition("/")[2]
    folder = _folder_of(uri)
    files = _Files()
    for number, row in _rows(uri):
        label = f"{name}/row-{number}"
        if isinstance(row, str):
            yield refused(label, uri, f"{name}: row {number}: {row}")
            continue
        column = next((column for column in PATHS if column in row), None)
        missing = " or ".join(PATHS) if column is None else key_column
        if column is None or (key_column is not None and key_column not in row):
            there = ", ".join(map(str, row)) or "none"
            raise ValueError(f"{uri}: row {number} has no column {missing}; it has {there}")
        if not isinstance(row[column], str) or not row[column].strip():
            yield refused(label, uri, f"{name}: row {number}: {column} is empty")
            continue
        path = _resolved(folder, row[column])
        extra = {key: value for key, value in row.items() if key not in (column, key_column)}
        named = _name(folder, path) if key_column is None else str(row[key_column])
        try:
            key = key_of(named, format)
        except ValueError as error:
            yield refused(named, path, error)
            continue
        size, problem = 0, None
        try:
            size = files.size(path)
        except (ValueError, OSError) as error:
            problem = f"{path}: no such file" if isinstance(error, FileNotFoundError) else str(error)
        yield Item(
            key=key, uri=path, size=size, problem=problem, extra=json.dumps(extra, default=str) if extra else None
        )


def _folder_of(uri: str) -> str:
    fs, path = locate(uri)
    return uri_of(fs, path.rpartition("/")[0] or "/")


def _resolved(folder: str, path: str) -> str:
    """The path, or where it leads from the folder of the list; in the form that is compared with the folder."""
    path = path.strip()
    if "://" not in path and not path.startswith("/"):
        scheme, mark, rest = folder.rpartition("://")
        parts: list[str] = []
        for part in f"{rest}/{path}".split("/"):
            if part == "..":
                del parts[-1:]
            elif part != ".":
                parts.append(part)
        path = scheme + mark + "/".join(parts)
    fs, inner = locate(path)
    return uri_of(fs, inner)


def _name(folder: str, uri: str) -> str:
    """What a file is called in the output."""
    below = uri.removeprefix(join(folder, ""))
    return (below if below != uri else uri.partition("://")[2] or uri).lstrip("/")


class _Files:
    """Sizes of files; asks object stores for folders and not for every file, which would be a request each."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, int]] = {}

    def size(self, uri: str) -> int:
        fs, path = locate(uri)
        if is_local(fs):
            info = fs.info(path)
            if info["type"] != "file":
                raise ValueError(f"{uri} is no file")
            return info["size"]
        folder = uri.rpartition("/")[0]
        if folder not in self.known:
            entries = fs.ls(path.rpartition("/")[0], detail=True)
            self.known[folder] = {uri_of(fs, e["name"]): e["size"] or 0 for e in entries if e["type"] == "file"}
        if uri not in self.known[folder]:
            raise FileNotFoundError(f"{uri}: no such file")
        return self.known[folder][uri]


def _rows(uri: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """(number from 1, row, or what is wrong with it)."""
    fs, path = locate(uri)
    suffix = "." + uri.rpartition(".")[2].lower()
    if suffix == ".parquet":
        yield from _parquet_rows(fs, path)
        return
    # utf-8-sig, as spreadsheets put a mark before the first column's name
    with fs.open(path, "r", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        if suffix in (".csv", ".tsv"):
            reader = csv.DictReader(file, delimiter="\t" if suffix == ".tsv" else ",", restkey="", restval="")
            for number, row in enumerate(reader, start=1):
                row.pop("", None)
                yield number, row
            return
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError as error:
                yield number, f"no JSON ({error}); expected an object a line"
                continue
            yield number, value if isinstance(value, dict) else "no JSON object; expected one a line"


def _parquet_rows(fs: Any, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with fs.open(path, "rb") as file:
        number = 0
        for batch in pyarrow().parquet.ParquetFile(file, buffer_size=1 << 20).iter_batches(batch_size=_BLOCK):
            for row in batch.to_pylist():
                number += 1
                yield number, row
