"""Tar shards and Parquet files: listed without their audio, read by offset and row, reported when damaged."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pytest

from gense.scale.items import Item
from gense.scale.sources import Reader, list_items, read_bytes

from .corpora import sound, store, table, tar

CLIPS = {f"{index:04d}.wav": bytes([index]) * (700 * index + 1) for index in range(1, 7)}
MEMBERS = {
    name.replace("wav", end): data for name, clip in CLIPS.items() for end, data in (("wav", clip), ("txt", b"t"))
}
BLOCK = tarfile.BLOCKSIZE


@pytest.fixture(params=["local", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty folder of each kind of file system."""
    if request.param == "local":
        yield str(tmp_path)
        return
    place = f"memory://{tmp_path.name}/shards"
    yield place
    fs = fsspec.filesystem("memory")
    if fs.exists(place):
        fs.rm(place, recursive=True)


def good(items: list[Item]) -> dict[str, bytes]:
    return {item.key: read_bytes(item) for item in items if item.problem is None}


def bad(items: list[Item]) -> dict[str, str]:
    return {item.key: item.problem for item in items if item.problem is not None}


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_members_of_shards_are_clips(base: str, format: int) -> None:
    long = "deep/" * 15 + "x.flac" if format == tarfile.USTAR_FORMAT else "deep/" * 30 + "ü.flac"
    first = tar({"a/x.wav": b"ax", "._x.wav": b"mac", "a/x.json": b"{}", long: b"long"}, format)
    store(base, {"s-00.tar": first, "s-01.tar": tar({"a/x.wav": b"bx"}, format)})
    items = list(list_items(f"{base}/s-{{00..01}}.tar"))
    assert good(items) == {"s-00/a/x.wav": b"ax", f"s-00/{long}": b"long", "s-01/a/x.wav": b"bx"}
    assert [item.shard for item in items] == ["s-00.tar", "s-00.tar", "s-01.tar"]
    with fsspec.open(items[0].source) as file:
        assert file.read() == b"ax"


def test_shards_of_equal_names_in_different_folders_stay_apart(base: str) -> None:
    store(base, {f"{part}/s.tar": tar({"x.wav": part.encode()}) for part in "ab"})
    assert good(list(list_items(f"{base}/*/s.tar"))) == {"a/s/x.wav": b"a", "b/s/x.wav": b"b"}


def test_a_listing_reads_headers_and_a_clip_its_own_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(str(tmp_path), {"s.tar": tar({f"{index}.wav": bytes(1 << 20) for index in range(8)})})
    taken: list[int] = []
    fs = fsspec.filesystem("file")
    opened, cat = fs.open, fs.cat_file

    class Counted:
        def __init__(self, file: Any):
            self.file = file

        def __enter__(self) -> Counted:
            return self

        def __exit__(self, *_: object) -> None:
            self.file.close()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def read(self, size: int = -1) -> bytes:
            data = self.file.read(size)
            taken.append(len(data))
            return data

    monkeypatch.setattr("gense.scale.tars.locate", lambda uri: (fs, uri))
    monkeypatch.setattr(fs, "open", lambda *args, **kwargs: Counted(opened(*args, **kwargs)))
    items = list(list_items(tmp_path / "s.tar"))
    assert len(items) == 8
    assert sum(taken) < 8 * 4 * BLOCK
    monkeypatch.undo()
    monkeypatch.setattr(fs, "cat_file", lambda *args, **kwargs: taken.append(kwargs["end"]) or cat(*args, **kwargs))
    monkeypatch.setattr("gense.scale.sources.locate", lambda uri: (fs, uri))
    assert read_bytes(items[7]) == bytes(1 << 20)
    assert taken[-1] == int(items[7].offset or 0) + (1 << 20)


def test_a_shard_cut_off_anywhere_gives_the_whole_members_and_says_so(tmp_path: Path) -> None:
    """The truth: a member is there if its last byte is."""
    whole = tar(MEMBERS)
    store(str(tmp_path), {"whole.tar": whole})
    ends = {i.key[6:]: int(i.offset or 0) + i.size for i in list_items(tmp_path / "whole.tar")}
    assert sorted(ends) == sorted(CLIPS)
    assert len(ends) == 6
    for length in range(0, max(ends.values()) + BLOCK, 211):
        store(str(tmp_path), {"cut.tar": whole[:length]})
        items = list(list_items(tmp_path / "cut.tar"))
        there = {f"cut/{name}": CLIPS[name] for name, end in ends.items() if end <= length}
        assert good(items) == there, length
        assert list(bad(items)) == ["cut.tar"], length


