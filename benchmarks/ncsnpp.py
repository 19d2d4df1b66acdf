"""Time one pass of the default NCSN++ (65.6 M parameters) against its published formulation, in one run.

    python benchmarks/ncsnpp.py --threads 4 --repeats 5
    python benchmarks/ncsnpp.py --device cuda --compile

All rows hold the same weights and get the same input.  Repetitions go round the rows in turn, so that other load on the
machine falls on all of them alike; medians are compared.  The output of every row is compared with the baseline's, and
the run fails if one is further away than its arithmetic explains.
"""

from __future__ import annotations

import argparse
import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from ncsnpp_plain import PlainNCSNpp
from torch import Tensor

from gense.backbones import NCSNpp
from gense.checkpoints.ncsnpp_keys import convert_ncsnpp


@dataclass
class Row:
    """A way to compute the network, the largest admissible relative distance, and what was measured."""

    name: str
    run: Callable[[], Tensor]
    tolerance: float
    seconds: list[float] = field(default_factory=list)
    distance: float = math.nan


def random_weights(plain: PlainNCSNpp, generator: torch.Generator) -> None:
    """Replace the starting values, with which most branches are silent, by N(0, 1 / fan_in) and gains near 1."""
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            normal = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(normal / math.sqrt(parameter[0].numel()))
            elif not name.endswith(".W"):
                parameter.copy_(0.1 * normal + (1 if "GroupNorm" in name and name.endswith("weight") else 0))


def rows(arguments: argparse.Namespace, device: torch.device) -> list[Row]:
    generator = torch.Generator().manual_seed(1)
    shape = (arguments.batch, 1, 256, arguments.frames)
    x, y = (torch.randn(shape, dtype=torch.complex64, generator=generator).to(device) for _ in range(2))
    t = torch.full((arguments.batch,), 0.5, device=device)

    plain = PlainNCSNpp().eval()
    random_weights(plain, generator)
    ours = NCSNpp().eval()
    ours.load_state_dict(convert_ncsnpp(plain.state_dict()))
    plain, ours = plain.to(device), ours.to(device)
    half = copy.deepcopy(ours).to(torch.bfloat16)
    # On a GPU both convolve in TF32 by default, with ten bits of mantissa.
    exact = 5e-5 if device.type == "cpu" else 1e-2

    def call(network: NCSNpp | Callable[..., Tensor]) -> Callable[[], Tensor]:
        return lambda: network(x, t, {"noisy": y})

    found = [
        Row("published formulation, float32", lambda: plain(torch.cat([x, y], dim=1), t), exact),
        Row("gense, float32", call(ours), exact),
        Row("gense, bfloat16", call(half), 0.1),
    ]
    if arguments.compile:
        found.append(Row("gense, float32, compiled", call(torch.compile(ours)), exact))
        found.append(Row("gense, bfloat16, compiled", call(torch.compile(half)), 0.1))
    return found


def measure(found: list[Row], repeats: int, device: torch.device) -> None:
    """Fill in the distances (one pass, which also warms up and compiles) and the times."""
    reference = found[0].run()
    for row in found:
        row.distance = float((row.run() - reference).norm() / reference.norm())
    for _ in range(repeats):
        for row in found:
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            row.run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            row.seconds.append(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of the CPU")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--frames", type=int, default=256, help="a multiple of 64; 256 frames are 2 s at 16 kHz")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--compile", action="store_true", help="also time torch.compile (minutes to compile on a CPU)")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)

    with torch.inference_mode():
        found = rows(arguments, device)
        measure(found, arguments.repeats, device)

    place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} threads"
    print(f"NCSN++ at 256 x {arguments.frames}, batch {arguments.batch}, {place}, torch {torch.__version__}")
    print(f"{'':32s} {'median s':>9s} {'min s':>8s} {'speed-up':>9s} {'distance':>9s}")
    base = statistics.median(found[0].seconds)
    for row in found:
        median = statistics.median(row.seconds)
        print(f"{row.name:32s} {median:9.3f} {min(row.seconds):8.3f} {base / median:8.2f}x {row.distance:9.1e}")
    for row in found:
        if not row.distance <= row.tolerance:
            raise SystemExit(f"{row.name}: relative distance {row.distance:.1e} exceeds {row.tolerance:.0e}")


if __name__ == "__main__":
    main()
