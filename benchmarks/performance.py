"""What every method costs at its default and at its fastest setting: time, calls, memory, loading.

    python benchmarks/performance.py --write docs/performance/cpu.csv

Each row is measured in a process of its own: the time to load, then `--repeats` times the time to enhance the same
recording, of which the least counts. Memory is the peak resident size of the process, with PyTorch; on CUDA the most
that torch had allocated. Calls are those of networks per chunk. Ratios are to the first row. A name
that ends in .yaml is a configuration: its network is built with random weights, which cost as much as trained ones.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

COLUMNS = (
    "method", "steps", "dtype", "compile", "device", "threads", "calls", "rtf", "memory_mb", "load_s", "time_ratio",
)  # fmt: skip
DTYPES = ("float32", "bfloat16")


def recording(seconds: float, rate: int) -> np.ndarray:
    """Noise in syllables, float32 (S,): nothing here depends on what is said."""
    rng = np.random.default_rng(0)
    count = round(seconds * rate)
    loud = np.repeat(rng.uniform(0.02, 1, -(-count // (rate // 5))), rate // 5)[:count]
    return (0.1 * loud * rng.standard_normal(count)).astype(np.float32)


def resident() -> float:
    """The peak resident size of this process, MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measure(job: dict) -> dict:
    """One row."""
    import torch

    import gense
    from gense.backbones import CausalLM
    from gense.backbones.base import Backbone
    from gense.checkpoints.build import build, read_config

    torch.set_num_threads(job["threads"])
    start = time.perf_counter()
    if job["method"].endswith(".yaml"):
        torch.manual_seed(0)
        enhancer = build(read_config(job["method"])).eval().to(job["device"])
        enhancer.autocast = None if job["dtype"] == "float32" else torch.bfloat16
    else:
        enhancer = gense.load(job["method"], device=job["device"], dtype=job["dtype"], compile=job["compile"])
    load = time.perf_counter() - start
    calls = []
    networks = [m for m in enhancer.head.modules() if isinstance(m, (Backbone, CausalLM))]
    hooks = [m.register_forward_hook(lambda *_: calls.append(1)) for m in networks]
    rate = enhancer.sample_rate
    wav = recording(job["seconds"], rate)
    options = {} if job["steps"] is None else {"steps": job["steps"]}
    one = wav[: min(len(wav), round((enhancer.chunking.seconds if enhancer.chunking else 8.0) * rate))]
    gense.enhance(one, enhancer, sample_rate=rate, **options)  # warm, and counted
    per_chunk = len(calls)
    for hook in hooks:
        hook.remove()
    times = []
    for _ in range(job["repeats"]):
        start = time.perf_counter()
        gense.enhance(wav, enhancer, sample_rate=rate, **options)
        times.append(time.perf_counter() - start)
    memory = resident()
    if job["device"] != "cpu":
        memory = torch.cuda.max_memory_allocated() / 1e6
    return {"calls": per_chunk, "rtf": min(times) / job["seconds"], "memory_mb": memory, "load_s": load}


def slower_default(method: str) -> bool:
    """Whether a method takes steps, and by default more than one."""
    import gense
    from gense.checkpoints.build import build, read_config
    from gense.heads import TokenLMHead

    random = method.endswith(".yaml")
    head = (build(read_config(method)) if random else gense.load(method, device="cpu")).head
    tokens = any(isinstance(m, TokenLMHead) for m in head.modules())  # these take as many steps as frames
    return head.sampling is not None and head.sampling.steps > 1 and not tokens


def main() -> None:
    import gense

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", help="names, folders, YAML files; by default all that are here")
    parser.add_argument("--seconds", type=float, default=16.0, help="length of the recording")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtypes", nargs="+", default=list(DTYPES), choices=DTYPES)
    parser.add_argument("--compile", action="store_true", help="measure torch.compile, too")
    parser.add_argument("--write", type=Path, help="CSV to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.child:
        print(json.dumps(measure(json.loads(settings.child))))
        return
    methods = settings.methods or [m.name for m in gense.methods() if m.on_disk and not m.unsupported]
    rows: list[dict] = []
    print("  ".join(f"{c:>10}" for c in COLUMNS))
    for method in methods:
        # The default, and a single step, where that is another setting
        steps: list[int | None] = [None, 1] if slower_default(method) else [None]
        for threads in settings.threads:
            for dtype in settings.dtypes:
                for step in steps:
                    for compiled in (False, True) if settings.compile and not method.endswith(".yaml") else (False,):
                        job = {
                            "method": method, "steps": step, "dtype": dtype, "compile": compiled,
                            "device": settings.device, "threads": threads, "seconds": settings.seconds,
                            "repeats": settings.repeats,
                        }
                        answer = subprocess.run(
                            [sys.executable, __file__, "--child", json.dumps(job)], capture_output=True, text=True,
                            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
                        )
                        if answer.returncode:
                            last = answer.stderr.strip().splitlines()[-1:]
                            print(f"{method} {step} {dtype}: {' '.join(last)}", file=sys.stderr)
                            continue
                        row = {**job, **json.loads(answer.stdout.splitlines()[-1])}
                        row["time_ratio"] = row["rtf"] / (rows[0]["rtf"] if rows else row["rtf"])
                        row["steps"] = "default" if step is None else step
                        rows.append(row)
                        shown = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in row.items()}
                        print("  ".join(f"{shown[c]!s:>10}" for c in COLUMNS), flush=True)
    if settings.write and rows:
        settings.write.parent.mkdir(parents=True, exist_ok=True)
        temporary = settings.write.with_suffix(".part")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore")
            writer.writeheader()
            writer.writerows({k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows)
        temporary.replace(settings.write)


if __name__ == "__main__":
    main()
