"""Peak memory and time of long inputs, each in a process of its own.

    python benchmarks/memory.py --minutes 1 60
    python benchmarks/memory.py --minutes 1 60 600 --files --method passthrough

With `--files`, path in and path out, which are 16-bit WAV in the system's folder for temporary files: the peak then
does not grow with the length. The method `passthrough` does all but the network's work on a CPU within minutes.

Memory is the peak resident size beyond that of a process which imported gense, loaded the method and enhanced one
second; beside it, the size of the samples themselves (float32, in and out). Times are ratios to the first row's time
per minute of audio.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

import gense
from gense import audio
from gense.chunking import Chunking
from gense.heads import Head
from gense.opening import AudioFile
from gense.representations import CompressedSTFT
from gense.types import Condition


def load(method: str) -> gense.Enhancer:
    """A method by name, or one whose network hands its input through."""
    if method != "passthrough":
        return gense.load(method)

    class Passthrough(Head):
        reads, target, sampling = ("noisy_stft",), "stft", None

        def generate(self, cond: Condition, *, sampling: Any = None, noise: Any = None, callback: Any = None) -> Tensor:
            return cond["noisy_stft"]

    return gense.Enhancer({"stft": CompressedSTFT()}, Passthrough(), sample_rate=16000, chunking=Chunking()).eval()


def minute(rate: int, seed: int) -> np.ndarray:
    """A minute of noise, float32 (S,)."""
    return np.random.default_rng(seed).standard_normal(60 * rate, dtype=np.float32) * np.float32(0.1)


def measure(minutes: float, rate: int, method: str, files: bool) -> None:
    """Enhance noise of this length; print peak memory in bytes and seconds as JSON."""
    enhancer = load(method)
    gense.enhance(np.zeros(rate, np.float32) + 0.01, enhancer, sample_rate=rate)
    length = round(minutes * 60 * rate)
    if files:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "in.wav"), Path(folder, "out.wav")
            with audio.writing(source, rate, 1) as put:
                for number in range(math.ceil(minutes)):
                    put(minute(rate, number)[: length - number * 60 * rate])
            base, start = peak(), time.perf_counter()
            gense.enhance(source, enhancer, output=target)
            seconds, size = time.perf_counter() - start, 8 * length
            with AudioFile(target) as file:
                assert file.frames == length
    else:
        base = peak()
        wav = np.concatenate([minute(rate, number) for number in range(math.ceil(minutes))])[:length]
        start = time.perf_counter()
        out = gense.enhance(wav, enhancer, sample_rate=rate)
        seconds, size = time.perf_counter() - start, wav.nbytes + out.nbytes
        assert out.shape == wav.shape
        assert np.isfinite(out).all()
    print(json.dumps({"beyond": peak() - base, "peak": peak(), "seconds": seconds, "samples": size}))


def peak() -> int:
    """Largest resident size of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 60.0])
    parser.add_argument("--rate", type=int, default=16000)
    parser.add_argument("--method", default="flowse")
    parser.add_argument("--files", action="store_true", help="path in, path out, instead of arrays")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.child:
        measure(settings.minutes[0], settings.rate, settings.method, settings.files)
        return
    titles = ("peak (MB)", "peak beyond start (MB)", "samples in and out (MB)", "time per minute, ratio")
    print(f"{'minutes':>8}" + "".join(f"{title:>25}" for title in titles))
    first = None
    for minutes in settings.minutes:
        command = [sys.executable, __file__, "--child", "--minutes", str(minutes), "--rate", str(settings.rate)]
        command += ["--method", settings.method, *(["--files"] if settings.files else [])]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(answer.stdout.splitlines()[-1])
        pace = row["seconds"] / minutes
        first = first or pace
        cells = (row["peak"] / 1e6, row["beyond"] / 1e6, row["samples"] / 1e6)
        print(f"{minutes:>8g}" + "".join(f"{c:>25.0f}" for c in cells) + f"{pace / first:>25.2f}", flush=True)


if __name__ == "__main__":
    main()
