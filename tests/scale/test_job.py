"""What a job does around its workers: what is left out, counted, merged, and how it stops. Workers run in this process;
`test_ray.py` has real ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gense.cli import main
from gense.scale import enhance_corpus, job
from gense.scale.batches import Batch
from gense.scale.cluster import Workers
from gense.scale.command import corpus_parser
from gense.scale.places import OutputError
from gense.scale.sinks import Sink
from gense.scale.worker import Job, Outcome, Worker
from tests.folders import write_model
from tests.scale.corpora import sound, store, tar


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("job") / "model"))


class Team:
    """Workers in this process, in place of Ray's."""

    def __init__(self) -> None:
        self.started = 0
        self.batches: list[Batch] = []

    @contextlib.contextmanager
    def ray_for(self, workers: int | None, cpus: float, gpus: float, address: str | None) -> Iterator[Workers]:
        self.started += 1
        yield Workers(workers or 2, cpus, gpus)

    def outcomes(self, batches: Sequence[Batch], job: Job, workers: Workers) -> Iterator[Outcome]:
        worker = Worker(job)
        for batch in batches:
            self.batches.append(batch)
            yield worker.work(batch)


@pytest.fixture
def team(monkeypatch: pytest.MonkeyPatch) -> Team:
    here = Team()
    monkeypatch.setattr(job, "ray_for", here.ray_for)
    monkeypatch.setattr(job, "outcomes", here.outcomes)
    return here


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Five clips, one of them bad."""
    store(str(tmp_path / "in"), {f"a/{number}.wav": sound(number) for number in range(4)} | {"bad.wav": b"nothing"})
    return tmp_path / "in"


def manifest(output: Path) -> dict[str, str]:
    table = pq.read_table(output / "manifest.parquet").to_pylist()
    assert len({row["key"] for row in table}) == len(table)
    return {row["key"]: row["status"] for row in table}


def sounds(output: Path) -> list[str]:
    return sorted(path.relative_to(output).as_posix() for path in output.rglob("*.wav"))


def test_a_job_leaves_results_a_manifest_and_nothing_else(tmp_path: Path, model: str, clips: Path, team: Team) -> None:
    report = enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    assert (report.done, report.skipped, list(report.failed)) == (4, 0, ["bad.wav"])
    assert report.hours == pytest.approx(4 * 0.1 / 3600)
    assert report.manifest == str(tmp_path / "out" / "manifest.parquet")
    assert manifest(tmp_path / "out") == {f"a/{number}.wav": "ok" for number in range(4)} | {"bad.wav": "failed"}
    assert sounds(tmp_path / "out") == [f"a/{number}.wav" for number in range(4)]
    left = {path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and path.suffix != ".wav"}
    assert left == {"manifest.parquet"}


def test_a_second_job_does_what_is_missing(tmp_path: Path, model: str, clips: Path, team: Team) -> None:
    out = tmp_path / "out"
    enhance_corpus(clips, out, method=model, progress=False)
    team.batches.clear()
    (out / "a" / "1.wav").unlink()
    store(str(clips), {"new.wav": sound(9), "bad.wav": sound(8)})
    report = enhance_corpus(clips, out, method=model, progress=False)
    assert (report.done, report.skipped, report.failed) == (3, 3, {})
    assert sorted(item.key for batch in team.batches for item in batch.items) == ["a/1.wav", "bad.wav", "new.wav"]
    assert set(manifest(out).values()) == {"ok"}
    assert enhance_corpus(clips, out, method=model, progress=False).done == 0
    assert team.started == 2  # nothing to do starts nothing


@pytest.mark.parametrize("change", [{"seed": 1}, {"steps": 1}, {"resume": False}, {"dtype": "bfloat16"}], ids=str)
def test_other_settings_do_it_again(tmp_path: Path, model: str, clips: Path, team: Team, change) -> None:
    enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    report = enhance_corpus(clips, tmp_path / "out", method=model, progress=False, **change)
    assert (report.done, report.skipped) == (4, 0)


def test_a_job_with_other_settings_that_ends_early_leaves_no_row_that_is_wrong(
    tmp_path: Path, model: str, clips: Path, team: Team, monkeypatch
) -> None:
    out = tmp_path / "out"
    enhance_corpus(clips, out, method=model, progress=False)

    def dies(batches: Sequence[Batch], job: Job, workers: Workers) -> Iterator[Outcome]:
        raise KeyboardInterrupt
        yield

    with monkeypatch.context() as patch:
        patch.setattr(job, "outcomes", dies)
        with pytest.raises(KeyboardInterrupt):
            enhance_corpus(clips, out, method=model, seed=1, progress=False)
    assert set(manifest(out).values()) == {"failed"}
    assert enhance_corpus(clips, out, method=model, progress=False).done == 4


def test_a_clip_that_failed_and_is_gone_is_forgotten(tmp_path: Path, model: str, clips: Path, team: Team) -> None:
    enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    (clips / "bad.wav").unlink()
    enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    assert "bad.wav" not in manifest(tmp_path / "out")


def test_a_limit_is_gone_on_from(tmp_path: Path, model: str, clips: Path, team: Team) -> None:
    (clips / "bad.wav").unlink()
    assert [
        enhance_corpus(clips, tmp_path / "out", method=model, progress=False, limit=3).done for _ in range(3)
    ] == [3, 1, 0]


def test_windows_hold_a_part_of_the_corpus(tmp_path: Path, model: str, clips: Path, team: Team, monkeypatch) -> None:
    monkeypatch.setattr(job, "_WINDOW", 2)
    report = enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    assert (report.done, len(report.failed)) == (4, 1)
    names = [batch.name for batch in team.batches]
    assert len(set(names)) == len(names)


def test_shards_come_out_as_shards(tmp_path: Path, model: str, team: Team) -> None:
    shard = tar({"a.wav": sound(1), "a.txt": b"words", "b.wav": sound(2)})
    store(str(tmp_path / "in"), {"s-0.tar": shard, "s-1.tar": shard[:-1500]})
    report = enhance_corpus(str(tmp_path / "in" / "s-*.tar"), tmp_path / "out", method=model, layout="tar",
                            progress=False)  # fmt: skip
    assert report.done >= 2
    assert (tmp_path / "out" / "s-0.tar").exists()
    assert sounds(tmp_path / "out") == []


def test_a_corrupt_shard_is_a_failed_item_and_its_whole_members_are_done(
    tmp_path: Path, model: str, team: Team
) -> None:
    shard = tar({"a.wav": sound(1), "b.wav": sound(2)})
    store(str(tmp_path / "in"), {"s.tar": shard[:5000]})
    report = enhance_corpus(str(tmp_path / "in" / "s.tar"), tmp_path / "out", method=model, progress=False)
    assert report.done == 1
    assert len(report.failed) == 1
    assert all(reason for reason in report.failed.values())


# -- how a job ends before its time -----------------------------------------------------------------------------------


def test_an_interrupt_leaves_a_manifest_from_which_the_next_job_goes_on(
    tmp_path: Path, model: str, clips: Path, team: Team, monkeypatch
) -> None:
    def interrupted(batches: Sequence[Batch], job: Job, workers: Workers) -> Iterator[Outcome]:
        yield Worker(job).work(batches[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(job, "outcomes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    assert len(manifest(tmp_path / "out")) == 1
    report = enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    assert report.skipped == 1
    assert len(manifest(tmp_path / "out")) == 5


def test_a_full_disk_stops_the_job_and_says_so(
    tmp_path: Path, model: str, clips: Path, team: Team, monkeypatch
) -> None:
    out, full = tmp_path / "out", []
    write, check = Sink.write, Sink.check

    def nearly_full(self, item, *args, **kwargs):
        if len(sounds(out)) >= 2:
            full.append(item.key)
            raise OutputError(28, "No space left on device")
        return write(self, item, *args, **kwargs)

    def checked(self):
        if full:
            raise OutputError(28, "No space left on device")
        check(self)

    with monkeypatch.context() as patch:
        patch.setattr(Sink, "write", nearly_full)
        patch.setattr(Sink, "check", checked)
        with pytest.raises(OSError, match=r"No space left.*stopped after 2 clips"):
            enhance_corpus(clips, out, method=model, progress=False)
        assert len(full) == 1  # it does not try all the others
    assert len(sounds(out)) == 2
    report = enhance_corpus(clips, out, method=model, progress=False)
    assert (report.done, report.skipped, list(report.failed)) == (2, 2, ["bad.wav"])


def test_one_clip_that_does_not_fit_does_not_stop_the_job(
    tmp_path: Path, model: str, clips: Path, team: Team, monkeypatch
) -> None:
    write = Sink.write

    def too_large(self, item, *args, **kwargs):
        if item.key == "a/2.wav":
            raise OutputError(27, "File too large")
        return write(self, item, *args, **kwargs)

    monkeypatch.setattr(Sink, "write", too_large)
    report = enhance_corpus(clips, tmp_path / "out", method=model, progress=False)
    assert (report.done, sorted(report.failed)) == (3, ["a/2.wav", "bad.wav"])


# -- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"workers": 0}, "workers=0"), ({"cpus": 0}, "cpus=0"), ({"gpus": -1}, "gpus=-1"), ({"limit": 0}, "limit=0"),
        ({"batch_seconds": 0.0}, "batch_seconds=0"), ({"attempts": 0}, "attempts=0"), ({"seed": -1}, "seed=-1"),
        ({"steps": 0}, "steps=0"), ({"sampler": "eular"}, "eular"), ({"dtype": "float8"}, "float8"),
        ({"layout": "zip"}, "zip"), ({"format": "doc"}, "doc"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_are_told_before_anything_is_started(
    tmp_path: Path, model: str, clips: Path, team: Team, arguments, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        enhance_corpus(clips, tmp_path / "out", method=model, progress=False, **arguments)
    assert team.started == 0


def test_a_source_or_method_that_is_not_there_is_told_at_once(tmp_path: Path, clips: Path, team: Team) -> None:
    with pytest.raises(FileNotFoundError):
        enhance_corpus(tmp_path / "nowhere", tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="unknown"):
        enhance_corpus(clips, tmp_path / "out", method="flowsee", progress=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        enhance_corpus(clips, tmp_path / "file", progress=False)
    assert team.started == 0


# -- gense enhance-corpus ---------------------------------------------------------------------------------------------


def test_the_command_line_is_the_function(tmp_path: Path, model: str, clips: Path, team: Team, capsys) -> None:
    arguments = ["enhance-corpus", str(clips), "-o", str(tmp_path / "out"), "--method", model, "--progress", "false"]
    assert main(arguments) == 1
    said = capsys.readouterr()
    assert said.out.startswith("4 clips enhanced")
    assert said.out.rstrip().endswith("1 failed; " + str(tmp_path / "out" / "manifest.parquet"))
    assert "bad.wav: cannot be read as audio" in said.err
    (clips / "bad.wav").unlink()
    assert main(arguments) == 0
    assert capsys.readouterr().out.startswith("0 clips enhanced (0 hours of audio in")


def test_wrong_flags_are_told(capsys) -> None:
    assert main(["enhance-corpus", "in", "-o", "out", "--workers", "two"]) == 2
    assert main(["enhance-corpus", "in"]) == 2
    assert main(["enhance-corpus", "nowhere", "-o", "out-of-nothing", "--steps", "0"]) == 1
    assert "steps=0" in capsys.readouterr().err


def test_flags_are_the_arguments(clips: Path) -> None:
    given = corpus_parser().parse_args(
        ["a.tar", "b.tar", "-o", "out", "--workers", "4", "--gpus", "0.5", "--dnsmos", "--options.snr", "0.3"]
    )
    assert (given.source, given.workers, given.gpus, given.dnsmos) == (["a.tar", "b.tar"], 4, 0.5, True)
    assert (given.options, given.resume, given.address) == ({"snr": 0.3}, True, None)
