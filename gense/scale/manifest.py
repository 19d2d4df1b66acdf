"""What became of every clip: a row each, written while the job runs, merged when it ends."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Literal

from gense.scale.arrow import pyarrow
from gense.scale.items import MANIFEST, PARTS, STAGED
from gense.scale.packed_index import packed_keys
from gense.scale.places import absolute, join, locate, put, remove, sizes
from gense.version import __version__

_REQUESTS = 16  # parts that are read at once: an object store answers each after some hundredths of a second


@dataclass(frozen=True)
class Settings:
    """What the result of a clip depends on, besides its content; a clip done with other settings is done again.

    Attributes:
        method: as the user gave it.
        weights: sha256 of the weights file, hexadecimal, see `gense.scale.weights.weights_hash`.
        seed: of the noise.
        sampler: name; None is the method's own, as for steps and schedule.
        steps: of the sampler.
        schedule: name.
        options: of sampler and schedule, as JSON with sorted keys.
        layout: of the output.
    """

    method: str
    weights: str
    seed: int = 0
    sampler: str | None = None
    steps: int | None = None
    schedule: str | None = None
    options: str = "{}"
    layout: str = "files"


@dataclass(frozen=True)
class Row:
    """One clip of a job.

    Attributes:
        key: of the item.
        source: where it came from, `Item.source`.
        status: "ok", "failed", or "skipped" for what a job left out.
        reason: why it failed or was skipped.
        seconds: of audio.
        sample_rate: Hz.
        channels: of the audio.
        real_time_factor: seconds of work on it per second of audio.
        dnsmos: overall quality of the result, 1 to 5, where it was asked for.
        sha256: of the output's bytes, hexadecimal.
        output: name relative to the output folder: a file, or a shard.
        output_bytes: size of the result.
        input_bytes: size of the clip as it was stored.
        extra: the other columns of the list that named the clip, as JSON.
        version: of gense; `write_part` sets it where it is empty.
        finished_at: seconds since 1970, UTC; `write_part` sets it where it is 0. A timestamp in the manifest.
    """

    key: str
    source: str
    status: Literal["ok", "failed", "skipped"]
    reason: str | None = None
    seconds: float | None = None
    sample_rate: int | None = None
    channels: int | None = None
    real_time_factor: float | None = None
    dnsmos: float | None = None
    sha256: str | None = None
    output: str | None = None
    output_bytes: int | None = None
    input_bytes: int | None = None
    extra: str | None = None
    version: str = ""
    finished_at: float = 0.0


def write_part(output: str | os.PathLike[str], rows: Sequence[Row], settings: Settings) -> str:
    """Write rows as OUT/_gense/parts/<random name>.parquet, whole or not at all; returns its path.

    Raises:
        ValueError: no rows.
        OutputError: it cannot be written.
        ImportError: pyarrow is missing.
    """
    if not rows:
        raise ValueError("no rows to write")
    pa, now = pyarrow(), time.time()
    made_with = vars(settings)
    dated = [
        _plain({**vars(row), **made_with}, version=row.version or __version__, finished_at=row.finished_at or now)
        for row in rows
    ]
    table = pa.Table.from_pylist(dated, schema=_schema())
    place = join(absolute(output), f"{PARTS}/{uuid.uuid4().hex}.parquet")
    put(place, _as_bytes(table))
    return place


def done(output: str | os.PathLike[str], settings: Settings, *, dnsmos: bool = False) -> set[str]:
    """Return the keys that need no work: their last row is ok, made with these settings, and their output is there.

    An output counts if its size is the recorded one; one that is cut off, emptied or gone is done again. The version
    of gense is recorded and not compared: an update does not throw away a corpus. Nor is the content of the input,
    which would have to be read for it.

    Args:
        output: folder of the job.
        settings: of the job that is to run.
        dnsmos: whether rows need a score as well.
    """
    folder = absolute(output)
    table = _made_with(_table(folder), settings, same=True)
    if dnsmos:
        table = table.filter(pyarrow().compute.is_valid(table["dnsmos"]))
    there = sizes(folder)
    packed = {} if settings.layout == "files" else packed_keys(folder, there)
    base = "" if settings.layout == "files" else f"{STAGED}/"
    keys, expected, hashes = (table[name].to_pylist() for name in ("key", "output_bytes", "sha256"))
    return {
        key for key, size, sha256 in zip(keys, expected, hashes, strict=True)
        if there.get(base + key) == size or packed.get(key) == sha256
    }  # fmt: skip


def withdraw(output: str | os.PathLike[str], keys: Container[str], settings: Settings) -> int:
    """Note before a job begins which results it is going to replace by such of other settings; returns how many.

    Without it, a job that ends early would leave some new results under rows that tell of the old ones, and a later
    job with the old settings would take them for its own. The rows say "failed" until the new ones are there.

    Args:
        output: folder of the job.
        keys: that the job is going to work on.
        settings: of the job.

    Raises:
        OutputError: it cannot be written.
    """
    folder = absolute(output)
    pa = pyarrow()
    table = _made_with(_table(folder), settings, same=False)
    table = table.filter(pa.array([key in keys for key in table["key"].to_pylist()], "bool"))
    if table.num_rows:
        reason = "its result was about to be replaced by one of other settings when the job ended"
        for name, value in (("status", "failed"), ("reason", reason), ("finished_at", round(time.time() * 1e6))):
            field = table.schema.field(name)
            column = pa.array([value] * table.num_rows, field.type)
            table = table.set_column(table.schema.get_field_index(name), field, column)
        put(join(folder, f"{PARTS}/{uuid.uuid4().hex}.parquet"), _as_bytes(table))
    return table.num_rows


def _made_with(table: Any, settings: Settings, *, same: bool) -> Any:
    """The rows of results that were made with these settings, or with others."""
    pc = pyarrow().compute
    chosen = pc.equal(table["status"], "ok")
    equal = None
    for name, value in asdict(settings).items():
        column = table[name]
        one = pc.is_null(column) if value is None else pc.fill_null(pc.equal(column, value), False)
        equal = one if equal is None else pc.and_(equal, one)
    return table.filter(pc.and_(chosen, equal if same else pc.invert(equal)))


def merge(output: str | os.PathLike[str], *, listed: Container[str] | None = None) -> str:
    """Merge the parts, and what OUT/manifest.parquet holds from earlier jobs, into OUT/manifest.parquet.

    One row a key, sorted by key: the last one that finished, where "skipped" never replaces another. The parts are
    removed when the whole is written. One process at a time may merge, while others go on writing parts: a long job
    does so now and then, because ten thousands of small parts take long to read.

    Args:
        output: folder of the job.
        listed: keys that the job knows; failures of others, such as a shard that was damaged and is no longer, are
            dropped. None keeps everything.

    Returns:
        Path of the manifest.

    Raises:
        OutputError: it cannot be written; the parts stay.
        ValueError: an existing manifest cannot be read.
    """
    folder = absolute(output)
    parts = _parts(folder)
    table = _latest(_gathered(folder, parts))
    if listed is not None:
        columns = zip(table["key"].to_pylist(), table["status"].to_pylist(), strict=True)
        table = table.filter(pyarrow().array([status == "ok" or key in listed for key, status in columns], "bool"))
    place = join(folder, MANIFEST)
    put(place, _as_bytes(table))
    for part in parts:
        remove(part)
    return place


def read(output: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Return the rows so far, merged or not: one dictionary a key, sorted by key, settings among the columns."""
    return _table(absolute(output)).to_pylist()


