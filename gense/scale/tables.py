"""Clips in Parquet files: the audio's bytes in a column, plain or as Hugging Face's struct {bytes, path}."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gense.scale.arrow import pyarrow
from gense.scale.coding import suffix_of
from gense.scale.items import Item, key_of, refused
from gense.scale.places import locate

_KEYS = ("key", "__key__", "id")
_FEW, _MANY = 8, 1024  # rows read at once: of audio, of names
_BUFFER = 1 << 20


def has_audio(uri: str, column: str) -> bool:
    """Whether a Parquet file holds bytes of audio in a column of that name.

    Raises:
        ValueError: it is no Parquet file, or damaged.
        OSError: it cannot be read.
    """
    fs, path = locate(uri)
    with fs.open(path, "rb") as file:
        return bytes_in(_opened(file).schema_arrow, column) is not None


def bytes_in(schema: Any, column: str) -> str | None:
    """What to read for the bytes of a column: its name, or that of the struct's field; None if there are none."""
    pa = pyarrow()
    if column not in schema.names:
        return None
    kind = schema.field(column).type
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return column
    inner = kind.field("bytes").type if pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0 else None
    if inner is not None and (pa.types.is_binary(inner) or pa.types.is_large_binary(inner)):
        return f"{column}.bytes"
    return None


def clips_in_table(uri: str, shard: str, *, format: str | None, column: str, key_column: str | None) -> Iterator[Item]:
    """Every row of a Parquet file; then, if the file is damaged, one item that says so. Reads no audio but the first.

    Keys are the file's name without its suffix and what the row is called; a name without a suffix takes that of the
    kind of audio in the first row.

    Args:
        uri: of the file.
        shard: its name relative to where the listing began.
        format: of the results, None keeps that of each row.
        column: of the audio.
        key_column: of the names; None takes `key`, `__key__`, `id` or the struct's path, or the number of the row.

    Raises:
        ValueError: there is no such column.
    """
    fs, path = locate(uri)
    stem = shard.removesuffix(".parquet")
    try:
        with fs.open(path, "rb") as file:
            table = _opened(file)
            data = bytes_in(table.schema_arrow, column)
            if data is None:
                names = ", ".join(table.schema_arrow.names)
                raise _NoColumn(f"{uri}: no column {column!r} with bytes; there are {names}")
            naming = _naming(uri, table.schema_arrow, column, key_column)
            otherwise = _first_suffix(table, data) if format is None else ".wav"
            number, problems = 0, []
            for group in range(table.num_row_groups):
                rows, size = _extent(table, group, data)
                try:
                    called = _names(table, group, naming) if naming else [None] * rows
                except (OSError, pyarrow().ArrowException) as error:
                    problems.append(f"row group {group}: {_one_line(error)}")
                    number += rows
                    continue
                for name in called:
                    label = f"{stem}/{number:08d}" if name is None else f"{stem}/{name}"
                    try:
                        key = key_of(label, format, otherwise)
                        if name is not None:
                            key_of(name, format, otherwise)  # "../x" inside a folder of the shard's name would pass
                        yield Item(key=key, uri=uri, size=size, shard=shard, row=number, column=column)
                    except ValueError as error:
                        yield refused(label, uri, error)
                    number += 1
            if problems:
                yield refused(shard, uri, f"the file is damaged: {'; '.join(problems[:3])}")
    except _NoColumn:
        raise
    except (OSError, ValueError, pyarrow().ArrowException) as error:
        yield refused(shard, uri, f"the file cannot be read: {_one_line(error)}")


class _NoColumn(ValueError):
    """The caller named a column that is not there: no damage of the file."""


