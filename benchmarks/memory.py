"""Peak memory and time of long inputs, each in a process of its own.

    python benchmarks/memory.py --minutes 1 60

Memory is the peak resident size beyond that of a process which imported gense, loaded the method and enhanced one
second; beside it, the size of the samples themselves (float32, in and out). Times are ratios to the first row's time
per minute of audio.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import numpy as np


def measure(minutes: float, rate: int, method: str) -> None:
    """Enhance noise of this length; print peak memory in bytes and seconds as JSON."""
    import gense

    enhancer = gense.load(method)
    gense.enhance(np.zeros(rate, np.float32) + 0.01, enhancer, sample_rate=rate)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rng = np.random.default_rng(0)
    wav = rng.standard_normal(round(minutes * 60 * rate), dtype=np.float32) * np.float32(0.1)
    start = time.perf_counter()
    out = gense.enhance(wav, enhancer, sample_rate=rate)
    seconds = time.perf_counter() - start
    assert out.shape == wav.shape
    assert np.isfinite(out).all()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"beyond": (peak - base) * 1024, "seconds": seconds, "samples": wav.nbytes + out.nbytes}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 60.0])
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--method", default="flowse")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.child:
        measure(settings.minutes[0], settings.rate, settings.method)
        return
    titles = ("peak beyond start (MB)", "samples in and out (MB)", "time per minute, ratio")
    print(f"{'minutes':>8}" + "".join(f"{title:>25}" for title in titles))
    first = None
    for minutes in settings.minutes:
        command = [sys.executable, __file__, "--child", "--minutes", str(minutes), "--rate", str(settings.rate)]
        answer = subprocess.run([*command, "--method", settings.method], check=True, capture_output=True, text=True)
        row = json.loads(answer.stdout.splitlines()[-1])
        pace = row["seconds"] / minutes
        first = first or pace
        cells = (row["beyond"] / 1e6, row["samples"] / 1e6)
        print(f"{minutes:>8g}" + "".join(f"{c:>25.0f}" for c in cells) + f"{pace / first:>25.2f}", flush=True)


if __name__ == "__main__":
    main()
