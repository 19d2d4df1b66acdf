"""A worker by itself, without Ray: its rows, that company changes nothing, and what it does after a death."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

import gense
from gense.metrics.dnsmos import dnsmos
from gense.scale import places, processing
from gense.scale.batches import Batch
from gense.scale.items import Item
from gense.scale.journal import Attempt, Journal
from gense.scale.manifest import Row, Settings, read
from gense.scale.places import OutputError
from gense.scale.sinks import Sink
from gense.scale.sources import list_items
from gense.scale.worker import Job, Worker
from tests.folders import noise_like_speech, write_model

Corpus = tuple[Path, list[Item]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("worker") / "model"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Clips of several lengths, rates, formats and numbers of channels, the first of them longer than a chunk."""
    folder = tmp_path_factory.mktemp("clips")
    for number, (suffix, rate, channels, samples) in enumerate(
        [("wav", 16000, 1, 40000), ("flac", 22050, 2, 5000), ("wav", 8000, 1, 900), ("flac", 16000, 1, 5000)]
    ):
        soundfile.write(folder / f"{number}.{suffix}", noise_like_speech(samples, number, channels).T, rate)
    return folder, list(list_items(folder))


def job(output: Path, model: str, **changes) -> Job:
    return Job("run", Sink(str(output)), Settings(model, "weights"), **changes)


def shas(rows: list[Row]) -> dict[str, str | None]:
    assert [row.status for row in rows] == ["ok"] * len(rows), [row.reason for row in rows]
    return {row.key: row.sha256 for row in rows}


def test_results_are_those_of_a_single_file_and_rows_tell_of_them(tmp_path: Path, model: str, clips: Corpus) -> None:
    folder, items = clips
    outcome = Worker(job(tmp_path / "out", model)).work(Batch("b", tuple(items)))
    assert outcome.blocked is None
    assert outcome.recorded
    for item, row in zip(items, outcome.rows, strict=True):
        source = folder / item.key
        gense.enhance(source, model, output=tmp_path / item.key, device="cpu")
        got, rate = soundfile.read(tmp_path / "out" / item.key)
        np.testing.assert_array_equal(got, soundfile.read(tmp_path / item.key)[0])
        info = soundfile.info(str(source))
        assert (row.key, row.status, row.reason, row.output) == (item.key, "ok", None, item.key)
        assert (row.seconds, row.sample_rate, row.channels) == (info.duration, rate, info.channels)
        assert (row.input_bytes, row.output_bytes) == (
            source.stat().st_size, (tmp_path / "out" / item.key).stat().st_size,
        )  # fmt: skip
        assert row.real_time_factor is not None
        assert row.real_time_factor > 0
    assert {row["key"]: row["sha256"] for row in read(tmp_path / "out")} == shas(outcome.rows)


def test_a_result_does_not_depend_on_its_company_or_the_order(tmp_path: Path, model: str, clips: Corpus) -> None:
    items = clips[1]
    together = Worker(job(tmp_path / "a", model)).work(Batch("b", tuple(items)))
    worker = Worker(job(tmp_path / "b", model))
    alone = [row for item in reversed(items) for row in worker.work(Batch(item.key[0], (item,))).rows]
    grouped = Worker(job(tmp_path / "c", model))
    grouped.processing._together = 1000.0  # as on a device where company pays off
    assert shas(together.rows) == shas(alone) == shas(grouped.work(Batch("b", tuple(items))).rows)


def test_a_long_clip_goes_as_a_stream_and_comes_out_the_same(tmp_path: Path, model: str, clips: Corpus) -> None:
    item = clips[1][0]
    Worker(job(tmp_path / "a", model)).work(Batch("b", (item,)))
    (row,) = Worker(job(tmp_path / "b", model)).work(Batch("b", (item,), long=True)).rows
    assert (row.status, row.seconds, row.channels) == ("ok", 2.5, 1)
    assert row.real_time_factor is not None
    assert row.real_time_factor > 0
    one, other = (soundfile.read(tmp_path / name / item.key)[0] for name in "ab")
    np.testing.assert_allclose(one, other, atol=2**-15)
    assert not list((tmp_path / "b" / "_gense" / "work").rglob("*"))


