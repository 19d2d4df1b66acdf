"""Shards out: what came in, with enhanced audio; whole or not at all; made anew when clips are added."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gense.scale import packing
from gense.scale.coding import decode
from gense.scale.items import Item
from gense.scale.manifest import Row, Settings, done, write_part
from gense.scale.packing import pack
from gense.scale.places import locate, sizes
from gense.scale.sinks import Sink
from gense.scale.sources import list_items, read_bytes

from .corpora import RATE, sound, store, table, tar

NAMES = ["a", "b", "c", "d"]
STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string(), "rate": pa.int64()})


@pytest.fixture(params=["local", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty folder of each kind of file system."""
    if request.param == "local":
        yield str(tmp_path)
        return
    place = f"memory://{tmp_path.name}/pack"
    yield place
    fs = fsspec.filesystem("memory")
    if fs.exists(place):
        fs.rm(place, recursive=True)


def shards(base: str, layout: str) -> str:
    """Two shards of four clips with text, and the pattern that finds them."""
    for number in range(2):
        clips = {name: sound(10 * number + index, format="FLAC") for index, name in enumerate(NAMES)}
        if layout == "tar":
            samples = [((f"{name}.flac", clip), (f"{name}.txt", name.encode())) for name, clip in clips.items()]
            members = dict(member for sample in samples for member in sample)
            store(base, {f"in/s-{number}.tar": tar({"about.json": b"{}", **members})})
        else:
            audio = [{"bytes": clip, "path": f"{name}.flac", "rate": RATE} for name, clip in clips.items()]
            store(base, {f"in/s-{number}.parquet": table({"text": NAMES, "audio": audio}, group=3, audio=STRUCT)})
    return f"{base}/in/s-{{0..1}}.{layout}"


def enhance(sink: Sink, items: list[Item], settings: Settings, failing: tuple[str, ...] = ()) -> None:
    """A job whose enhancer halves the level; some clips fail."""
    for item in items:
        if item.key.endswith(failing):
            write_part(sink.output, [Row(item.key, item.source, "failed")], settings)
            continue
        data = read_bytes(item)
        written = sink.write(item, decode(data, item.key)[0] / 2, RATE, like=data)
        row = Row(item.key, item.source, "ok", output=written.output, output_bytes=written.size, sha256=written.sha256)
        write_part(sink.output, [row], settings)


def level(data: bytes) -> float:
    return float(abs(decode(data, "x")[0]).max())


def content(sink: Sink, name: str) -> bytes:
    fs, path = locate(f"{sink.output}/{name}")
    return fs.cat_file(path)


@pytest.mark.parametrize("layout", ["tar", "parquet"])
def test_shards_go_in_and_shards_come_out(base: str, layout: Any) -> None:
    items = list(list_items(shards(base, layout)))
    sink, settings = Sink(f"{base}/out", layout), Settings("m", "w", layout=layout)
    enhance(sink, items, settings, failing=("s-1/b.flac",))
    good = {item.key for item in items} - {"s-1/b.flac"}
    assert done(sink.output, settings) == good
    packed = pack(sink, items, done(sink.output, settings))
    assert [(one.output.output, one.clips) for one in packed] == [(f"s-0.{layout}", 4), (f"s-1.{layout}", 3)]
    there = sizes(sink.output)
    assert not [name for name in there if "staged" in name or "part" in name.rpartition("/")[2][:-8]]
    assert {name: there[name] for name in (f"s-0.{layout}", f"s-1.{layout}")} == {
        one.output.output: one.output.size for one in packed
    }
    again = list(list_items(f"{sink.output}/s-{{0..1}}.{layout}"))
    assert [item.key for item in again] == [item.key for item in items if item.key in good]
    by_key = {item.key: item for item in items}
    for item in again:
        assert level(read_bytes(item)) == pytest.approx(level(read_bytes(by_key[item.key])) / 2, abs=1e-4)
    assert done(sink.output, settings) == good
    assert pack(sink, items, good) == []


def test_what_else_is_in_a_tar_shard_is_kept_and_half_samples_are_not(base: str) -> None:
    items = list(list_items(shards(base, "tar")))
    sink = Sink(f"{base}/out", "tar")
    enhance(sink, items, Settings("m", "w", layout="tar"), failing=("s-0/b.flac",))
    pack(sink, items, {item.key for item in items} - {"s-0/b.flac"})
    with tarfile.open(fileobj=io.BytesIO(content(sink, "s-0.tar"))) as archive:
        assert archive.getnames() == ["about.json", "a.flac", "a.txt", "c.flac", "c.txt", "d.flac", "d.txt"]
        member = archive.extractfile("c.txt")
        assert member is not None
        assert member.read() == b"c"
    index = json.loads(content(sink, "_gense/packed/s-0.tar.json"))
    for key, place in index["members"].items():
        data = content(sink, "s-0.tar")[place["offset"] : place["offset"] + place["size"]]
        assert data.startswith(b"fLaC"), key


