"""Rows of a job: written in parts, one a key in the end, and what they save a second run."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from gense.checkpoints import registry
from gense.scale import manifest, places
from gense.scale.manifest import Row, Settings, done, merge, read, withdraw, write_part
from gense.scale.weights import weights_hash
from gense.version import __version__
from tests.folders import write_model

from .corpora import store

SETTINGS = Settings(method="flowse", weights="ab", steps=1, options='{"a": 1}')


@pytest.fixture(params=["local", "memory"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An output folder of each kind of file system, not there yet."""
    if request.param == "local":
        yield str(tmp_path / "out")
        return
    place = f"memory://{tmp_path.name}/out"
    yield place
    fs = fsspec.filesystem("memory")
    if fs.exists(place):
        fs.rm(place, recursive=True)


def ok(key: str, size: int = 1, **fields: object) -> Row:
    return dataclasses.replace(Row(key, f"/in/{key}", "ok", output=key, output_bytes=size, sha256="0"), **fields)


def test_rows_come_back_with_settings_version_and_time(out: str) -> None:
    before = time.time()
    row = ok("a.wav", 5, seconds=2.5, sample_rate=16000, channels=2, real_time_factor=0.1, dnsmos=3.5, input_bytes=9)
    write_part(out, [row, Row("b.wav", "s", "failed", reason="broken")], SETTINGS)
    path = merge(out)
    assert path == f"{places.absolute(out)}/manifest.parquet"
    first, second = read(out)
    finished = first.pop("finished_at")
    assert finished.tzinfo is not None
    assert before - 1 < finished.timestamp() < time.time() + 1
    row = dataclasses.replace(row, version=__version__)
    expected = {**dataclasses.asdict(row), **dataclasses.asdict(SETTINGS)}
    del expected["finished_at"]
    assert first == expected
    assert (second["status"], second["reason"], second["dnsmos"]) == ("failed", "broken", None)
    fs, inner = fsspec.core.url_to_fs(path)
    with fs.open(inner, "rb") as file:
        schema = pq.read_schema(file)
    assert schema.field("dnsmos").type == "double"
    assert str(schema.field("finished_at").type) == "timestamp[us, tz=UTC]"


def test_one_row_a_key_the_last_one_whatever_the_order_of_writing(out: str) -> None:
    rows = [
        ok("b", finished_at=3.0), Row("b", "s", "failed", finished_at=2.0), ok("a", finished_at=1.0),
        Row("a", "s", "failed", reason="later", finished_at=2.0), Row("a", "s", "skipped", finished_at=9.0),
        Row("c", "s", "skipped", finished_at=1.0),
    ]  # fmt: skip
    for row in rows:
        write_part(out, [row], SETTINGS)
    expected = [("a", "failed"), ("b", "ok"), ("c", "skipped")]
    assert [(row["key"], row["status"]) for row in read(out)] == expected
    merge(out)
    assert [(row["key"], row["status"]) for row in read(out)] == expected
    assert places.sizes(out).keys() == {"manifest.parquet"}
    write_part(out, [ok("a", finished_at=3.0)], SETTINGS)
    merge(out)
    assert [(row["key"], row["status"]) for row in read(out)] == [("a", "ok"), ("b", "ok"), ("c", "skipped")]


def stopped(*_: object) -> None:
    raise KeyboardInterrupt