class Rows:
    """Reads the audio of one Parquet file row by row; cheap in ascending order.

    Memory holds two pages of the file, the least that Parquet can unpack: most writers end one after some megabytes,
    but pyarrow with its usual settings puts up to 1024 clips of any size into one. It writes short ones with
    `write_batch_size=8, use_dictionary=False`.

    Args:
        uri: of the file.
        column: of the audio.

    Raises:
        ValueError: it is no Parquet file, or damaged.
        OSError: it cannot be read.
    """

    def __init__(self, uri: str, column: str):
        fs, path = locate(uri)
        self.uri, self.column = uri, column
        self._file = fs.open(path, "rb")
        try:
            self._table = _opened(self._file)
            self._data = bytes_in(self._table.schema_arrow, column)
        except BaseException:
            self._file.close()
            raise
        self._ahead: Iterator[Any] = iter(())
        self._next = -1  # the row that comes next
        self._end = -1  # of its row group

    def read(self, row: int) -> bytes:
        """Return the bytes of a row.

        Raises:
            ValueError: there is no such row, it is empty, or the file is damaged there.
        """
        if self._data is None or not 0 <= row < self._table.metadata.num_rows:
            raise ValueError(f"{self.uri}: no row {row} of column {self.column!r}; it has changed since it was listed")
        try:
            if not self._next <= row < self._end:
                self._seek(row)
            while self._next < row:
                next(self._ahead)
                self._next += 1
            self._next += 1
            data = next(self._ahead)
        except (OSError, StopIteration, pyarrow().ArrowException) as error:
            self._next = self._end = -1
            raise ValueError(f"{self.uri}: row {row} cannot be read: {_one_line(error)}") from error
        if not data:
            raise ValueError(f"{self.uri}: row {row} holds no bytes")
        return data

    def close(self) -> None:
        """Close the file."""
        self._ahead = iter(())
        self._file.close()

    def _seek(self, row: int) -> None:
        """Go to the beginning of the row group that holds the row."""
        start = 0
        for group in range(self._table.num_row_groups):
            rows = self._table.metadata.row_group(group).num_rows
            if row < start + rows:
                self._ahead = _values(self._table, group, self._data)
                self._next, self._end = start, start + rows
                return
            start += rows


def _opened(file: Any) -> Any:
    """The file, set to read its columns bit by bit: otherwise a row group would be whole in memory."""
    parquet = pyarrow().parquet
    try:
        return parquet.ParquetFile(file, buffer_size=_BUFFER, page_checksum_verification=True)
    except pyarrow().ArrowInvalid as error:
        raise ValueError(f"no Parquet file, or cut off ({_one_line(error)})") from error


def _values(table: Any, group: int, data: str | None) -> Iterator[bytes | None]:
    """The bytes of the rows of a row group, one after the other."""
    column, field = _parts(table.schema_arrow, str(data))
    for batch in table.iter_batches(batch_size=_FEW, row_groups=[group], columns=[data], use_threads=False):
        for value in batch.column(column):
            inner = value if not field else (value[field] if value.is_valid else None)
            yield inner.as_py() if inner is not None else None


def _naming(uri: str, schema: Any, column: str, key_column: str | None) -> str | None:
    """What to read for the names of the rows, None for their numbers."""
    if key_column is not None:
        if key_column not in schema.names:
            raise _NoColumn(f"{uri}: no column {key_column!r} with keys; there are {', '.join(schema.names)}")
        return key_column
    named = next((name for name in _KEYS if name in schema.names), None)
    kind = schema.field(column).type
    has_path = pyarrow().types.is_struct(kind) and kind.get_field_index("path") >= 0
    return named or (f"{column}.path" if has_path else None)


def _names(table: Any, group: int, naming: str) -> list[str | None]:
    column, field = _parts(table.schema_arrow, naming)
    found: list[str | None] = []
    for batch in table.iter_batches(batch_size=_MANY, row_groups=[group], columns=[naming], use_threads=False):
        for value in batch.column(column).to_pylist():
            name = value.get(field) if field and value is not None else value
            found.append(None if name in (None, "") else str(name))
    return found


def _parts(schema: Any, name: str) -> tuple[str, str]:
    """(column, field of its struct or nothing); the names of columns may have dots, too."""
    if name in schema.names:
        return name, ""
    column, _, field = name.rpartition(".")
    return column, field


def _first_suffix(table: Any, data: str) -> str:
    if not table.metadata.num_rows:
        return ".wav"
    try:
        return suffix_of(next(_values(table, 0, data)) or b"")
    except (OSError, StopIteration, pyarrow().ArrowException):  # said again when the row is read
        return ".wav"


def _extent(table: Any, group: int, data: str) -> tuple[int, int]:
    """(rows of a row group, mean bytes of audio in one)."""
    facts = table.metadata.row_group(group)
    columns = (facts.column(index) for index in range(facts.num_columns))
    size = sum(column.total_uncompressed_size for column in columns if column.path_in_schema == data)
    return facts.num_rows, size // max(facts.num_rows, 1)


def _one_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