def test_a_clip_waits_for_the_rest_of_its_sample(base: str) -> None:
    store(base, {"in/s.tar": tar({"a.near.wav": sound(1), "a.far.wav": sound(2), "b.near.wav": sound(3)})})
    items = list(list_items(f"{base}/in/s.tar"))
    sink, settings = Sink(f"{base}/out", "tar"), Settings("m", "w", layout="tar")
    enhance(sink, items, settings, failing=("a.far.wav",))
    ok = done(sink.output, settings)
    (packed,) = pack(sink, items, ok)
    assert packed.clips == 1
    assert done(sink.output, settings) == ok == {"s/a.near.wav", "s/b.near.wav"}
    enhance(sink, [item for item in items if item.key not in ok], settings)
    (packed,) = pack(sink, items, done(sink.output, settings))
    assert packed.clips == 3
    assert not [name for name in sizes(sink.output) if "staged" in name]


def test_other_columns_of_a_table_are_kept(base: str) -> None:
    items = list(list_items(shards(base, "parquet"), format="wav"))
    sink = Sink(f"{base}/out", "parquet")
    enhance(sink, items, Settings("m", "w", layout="parquet"), failing=("s-0/a.wav",))
    pack(sink, items, {item.key for item in items} - {"s-0/a.wav"})
    rows = pq.read_table(pa.BufferReader(content(sink, "s-0.parquet"))).to_pylist()
    assert [row["text"] for row in rows] == ["b", "c", "d"]
    assert [row["audio"]["path"] for row in rows] == ["b.wav", "c.wav", "d.wav"]
    assert {row["audio"]["rate"] for row in rows} == {RATE}
    assert all(row["audio"]["bytes"].startswith(b"RIFF") for row in rows)


def test_plain_bytes_stay_plain_bytes(base: str) -> None:
    store(base, {"in/t.parquet": table({"audio": [sound(seed) for seed in range(3)]})})
    items = list(list_items(f"{base}/in/t.parquet"))
    sink = Sink(f"{base}/out", "parquet")
    enhance(sink, items, Settings("m", "w", layout="parquet"))
    pack(sink, items, {item.key for item in items})
    made = pq.read_table(pa.BufferReader(content(sink, "t.parquet")))
    assert made.schema.names == ["audio"]
    assert made.schema.field("audio").type == pa.binary()
    assert len(made) == 3


@pytest.mark.parametrize("layout", ["tar", "parquet"])
def test_a_clip_that_failed_the_first_time_joins_its_shard(base: str, layout: Any) -> None:
    items = list(list_items(shards(base, layout)))
    sink, settings = Sink(f"{base}/out", layout), Settings("m", "w", layout=layout)
    enhance(sink, items, settings, failing=("s-0/b.flac",))
    pack(sink, items, done(sink.output, settings))
    missing = [item for item in items if item.key not in done(sink.output, settings)]
    assert [item.key for item in missing] == ["s-0/b.flac"]
    enhance(sink, missing, settings)
    (packed,) = pack(sink, items, done(sink.output, settings))
    assert packed.clips == 4
    second = Sink(f"{base}/out2", layout)
    enhance(second, items, settings)
    pack(second, items, done(second.output, settings))
    assert content(sink, f"s-0.{layout}") == content(second, f"s-0.{layout}")


@pytest.mark.parametrize("layout", ["tar", "parquet"])
def test_a_shard_that_is_gone_is_done_again(base: str, layout: Any) -> None:
    items = list(list_items(shards(base, layout)))
    sink, settings = Sink(f"{base}/out", layout), Settings("m", "w", layout=layout)
    enhance(sink, items, settings)
    pack(sink, items, done(sink.output, settings))
    store(sink.output, {f"s-1.{layout}": b"cut"})
    assert done(sink.output, settings) == {item.key for item in items if item.key.startswith("s-0")}


def stopped(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_crash_while_packing_loses_nothing(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(list_items(shards(base, "tar")))
    sink, settings = Sink(f"{base}/out", "tar"), Settings("m", "w", layout="tar")
    enhance(sink, items, settings)
    keys = {item.key for item in items}
    for place in ("put_file", "write_index", "remove"):
        with monkeypatch.context() as patch:
            patch.setattr(packing, place, stopped)
            with pytest.raises(KeyboardInterrupt):
                pack(sink, items, keys)
        assert done(sink.output, settings) == keys
    pack(sink, items, keys)
    assert done(sink.output, settings) == keys
    assert set(sizes(sink.output)) >= {"s-0.tar", "s-1.tar"}
    assert not [name for name in sizes(sink.output) if "staged" in name]
    assert len(list(list_items(f"{sink.output}/*.tar"))) == 8


def test_files_are_not_packed(base: str) -> None:
    with pytest.raises(ValueError, match="layout='files' has no shards"):
        pack(Sink(base), [], set())
