"""A Parquet file with enhanced clips in place of those of another one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gense.scale.arrow import pyarrow
from gense.scale.items import Item
from gense.scale.places import locate
from gense.scale.sources import Reader
from gense.scale.tables import bytes_in

_ROWS = 256
_BYTES = 128 << 20


def write_table(target: Path, source: str, results: Mapping[int, Item], reader: Reader) -> dict[str, dict[str, Any]]:
    """Write a Parquet file: the rows that have results, with all their columns.

    Row groups hold at most 256 rows or some 128 MB of audio, which is what is in memory at once. A struct's other
    fields are kept, but its path gets the suffix of the result.

    Args:
        target: local file.
        source: URI of the file whose columns are copied.
        results: number of a row in the source -> where its result lies; `column` is that of the audio.
        reader: reads results.

    Returns:
        Of every clip: key -> its sha256, size and number of its row.
    """
    pa = pyarrow()
    column = str(next(iter(results.values())).column)
    fs, path = locate(source)
    written: dict[str, dict[str, Any]] = {}
    with fs.open(path, "rb") as file:
        original = pa.parquet.ParquetFile(file)
        schema, start = original.schema_arrow, 0
        wanted = _others(schema, column)
        # Pages of a few clips, so that readers need not unpack a row group to get at one; a dictionary of audio would
        # hold all of it a second time
        texts = [name for name in schema.names if name != column]
        layout = {"write_batch_size": 8, "use_dictionary": texts, "compression": "zstd"}
        with pa.parquet.ParquetWriter(target, schema, **layout) as writer:
            for group in range(original.num_row_groups):
                count = original.metadata.row_group(group).num_rows
                rows = [row for row in range(start, start + count) if row in results]
                others = original.read_row_group(group, columns=wanted) if wanted and rows else None
                for few in _portions(rows, results):
                    clips = [reader.read(results[row]) for row in few]
                    kept = None if others is None else others.take([row - start for row in few])
                    copied = {} if kept is None else {name: kept[name].combine_chunks() for name in kept.column_names}
                    structs = copied[column].to_pylist() if column in copied else [{}] * len(few)
                    copied[column] = _audio(
                        schema.field(column).type, clips, structs, [results[row].key for row in few]
                    )
                    for row, clip in zip(few, clips, strict=True):
                        written[results[row].key] = {
                            "sha256": hashlib.sha256(clip).hexdigest(), "size": len(clip), "row": len(written),
                        }  # fmt: skip
                    writer.write_table(pa.table([copied[name] for name in schema.names], schema=schema))
                start += count
    return written


def _others(schema: Any, column: str) -> list[str]:
    """What is copied: the other columns, and the other fields of the audio's struct."""
    found = [name for name in schema.names if name != column]
    if bytes_in(schema, column) != column:
        kind = schema.field(column).type
        names = [kind.field(index).name for index in range(kind.num_fields)]
        found += [f"{column}.{name}" for name in names if name != "bytes"]
    return found


def _portions(rows: list[int], results: Mapping[int, Item]) -> Iterator[list[int]]:
    """The rows in portions of one row group each."""
    few: list[int] = []
    size = 0
    for row in rows:
        few.append(row)
        size += results[row].size
        if len(few) == _ROWS or size >= _BYTES:
            yield few
            few, size = [], 0
    if few:
        yield few


def _audio(kind: Any, clips: list[bytes], structs: list[Any], keys: list[str]) -> Any:
    """The audio's column for some rows, of the type that it has in the source."""
    pa = pyarrow()
    if not pa.types.is_struct(kind):
        return pa.array(clips, kind)
    values = []
    for clip, struct, key in zip(clips, structs, keys, strict=True):
        value = {**(struct or {}), "bytes": clip}
        if isinstance(value.get("path"), str):
            value["path"] = f"{os.path.splitext(value['path'])[0]}.{key.rpartition('.')[2]}"
        values.append(value)
    return pa.array(values, kind)