def test_what_follows_a_damaged_header_is_found_again(base: str) -> None:
    whole = tar(MEMBERS, tarfile.USTAR_FORMAT)
    store(base, {"s.tar": whole})
    for item in list_items(f"{base}/s.tar"):
        broken = bytearray(whole)
        header = int(item.offset or 0) - BLOCK
        broken[header : header + 100] = bytes(range(100))
        store(base, {"broken.tar": bytes(broken)})
        items = list(list_items(f"{base}/broken.tar"))
        assert good(items) == {f"broken/{name}": clip for name, clip in CLIPS.items() if item.key != f"s/{name}"}
        assert f"no header at byte {header}" in bad(items)["broken.tar"]


def test_noise_over_a_shard_never_stops_a_listing(tmp_path: Path) -> None:
    """Whatever is overwritten, listing ends, lists no bytes that are not there, and what it lists can be read."""
    whole = tar(MEMBERS)
    rng = np.random.default_rng(0)
    for _ in range(150):
        broken = bytearray(whole)
        start = BLOCK * int(rng.integers(len(whole) // BLOCK)) + int(rng.choice([0, 100, 124, 148, 156, 257, 345]))
        noise = rng.integers(0, 256, int(rng.integers(1, 40)), dtype=np.uint8).tobytes()
        broken[start : start + len(noise)] = noise
        store(str(tmp_path), {"broken.tar": bytes(broken[: len(whole)])})
        items = list(list_items(tmp_path / "broken.tar"))
        assert len(good(items)) + len(bad(items)) == len(items)
        assert len(good(items)) >= len(CLIPS) - 3


@pytest.mark.parametrize("size", [b"77777777777", b"\x80" + b"\xff" * 10 + b"\x00", b"\xff" * 11 + b"\x00"])
def test_absurd_lengths_of_members_end_the_listing(tmp_path: Path, size: bytes) -> None:
    whole = bytearray(tar(CLIPS, tarfile.USTAR_FORMAT))
    whole[124 : 124 + len(size)] = size
    whole[148:156] = b" " * 8
    whole[148:156] = b"%06o\0 " % sum(whole[:BLOCK])
    store(str(tmp_path), {"s.tar": bytes(whole)})
    assert "s.tar" in bad(list(list_items(tmp_path / "s.tar")))


def test_other_files_called_tar_are_one_problem(base: str) -> None:
    store(base, {"a.tar": b"", "b.tar": b"<html>" * 1000, "c.tar": tar({"x.wav": b"x"})})
    items = list(list_items(f"{base}/{{a,b,c,d}}.tar"))
    assert list(good(items)) == ["c/x.wav"]
    assert set(bad(items)) == {"a.tar", "b.tar", "d.tar"}
    assert "empty" in bad(items)["a.tar"]


def test_members_that_would_leave_the_output_folder_are_refused(base: str) -> None:
    store(base, {"s.tar": tar({"../../x.wav": b"x", "/etc/y.wav": b"y", "a/../z.wav": b"z", "ok.wav": b"ok"})})
    items = list(list_items(f"{base}/s.tar"))
    assert good(items) == {"s/ok.wav": b"ok"}
    assert len(bad(items)) == 3
    assert not [key for key in bad(items) if ".." in key or key.startswith("/")]


def test_two_members_of_one_name_are_refused(base: str) -> None:
    store(base, {"s.tar": tar({"x.wav": b"x", "./x.wav": b"y"})})
    with pytest.raises(ValueError, match=r"would both be written to s/x\.wav"):
        list(list_items(f"{base}/s.tar"))


def test_a_shard_that_changed_since_it_was_listed(base: str) -> None:
    store(base, {"s.tar": tar({"x.wav": bytes(5000)})})
    (item,) = list_items(f"{base}/s.tar")
    store(base, {"s.tar": tar({"x.wav": b"short"})[:1024]})
    with pytest.raises(ValueError, match="has changed"):
        read_bytes(item)


STRUCT = pa.struct({"bytes": pa.binary(), "path": pa.string()})
TABLES: dict[str, tuple[dict[str, list[Any]], dict[str, Any], list[str]]] = {
    "key": ({"key": ["a.wav", "b.wav", "c.wav"], "audio": [b"1", b"22", b"333"]}, {}, ["a.wav", "b.wav", "c.wav"]),
    "id without a suffix": ({"id": [7, 8, 9], "audio": [b"fLaC1", b"22", b"333"]}, {}, ["7.flac", "8.flac", "9.flac"]),
    "number": ({"audio": [b"1", b"22", b"333"]}, {"audio": pa.large_binary()}, [f"{n:08d}.wav" for n in range(3)]),
    "struct": (
        {"audio": [{"bytes": b"1", "path": "p/a.mp3"}, {"bytes": b"22", "path": None}, {"bytes": b"333", "path": "c"}]},
        {"audio": STRUCT}, ["p/a.mp3", "00000001.wav", "c.wav"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_rows_of_tables_are_clips(base: str, name: str) -> None:
    columns, types, names = TABLES[name]
    store(base, {"t.parquet": table({**columns, "text": ["x", "y", "z"]}, **types)})
    items = list(list_items(f"{base}/t.parquet"))
    assert [item.key for item in items] == [f"t/{name}" for name in names]
    reader = Reader()
    for order in ((0, 1, 2), (2, 0, 1), (1, 1, 0)):
        for index in order:
            assert reader.read(items[index])[-1:] == str(index + 1).encode()
    reader.close()


def test_columns_of_other_names(base: str) -> None:
    store(base, {"t.parquet": table({"my.wav": [b"1", b"2"], "who": ["x", "y"]})})
    items = list(list_items(f"{base}/t.parquet", audio_column="my.wav", key_column="who"))
    assert good(items) == {"t/x.wav": b"1", "t/y.wav": b"2"}
    store(base, {"t.parquet": table({"audio": [b"1", b"2"], "who": ["x", "y"]})})
    with pytest.raises(ValueError, match=r"no column 'name' with keys; there are audio, who"):
        list(list_items(f"{base}/t.parquet", key_column="name"))


def test_rows_without_audio_fail_by_themselves(base: str) -> None:
    values = [{"bytes": None, "path": "a.wav"}, None, {"bytes": b"ok", "path": "c.wav"}]
    store(base, {"t.parquet": table({"audio": values}, audio=STRUCT)})
    items = list(list_items(f"{base}/t.parquet"))
    reader = Reader()
    for item in items[:2]:
        with pytest.raises(ValueError, match="holds no bytes"):
            reader.read(item)
    assert reader.read(items[2]) == b"ok"


def test_damaged_tables(base: str) -> None:
    whole = table({"audio": [sound(seed) for seed in range(6)], "key": [f"{seed}.wav" for seed in range(6)]})
    store(base, {"cut.parquet": whole[:-9], "text.parquet": b"PAR1 no", "empty.parquet": b"", "t.parquet": whole})
    items = list(list_items(f"{base}/{{cut,text,empty,t}}.parquet"))
    assert list(good(items)) == [f"t/{seed}.wav" for seed in range(6)]
    assert set(bad(items)) == {"cut.parquet", "text.parquet", "empty.parquet"}


def test_damaged_pages_cost_their_row_group(base: str) -> None:
    clips = [sound(seed) for seed in range(6)]
    whole = bytearray(table({"audio": clips, "key": [f"{seed}.wav" for seed in range(6)]}))
    # In the page header before the second row group's audio
    inside = pa.parquet.ParquetFile(pa.BufferReader(bytes(whole))).metadata.row_group(1).column(0)
    at = inside.dictionary_page_offset or inside.data_page_offset
    whole[at : at + 12] = b"\xff" * 12
    store(base, {"t.parquet": bytes(whole)})
    items = list(list_items(f"{base}/t.parquet"))
    reader = Reader()
    for index in (0, 2, 1, 3, 4, 5):
        if index in (2, 3):
            with pytest.raises(ValueError, match=f"row {index} cannot be read"):
                reader.read(items[index])
        else:
            assert reader.read(items[index]) == clips[index]


def test_a_long_row_group_is_not_held_in_memory(tmp_path: Path) -> None:
    """50 clips of 512 kB in one row group, 4 in a page: reading allocates some clips, not all."""
    clips = [np.random.default_rng(seed).bytes(1 << 19) for seed in range(50)]
    store(str(tmp_path), {"t.parquet": table({"audio": clips}, group=50)})
    items = list(list_items(tmp_path / "t.parquet"))
    pool = pa.default_memory_pool()
    before, highest = pool.bytes_allocated(), 0
    reader = Reader()
    for index in range(0, 50, 9):
        assert reader.read(items[index]) == clips[index]
        highest = max(highest, pool.bytes_allocated())
    reader.close()
    assert highest - before < 12 << 20
    assert abs(items[0].size - (1 << 19)) < 1 << 12