def test_merging_twice_or_after_a_crash_changes_nothing(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write_part(out, [ok("a"), ok("b")], SETTINGS)
    with monkeypatch.context() as patch:
        patch.setattr(manifest, "remove", stopped)
        with pytest.raises(KeyboardInterrupt):
            merge(out)
    rows = read(out)
    assert [row["key"] for row in rows] == ["a", "b"]
    merge(out)
    merge(out)
    assert read(out) == rows


def test_an_empty_manifest(out: str) -> None:
    assert read(out) == []
    assert done(out, SETTINGS) == set()
    merge(out)
    assert read(out) == []
    with pytest.raises(ValueError, match="no rows"):
        write_part(out, [], SETTINGS)


def test_done_is_what_is_there_whole_and_of_the_same_settings(out: str) -> None:
    store(out, {"a": b"12345", "sub/b": b"12345", "cut": b"123", "failed": b"12345", "other": b"12345"})
    write_part(out, [ok("a", 5), ok("sub/b", 5), ok("cut", 5), ok("gone", 5)], SETTINGS)
    write_part(out, [Row("failed", "s", "failed", output_bytes=5)], SETTINGS)
    write_part(out, [ok("other", 5)], dataclasses.replace(SETTINGS, seed=1))
    assert done(out, SETTINGS) == {"a", "sub/b"}
    merge(out)
    assert done(out, SETTINGS) == {"a", "sub/b"}
    assert done(out, dataclasses.replace(SETTINGS, seed=1)) == {"other"}


@pytest.mark.parametrize("change", [
    {"method": "other"}, {"weights": "cd"}, {"seed": 1}, {"sampler": "heun"}, {"steps": None}, {"steps": 2},
    {"schedule": "uniform"}, {"options": "{}"}, {"layout": "tar"},
])  # fmt: skip
def test_every_setting_counts(tmp_path: Path, change: dict[str, object]) -> None:
    store(str(tmp_path), {"a": b"1"})
    changed = dataclasses.replace(SETTINGS, **change)
    for settings, other in ((SETTINGS, changed), (changed, SETTINGS)):
        write_part(tmp_path, [ok("a", finished_at=time.time())], settings)
        assert done(tmp_path, settings) == ({"a"} if settings.layout == "files" else set())
        assert done(tmp_path, other) == set()


def test_scores_are_asked_for_or_not(tmp_path: Path) -> None:
    store(str(tmp_path), {"a": b"1", "b": b"1"})
    write_part(tmp_path, [ok("a"), ok("b", dnsmos=3.0)], SETTINGS)
    assert done(tmp_path, SETTINGS) == {"a", "b"}
    assert done(tmp_path, SETTINGS, dnsmos=True) == {"b"}


def test_results_that_are_being_replaced_count_for_nobody(out: str) -> None:
    """A job with another seed that dies after it has replaced a file of equal size, and before it wrote the row."""
    store(out, {"a": b"old", "b": b"old", "c": b"old"})
    write_part(out, [ok("a", 3), ok("b", 3), ok("c", 3)], SETTINGS)
    other = dataclasses.replace(SETTINGS, seed=1)
    assert withdraw(out, {"a", "b"}, SETTINGS) == 0
    assert withdraw(out, {"a", "b"}, other) == 2
    store(out, {"a": b"new"})
    assert done(out, SETTINGS) == {"c"}
    assert [row["status"] for row in read(out)] == ["failed", "failed", "ok"]
    write_part(out, [ok("a", 3)], other)
    assert done(out, other) == {"a"}


def test_failures_of_what_is_no_longer_listed_are_dropped(out: str) -> None:
    write_part(out, [Row("s.tar", "s", "failed"), Row("b", "s", "failed"), ok("a")], SETTINGS)
    merge(out, listed={"b"})
    assert [row["key"] for row in read(out)] == ["a", "b"]


def test_parts_that_a_power_failure_emptied_are_left_out(out: str) -> None:
    write_part(out, [ok("a")], SETTINGS)
    store(out, {"_gense/parts/0.parquet": b"", "_gense/parts/1.parquet": b"PAR1", "_gense/parts/x.tmp": b"x"})
    assert [row["key"] for row in read(out)] == ["a"]
    merge(out)
    assert places.sizes(out).keys() == {"manifest.parquet", "_gense/parts/x.tmp"}


def test_a_manifest_of_somebody_else_is_not_overwritten(out: str) -> None:
    store(out, {"manifest.parquet": b"my own"})
    write_part(out, [ok("a")], SETTINGS)
    with pytest.raises(ValueError, match="is no manifest of this program"):
        merge(out)
    assert "manifest.parquet" in places.sizes(out)
    assert len(places.sizes(out)) == 2


def test_names_that_are_no_utf8_can_be_recorded(out: str) -> None:
    write_part(out, [Row("a", "/in/\udcff.wav", "failed", reason="'\udcff'")], SETTINGS)
    assert read(out)[0]["source"] == "/in/\\udcff.wav"


def test_many_rows(tmp_path: Path) -> None:
    keys = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(4000)]
    for start in range(0, len(keys), 1000):
        write_part(tmp_path, [ok(key, finished_at=1.0) for key in keys[start : start + 1000]], SETTINGS)
    write_part(tmp_path, [ok(key, 7, finished_at=2.0) for key in keys[::2]], SETTINGS)
    merge(tmp_path)
    rows = read(tmp_path)
    assert [row["key"] for row in rows] == sorted(keys)
    assert sum(row["output_bytes"] == 7 for row in rows) == len(keys) // 2
    assert rows[0]["finished_at"].year == datetime.date(1970, 1, 1).year


def test_weights_have_a_checksum(tmp_path: Path) -> None:
    model = write_model(tmp_path / "model")
    expected = hashlib.sha256((model / "model.safetensors").read_bytes()).hexdigest()
    assert weights_hash(model) == weights_hash(model / "model.safetensors") == weights_hash(model / "method.yaml")
    assert weights_hash(model) == expected
    assert len(weights_hash("flowse/compact")) == 64
    with pytest.raises(FileNotFoundError, match="no such file"):
        weights_hash(tmp_path)


def test_weights_in_several_files_have_one_checksum_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, whole = registry.entries(), registry.find("flowse/cascade")
    assert whole is not None
    before = weights_hash(whole.name)
    assert len(before) == 64
    # The same file with another part beside it is another model
    other = dataclasses.replace(whole, parts={"head.stages.denoised": "flowse/compact"})
    monkeypatch.setattr(registry, "entries", lambda: tuple(other if e is whole else e for e in entries))
    assert weights_hash(whole.name) != before
