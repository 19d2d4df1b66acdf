"""Jobs on a real Ray: workers that die, and that their number changes nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import soundfile

from gense.scale import enhance_corpus
from gense.scale.batches import Batch
from gense.scale.manifest import Settings
from gense.scale.sinks import Sink
from gense.scale.sources import list_items
from gense.scale.worker import Job, Worker
from tests.scale.deadly import corpus, deadly_method

ROOT = Path(__file__).parents[2]


def rows_of(output: Path) -> dict[str, dict]:
    """The manifest by key, one row each, after checking that every result named there is there, and no other."""
    rows = pq.read_table(output / "manifest.parquet").to_pylist()
    by_key = {row["key"]: row for row in rows}
    assert len(by_key) == len(rows)
    there = {path.relative_to(output).as_posix() for path in output.rglob("*") if path.is_file()}
    good = {key for key, row in by_key.items() if row["status"] == "ok"}
    assert there == good | {"manifest.parquet"}
    assert all((output / key).stat().st_size == by_key[key]["output_bytes"] for key in good)
    return by_key


def undisturbed(source: Path, output: Path, method: Path) -> dict[str, str | None]:
    """Checksums of the good clips' results as one worker makes them in this process."""
    items = [item for item in list_items(source) if not item.key.startswith(("deadly", "bad"))]
    job = Job("alone", Sink(str(output)), Settings(str(method), ""), trust=True)
    return {row.key: row.sha256 for row in Worker(job).work(Batch("all", tuple(items))).rows}


def kill(pids: Path, times: int, pause: float, stop: threading.Event) -> list[int]:
    """Kill a worker with SIGKILL now and then, the youngest first; only processes that left their number here."""
    killed: list[int] = []
    while len(killed) < times and not stop.wait(pause):
        known = sorted(pids.iterdir(), key=lambda path: path.stat().st_mtime)
        alive = [pid for pid in map(int, (path.name for path in known)) if pid not in (*killed, os.getpid())]
        for pid in reversed(alive):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.append(pid)
            break
    return killed


def test_a_job_survives_killed_workers_and_deadly_clips_and_results_do_not_depend_on_workers(
    tmp_path: Path, local_ray: None
) -> None:
    source = corpus(tmp_path / "in", 24, deadly=1)
    (source / "bad.wav").write_bytes(b"no audio")
    pids = tmp_path / "pids"
    method = deadly_method(tmp_path / "model", 0.05, pids)
    stop, killed = threading.Event(), []
    killer = threading.Thread(target=lambda: killed.extend(kill(pids, 1, 0.5, stop)))
    killer.start()
    try:
        report = enhance_corpus(
            source, tmp_path / "out", method=method, trust=True, workers=2, attempts=2, progress=False
        )
    finally:
        stop.set()
        killer.join()
    assert killed
    assert (report.done, sorted(report.failed)) == (24, ["bad.wav", "deadly0.wav"])
    assert "died 2 times" in report.failed["deadly0.wav"]
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 26
    sums = {key: row["sha256"] for key, row in rows.items() if row["status"] == "ok"}
    assert sums == undisturbed(source, tmp_path / "alone", method)


@pytest.mark.slow
def test_a_thousand_files_and_kills_at_random_moments(tmp_path: Path, local_ray: None) -> None:
    """Every good clip is done exactly once, deadly and bad ones have reasons, and a second job does nothing else."""
    source = corpus(tmp_path / "in", 1000, deadly=2)
    for number in range(3):
        (source / f"bad{number}.wav").write_bytes(b"no audio")
    pids = tmp_path / "pids"
    method = deadly_method(tmp_path / "model", 0.05, pids)
    stop, killed = threading.Event(), []
    killer = threading.Thread(target=lambda: killed.extend(kill(pids, 12, 4.0 + time.time() % 3, stop)))
    killer.start()
    try:
        report = enhance_corpus(source, tmp_path / "out", method=method, trust=True, workers=2, progress=False)
    finally:
        stop.set()
        killer.join()
    assert len(killed) >= 5
    rows = rows_of(tmp_path / "out")
    assert report.done == 1000
    assert len(rows) == 1005
    assert {key for key, row in rows.items() if row["status"] == "failed"} == set(report.failed)
    assert set(report.failed) == {f"deadly{n}.wav" for n in range(2)} | {f"bad{n}.wav" for n in range(3)}
    assert all(report.failed.values())
    sums = {key: row["sha256"] for key, row in rows.items() if row["status"] == "ok"}
    assert sums == undisturbed(source, tmp_path / "alone", method)
    for path in source.glob("deadly*.wav"):
        path.unlink()
    again = enhance_corpus(source, tmp_path / "out", method=method, trust=True, workers=2, progress=False)
    assert (again.done, again.skipped, len(again.failed)) == (0, 1000, 3)


@pytest.mark.slow
def test_ctrl_c_leaves_whole_files_and_the_same_command_goes_on(tmp_path: Path) -> None:
    """In a process group of its own, all of which gets the signal, as from a terminal."""
    source, out = corpus(tmp_path / "in", 60), tmp_path / "out"
    method = deadly_method(tmp_path / "model", 0.3)
    command = [
        sys.executable, "-c", "import sys; from gense.cli import main; sys.exit(main())", "enhance-corpus", str(source),
        "-o", str(out), "--method", str(method), "--trust", "--workers", "2",
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE, text=True) as child:
        while child.poll() is None and len(list(out.rglob("*.wav"))) < 8:
            time.sleep(0.1)
        os.killpg(child.pid, signal.SIGINT)
        _, said = child.communicate(timeout=120)
    assert child.returncode == 130, said
    assert "interrupted" in said
    assert not list(out.rglob("*.part"))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.wav")}
    assert 8 <= len(before) < 60
    assert all(soundfile.info(str(path)).frames for path in before)
    recorded = pq.read_table(out / "manifest.parquet").num_rows
    assert recorded > 0
    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 0, second.stderr
    assert f"{recorded} done before" in second.stdout
    assert {row["status"] for row in rows_of(out).values()} == {"ok"}
    assert len(rows_of(out)) == 60
