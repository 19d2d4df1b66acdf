"""Corpus jobs with 1, 2, 4 workers against a plain loop over the same files in one process, each on one thread.

    python benchmarks/scaling.py --workers 1 2 4 --clips 96

Every way does the corpus and a quarter of it, each time in a fresh process; the difference of the two times is what the
other three quarters cost, free of the start of Ray, of processes and of loading. The start is told apart. Speeds are
ratios to the plain loop, so that the machine cancels as far as nothing else runs on it; `efficiency` is the speed of n
workers over n times that of one worker, `overhead` what one worker needs beyond the plain loop. Memory is the largest
resident size of any worker, and of the plain loop's process.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import soundfile

SPEECH = Path(__file__).parents[1] / "examples" / "noisy.wav"


def write_corpus(folder: Path, clips: int) -> float:
    """Write excerpts of the demo clip of 3 to 9 seconds; returns the seconds of audio in all."""
    wav, rate = soundfile.read(SPEECH, dtype="float32")
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    whole = 0.0
    for number in range(clips):
        samples = round(rate * rng.uniform(3.0, 9.0))
        start = rng.integers(0, len(wav))
        soundfile.write(folder / f"{number:05d}.wav", np.resize(np.roll(wav, -start), samples), rate)
        whole += samples / rate
    return whole


def plain(source: Path, output: Path, method: str) -> dict[str, float]:
    """The loop that anybody would write."""
    import gense
    from gense.api import enhance_file

    start = time.perf_counter()
    enhancer = gense.load(method, device="cpu")
    output.mkdir()
    for path in sorted(source.iterdir()):
        enhance_file(path, output / path.name, enhancer, None, 0)
    return {
        "seconds": time.perf_counter() - start,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0,
    }


def job(source: Path, output: Path, method: str, workers: int) -> dict[str, float]:
    """The same as a job; the peak is that of the largest worker."""
    from gense.scale import enhance_corpus

    peaks: list[int] = [0]
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(0.5):
            peaks.extend(peak for peak in map(worker_peak, os.listdir("/proc")) if peak)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        report = enhance_corpus(source, output, method=method, workers=workers, progress=False)
        seconds = time.perf_counter() - start
    finally:
        stop.set()
        watcher.join()
    assert not report.failed, report.failed
    return {"seconds": seconds, "peak": float(max(peaks))}


def worker_peak(pid: str) -> int:
    """Largest resident size so far, bytes, of a worker of this process's Ray; 0 for any other process."""
    if not pid.isdigit():
        return 0
    try:
        if not Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::MapWorker"):
            return 0
        above, peak = int(pid), 0
        while above > 1:
            status = Path(f"/proc/{above}/status").read_text().splitlines()
            fields = dict(line.split(":", 1) for line in status if ":" in line)
            peak = peak or int(fields["VmHWM"].split()[0]) * 1024
            above = int(fields["PPid"])
            if above == os.getpid():
                return peak
    except (OSError, KeyError):  # it has ended meanwhile
        pass
    return 0


def measured(workers: int, source: Path, folder: Path, method: str) -> dict[str, float]:
    """One run in a process of its own; 0 workers: the plain loop."""
    name = f"{source.name}-{workers}"
    command = [sys.executable, __file__, "--child", str(source), str(folder / name), "--workers", str(workers)]
    answer = subprocess.run(
        [*command, "--method", method], check=True, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--method", default="flowse/compact")
    parser.add_argument("--child", nargs=2, metavar=("SOURCE", "OUT"), help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.child:
        source, output = map(Path, settings.child)
        count = settings.workers[0]
        run = job(source, output, settings.method, count) if count else plain(source, output, settings.method)
        print(json.dumps(run))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        whole, part = folder / "whole", folder / "part"
        audio = write_corpus(whole, settings.clips)
        few = write_corpus(part, max(1, settings.clips // 4))
        print(f"{settings.clips} clips, {audio / 60:.1f} minutes; {settings.method}, one thread a worker")
        titles = ("real-time factor", "start (s)", "speed", "efficiency", "overhead", "peak (MB)")
        print(f"{'workers':>12}" + "".join(f"{title:>18}" for title in titles))
        paces: dict[int, float] = {}
        for workers in [0, *settings.workers]:
            short, long = (measured(workers, source, folder, settings.method) for source in (part, whole))
            pace = (long["seconds"] - short["seconds"]) / (audio - few)
            paces[workers] = pace
            cells = [f"{pace:.4f}", f"{short['seconds'] - pace * few:.1f}", f"{paces[0] / pace:.2f}"]
            cells.append(f"{paces[1] / pace / workers:.2f}" if workers and 1 in paces else "-")
            cells.append(f"{pace / paces[0] - 1:+.1%}" if workers == 1 else "-")
            cells.append(f"{max(short['peak'], long['peak']) / 1e6:.0f}")
            print(f"{workers or 'plain loop':>12}" + "".join(f"{cell:>18}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
