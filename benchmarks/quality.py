"""Quality and cost of methods and step counts on recorded pairs: one Markdown table of means.

    python benchmarks/quality.py data/val_pairs --methods regression flowse --steps 1 2 4 8 16

The folder holds `clean` and `noisy` with equal file names. Cost is given in network calls per file, as the real-time
factor (seconds of work per second of audio, on one thread unless --threads says otherwise), and as a ratio to the time
of the first row of the same run, which drifts less from machine to machine. Methods that do not sample have one row.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections import defaultdict

import torch

import gense
from gense.backbones import Backbone
from gense.data import Pairs
from gense.metrics import evaluate_pair

COLUMNS = {
    "pesq": "PESQ", "estoi": "ESTOI", "si_sdr": "SI-SDR", "dnsmos_ovrl": "OVRL", "dnsmos_sig": "SIG",
    "dnsmos_bak": "BAK",
}  # fmt: skip
DECIMALS = {"pesq": 2, "estoi": 3, "si_sdr": 1}


def row(name: str, scores: dict[str, list[float]], calls: float, factor: float, ratio: float) -> str:
    """One line of the table."""
    means = [f"{statistics.fmean(scores[c]):.{DECIMALS.get(c, 2)}f}" for c in COLUMNS]
    return f"| {name} | " + " | ".join([*means, f"{calls:g}", f"{factor:.3f}", f"{ratio:.2f}"]) + " |"


class Counter:
    """Counts the calls of the networks in an enhancer."""

    def __init__(self, enhancer: gense.Enhancer) -> None:
        self.calls = 0
        for module in enhancer.modules():
            if isinstance(module, Backbone):
                module.register_forward_hook(self)

    def __call__(self, *_: object) -> None:
        self.calls += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", help="folder with clean/ and noisy/")
    parser.add_argument("--methods", nargs="+", default=["flowse"])
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--samplers", nargs="+", default=[None], help="default: the method's own")
    parser.add_argument("--dtypes", nargs="+", default=["float32"])
    parser.add_argument("--limit", type=int, default=None, help="number of pairs, evenly picked")
    parser.add_argument("--options", nargs="*", default=[], help="sampler options as name=number")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    settings = parser.parse_args()
    torch.set_num_threads(settings.threads)
    options = {name: float(value) for name, value in (pair.split("=") for pair in settings.options)}

    heads = ["", *COLUMNS.values(), "NFE", "RTF", "time"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    baseline = None
    noisy_scores: dict[str, list[float]] = defaultdict(list)
    for method in settings.methods:
        for dtype in settings.dtypes:
            enhancer = gense.load(method, dtype=dtype)
            rate = enhancer.sample_rate
            pairs = Pairs(settings.pairs, rate, limit=settings.limit)
            if not noisy_scores:
                for clean, noisy in pairs:
                    for name, value in evaluate_pair(noisy.numpy(), clean.numpy(), rate).items():
                        noisy_scores[name].append(value)
                print(row("noisy input", noisy_scores, 0, 0, 0), flush=True)
            counter = Counter(enhancer)
            samples = enhancer.head.sampling is not None
            for sampler in settings.samplers if samples else [None]:
                for steps in settings.steps if samples else [None]:
                    scores: dict[str, list[float]] = defaultdict(list)
                    counter.calls, spent, seconds = 0, 0.0, 0.0
                    for clean, noisy in pairs:
                        start = time.perf_counter()
                        out = gense.enhance(
                            noisy, enhancer, steps=steps, sampler=sampler, seed=settings.seed, sample_rate=rate,
                            **(options if samples else {}),
                        )
                        spent, seconds = spent + time.perf_counter() - start, seconds + len(noisy) / rate
                        for name, value in evaluate_pair(out.numpy(), clean.numpy(), rate).items():
                            scores[name].append(value)
                    baseline = baseline or spent
                    count = steps and f"{steps} step{'s' if steps > 1 else ''}"
                    parts = [method, dtype if len(settings.dtypes) > 1 else None, sampler, count]
                    label = ", ".join(part for part in parts if part)
                    calls = counter.calls / len(pairs)
                    print(row(label, scores, calls, spent / seconds, spent / baseline), flush=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