def test_what_a_clip_brings_up_fails_it_alone(tmp_path: Path, model: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_bytes(b"no audio at all")
    soundfile.write(folder / "nan.wav", np.full(800, np.nan), 16000, subtype="FLOAT")
    soundfile.write(folder / "good.wav", noise_like_speech(800), 16000)
    items = [*list_items(folder), Item("gone.wav", str(folder / "gone.wav"))]
    for long in (False, True):
        rows = Worker(job(tmp_path / f"out{long}", model)).work(Batch("b", tuple(items), long)).rows
        told = {row.key: (row.status, row.reason) for row in rows}
        assert told.pop("good.wav") == ("ok", None)
        assert {status for status, _ in told.values()} == {"failed"}
        assert "empty" in str(told["empty.wav"][1])
        assert "cannot be read as audio" in str(told["text.wav"][1])
        assert "NaN" in str(told["nan.wav"][1])
        assert told["gone.wav"][1]
        left = {p.relative_to(tmp_path / f"out{long}").parts[0] for p in (tmp_path / f"out{long}").rglob("*")}
        assert left == {"_gense", "good.wav"}


def test_a_group_that_fails_is_tried_one_by_one(tmp_path: Path, model: str, clips: Corpus, monkeypatch) -> None:
    """Such as by the memory of a device."""
    worker = Worker(job(tmp_path / "out", model))
    worker.processing._together = 1000.0
    enhance_clips, sizes = processing.enhance_clips, []

    def small_device(enhancer, pairs, **settings):
        sizes.append(len(pairs))
        if len(pairs) > 1:
            raise RuntimeError("out of memory")
        return enhance_clips(enhancer, pairs, **settings)

    monkeypatch.setattr(processing, "enhance_clips", small_device)
    assert len(shas(worker.work(Batch("b", tuple(clips[1]))).rows)) == len(clips[1])
    assert sizes == [len(clips[1])] + [1] * len(clips[1])


# -- after a death ----------------------------------------------------------------------------------------------------


class Death(BaseException):
    """Ends the worker where it is, like a signal."""


def until_it_returns(job: Job, batch: Batch, deaths: int = 20):
    """What Ray does: a new worker takes over the batch of one that died. Returns the outcome and how many died."""
    for died in range(deaths):
        try:
            return Worker(job).work(batch), died
        except Death:
            continue
    raise AssertionError("the batch never came back")


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_clip_that_kills_every_worker_fails_and_the_others_do_not(
    tmp_path: Path, model: str, clips: Corpus, monkeypatch, attempts: int
) -> None:
    items = clips[1]
    worked: list[str] = []
    decode = processing.decode

    def deadly(data: bytes, name: str):
        worked.append(os.path.basename(name))
        if name.endswith("1.flac"):
            raise Death
        return decode(data, name)

    monkeypatch.setattr(processing, "decode", deadly)
    outcome, died = until_it_returns(job(tmp_path, model, attempts=attempts), Batch("b", tuple(items)))
    assert died == 1 + attempts  # once in company, where nobody is to blame
    told = {row.key: row.status for row in outcome.rows}
    assert told == {"0.wav": "ok", "1.flac": "failed", "2.wav": "ok", "3.flac": "ok"}
    (reason,) = [row.reason for row in outcome.rows if row.status == "failed"]
    assert reason == f"its worker process died {attempts} times while it was working on it alone"
    # Those that are finished are not done again once clips go one by one
    assert worked.count("0.wav") <= 2
    assert worked.count("2.wav") <= 2
    assert [row["status"] for row in read(tmp_path)] == ["ok", "failed", "ok", "ok"]


def test_a_batch_of_one_is_to_blame_at_once(tmp_path: Path, model: str, clips: Corpus, monkeypatch) -> None:
    def deadly(data: bytes, name: str):
        raise Death

    monkeypatch.setattr(processing, "decode", deadly)
    _, died = until_it_returns(job(tmp_path, model, attempts=2), Batch("b", (clips[1][0],)))
    assert died == 2


def test_a_batch_that_comes_a_second_time_is_not_done_twice(tmp_path: Path, model: str, clips: Corpus) -> None:
    """Ray repeats a task whose result was lost with its node."""
    batch = Batch("b", tuple(clips[1]))
    first = Worker(job(tmp_path, model)).work(batch)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()}
    assert Worker(job(tmp_path, model)).work(batch).rows == first.rows
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.*") if path.is_file()} == times


def test_the_journal_of_another_job_means_nothing(tmp_path: Path) -> None:
    entry = Attempt("a", {"a": 2}, [Row("b", "x/b", "ok", seconds=1.5)])
    Journal(str(tmp_path), "one").note("b", entry)
    assert Journal(str(tmp_path), "one").recall("b") == entry
    assert Journal(str(tmp_path), "other").recall("b") is None
    assert Journal(str(tmp_path), "one").recall("c") is None


# -- when nothing can be written --------------------------------------------------------------------------------------


def test_a_full_disk_fails_a_clip_with_that_reason(tmp_path: Path, model: str, clips: Corpus, monkeypatch) -> None:
    write = Sink.write

    def full(self, item, *args, **kwargs):
        if item.key == "2.wav":
            raise OutputError(28, "the disk is full")
        return write(self, item, *args, **kwargs)

    monkeypatch.setattr(Sink, "write", full)
    outcome = Worker(job(tmp_path, model)).work(Batch("b", tuple(clips[1])))
    assert {row.key: row.status for row in outcome.rows if row.status != "ok"} == {"2.wav": "failed"}
    assert "the disk is full" in str(outcome.blocked)
    assert outcome.recorded


def test_a_disk_on_which_not_even_the_journal_fits_fails_all(tmp_path: Path, model: str, clips: Corpus) -> None:
    worker = Worker(job(tmp_path / "out", model))
    (tmp_path / "out").write_text("a file where the folder should be")
    outcome = worker.work(Batch("b", tuple(clips[1])))
    assert [row.status for row in outcome.rows] == ["failed"] * len(clips[1])
    assert outcome.blocked
    assert not outcome.recorded


# -- scores -----------------------------------------------------------------------------------------------------------


def test_scores_are_the_mean_over_channels_and_silence_has_none(tmp_path: Path, model: str) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("speechmos")
    folder = tmp_path / "in"
    folder.mkdir()
    soundfile.write(folder / "loud.wav", noise_like_speech(16000, channels=2).T, 16000, subtype="FLOAT")
    soundfile.write(folder / "none.wav", np.zeros(16000), 16000)
    out = tmp_path / "out"
    rows = Worker(job(out, model, dnsmos=True)).work(Batch("b", tuple(list_items(folder)))).rows
    wav, rate = soundfile.read(out / "loud.wav", dtype="float32")
    assert rows[0].dnsmos == pytest.approx(np.mean([dnsmos(c.clip(-1, 1), rate).ovrl for c in wav.T]), abs=1e-6)
    assert (rows[1].status, rows[1].dnsmos) == ("ok", None)


def test_a_worker_writes_to_any_file_system(model: str, clips: Corpus) -> None:
    outcome = Worker(Job("run", Sink("memory://worker-out"), Settings(model, "w"))).work(Batch("b", (clips[1][2],)))
    assert outcome.rows[0].status == "ok"
    assert set(places.sizes("memory://worker-out")) >= {"2.wav"}