def _table(folder: str) -> Any:
    return _latest(_gathered(folder, _parts(folder)))


def _parts(folder: str) -> list[str]:
    below = join(folder, PARTS)
    return [join(below, name) for name in sorted(sizes(below)) if name.endswith(".parquet")]


def _gathered(folder: str, parts: Sequence[str]) -> Any:
    """All rows of the manifest and of the parts, in one table."""
    pa = pyarrow()
    fs, path = locate(join(folder, MANIFEST))
    tables = [_schema().empty_table()]
    if fs.exists(path):
        try:
            tables.append(_read(fs, path))
        except (pa.ArrowException, KeyError) as error:
            raise ValueError(f"{path} is no manifest of this program ({error}); move it away") from error

    def rows(part: str) -> Any:
        fs, path = locate(part)
        try:
            return _read(fs, path)
        except (pa.ArrowException, FileNotFoundError):
            return None  # emptied by a power failure, or merged meanwhile: what it told of is done again

    with ThreadPoolExecutor(_REQUESTS) as threads:
        tables += [table for table in threads.map(rows, parts) if table is not None]
    return pa.concat_tables(tables)


def _read(fs: Any, path: str) -> Any:
    pa = pyarrow()
    schema = _schema()
    # Not read_table, which plans for whole data sets and takes ten times as long for a file of a few rows
    table = pa.parquet.ParquetFile(pa.BufferReader(fs.cat_file(path))).read(use_threads=False)
    return table if table.schema.equals(schema) else table.select(schema.names).cast(schema)


def _latest(table: Any) -> Any:
    """One row a key, sorted: the last that finished; a row that only says "skipped" comes before all others."""
    pa = pyarrow()
    table = table.append_column("_worth", pa.compute.not_equal(table["status"], "skipped"))
    order = [("key", "ascending"), ("_worth", "ascending"), ("finished_at", "ascending")]
    table = table.sort_by(order)
    if table.num_rows > 1:
        last = pa.compute.not_equal(table["key"].slice(0, table.num_rows - 1), table["key"].slice(1))
        table = table.filter(pa.chunked_array([*last.chunks, pa.array([True])]))
    return table.drop_columns(["_worth"])


def _schema() -> Any:
    pa = pyarrow()
    text, whole, real = pa.string(), pa.int64(), pa.float64()
    kinds = {
        "key": text, "source": text, "status": text, "reason": text, "seconds": real, "sample_rate": whole,
        "channels": whole, "real_time_factor": real, "dnsmos": real, "sha256": text, "output": text,
        "output_bytes": whole, "input_bytes": whole, "method": text, "weights": text, "version": text, "seed": whole,
        "sampler": text, "steps": whole, "schedule": text, "options": text, "layout": text, "extra": text,
        "finished_at": pa.timestamp("us", tz="UTC"),
    }  # fmt: skip
    return pa.schema(kinds)


def _plain(row: dict[str, Any], *, version: str, finished_at: float) -> dict[str, Any]:
    """The row as Parquet takes it: a name of a file may hold bytes that are no UTF-8."""
    text = {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }
    return {**text, "version": version, "finished_at": round(finished_at * 1e6)}


def _as_bytes(table: Any) -> bytes:
    pa = pyarrow()
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()
