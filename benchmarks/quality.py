"""Quality of methods and step counts on recorded pairs: one table of means.

    python benchmarks/quality.py data/val_pairs --methods flowse --steps 1 2 4 8 16

The folder holds `clean` and `noisy` with equal file names. Cost is given in counted network calls and as a ratio to the
first row's time in the same run, not in seconds.
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

COLUMNS = ("pesq", "estoi", "si_sdr", "dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak")


def row(name: str, scores: dict[str, list[float]], calls: float, ratio: float) -> str:
    """One line of the table."""
    means = " ".join(f"{statistics.fmean(scores[c]):>11.3f}" for c in COLUMNS)
    return f"{name:<36}{means}{calls:>8.1f}{ratio:>8.2f}"


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
    settings = parser.parse_args()
    options = {name: float(value) for name, value in (pair.split("=") for pair in settings.options)}

    print(f"{'':<36}" + " ".join(f"{c:>11}" for c in COLUMNS) + f"{'calls':>8}{'time':>8}")
    baseline = None
    noisy_scores: dict[str, list[float]] = defaultdict(list)
    for method in settings.methods:
        for dtype in settings.dtypes:
            enhancer = gense.load(method, dtype=dtype)
            pairs = Pairs(settings.pairs, enhancer.sample_rate, limit=settings.limit)
            if not noisy_scores:
                for clean, noisy in pairs:
                    for name, value in evaluate_pair(noisy.numpy(), clean.numpy(), enhancer.sample_rate).items():
                        noisy_scores[name].append(value)
                print(row("noisy input", noisy_scores, 0, 0))
            calls = 0

            def count(*_: object) -> None:
                nonlocal calls
                calls += 1

            for module in enhancer.modules():
                if isinstance(module, Backbone):
                    module.register_forward_hook(count)
            for sampler in settings.samplers:
                for steps in settings.steps:
                    scores: dict[str, list[float]] = defaultdict(list)
                    calls, spent = 0, 0.0
                    for clean, noisy in pairs:
                        start = time.perf_counter()
                        out = gense.enhance(
                            noisy, enhancer, steps=steps, sampler=sampler, seed=settings.seed,
                            sample_rate=enhancer.sample_rate, **options,
                        )
                        spent += time.perf_counter() - start
                        for name, value in evaluate_pair(
                            out.numpy(), clean.numpy(), enhancer.sample_rate
                        ).items():
                            scores[name].append(value)
                    baseline = baseline or spent
                    label = f"{method} {dtype} {sampler or 'default'} steps={steps}"
                    print(row(label, scores, calls / len(pairs), spent / baseline), flush=True)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
