"""Which method, and how many steps? Measured on the demo clip; give a folder with clean/ and noisy/ for your own.

    python examples/sweep.py
    python examples/sweep.py data/val_pairs
"""

import sys
from pathlib import Path

import gense

here = Path(__file__).parent
pairs = sys.argv[1] if len(sys.argv) > 1 else [(here / "clean.wav", here / "noisy.wav")]

sweep = gense.sweep(pairs, ["regression", "flowse", "bridge"], steps=[1, 2], metrics=["pesq", "si_sdr"])
for result in sweep.cells:
    print(f"{result.cell.label:20} PESQ {result.scores['pesq']:.2f}  calls {result.calls:g}  RTF {result.rtf:.2f}")
for budget, result in sweep.recommend("pesq", "calls", budgets=[1, 2]).items():
    print(f"recommended for up to {budget} network calls: {result.cell.label}")
