"""Time FlowSE's sampling against its published formulation, in one run, and weigh samplers by what they cost.

    python benchmarks/flowse.py --threads 4                 # a small network
    python benchmarks/flowse.py --full --steps 2            # the published size, 337 M parameters
    python benchmarks/flowse.py --device cuda --full

All rows hold the same synthetic weights and get the same spectrogram, transcript and noise. Repetitions go round the
rows in turn, so that other load on the machine falls on all of them alike; medians are compared. Rows that compute the
same thing must give the same result, or the run fails.

The second table sets distance against cost, the mean absolute difference of log-mel values: from the result of 32 Euler
steps with guidance (the published settings), and from that of 128 midpoint steps, near the solution of the guided
equation, which 32 Euler steps miss, too. A call under guidance is one of twice the batch. Synthetic weights make a
field that is rough in time, on which no sampler gains by its order; trained weights (--checkpoint) make a smooth one.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import soundfile
import torch
from flowse_plain import PlainDiT
from torch import Tensor

from gense import Sampling, load, samplers
from gense.backbones import Backbone, DiT
from gense.checkpoints.convert_flowse import convert_transformer
from gense.heads import Head, PathHead
from gense.processes import LinearFlow
from gense.representations import LogMel

SMALL = {"dim": 256, "depth": 6, "heads": 4, "text_dim": 128, "text_blocks": 4}
PUBLISHED = Sampling("euler", steps=32, guidance=1.0)


@dataclass
class Row:
    """A way to sample, the largest admissible distance from the first row, and what was measured."""

    name: str
    run: Callable[[], Tensor]
    tolerance: float | None = None
    seconds: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)


def random_weights(plain: PlainDiT, generator: torch.Generator) -> None:
    """N(0, 1 / fan_in), gains near 1."""
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            normal = torch.randn(parameter.shape, generator=generator)
            gain = "norm.weight" in name or "gamma" in name
            large = parameter.ndim > 1 and "grn" not in name
            parameter.copy_(normal / math.sqrt(parameter[0].numel()) if large else 0.1 * normal + gain)


class Setting:
    """Networks with equal weights, the input, and every way to sample from it."""

    def __init__(self, arguments: argparse.Namespace, device: torch.device):
        generator = torch.Generator().manual_seed(0)
        self.plain = PlainDiT(**({} if arguments.full else SMALL)).eval()
        random_weights(self.plain, generator)
        config, weights = convert_transformer(self.plain.state_dict())
        net = DiT(**config["init_args"]).eval()
        net.load_state_dict(weights)
        self.head: Head = PathHead(
            net, LinearFlow(), target="mel", predicts="velocity", anchor=None, condition=["noisy_mel", "text"],
            t_eps=0.0, dropout={"noisy_mel": 0.0, "text": 0.0}, sampling=PUBLISHED,
        )  # fmt: skip
        wav, rate = soundfile.read(Path(__file__).parents[1] / "examples" / "noisy.wav", dtype="float32")
        mel = LogMel(input_rate=rate).encode(torch.from_numpy(wav[: int(arguments.seconds * rate)])[None])
        ids = torch.randint(2545, (1, round(15 * arguments.seconds)), generator=generator)
        self.noise = torch.randn(mel.shape, generator=generator).to(device)
        self.cond = {"noisy_mel": mel.to(device), "text": ids.to(device)}
        self.device = device
        if arguments.checkpoint:
            self.head = load(arguments.checkpoint, device="cpu").head
            del self.cond["text"]
        self.head.to(device)
        self.plain.to(device)
        self.net: Backbone = self.head.backbone  # type: ignore[assignment]
        self.calls = 0
        self.net.register_forward_hook(lambda *_: setattr(self, "calls", self.calls + 1))

    def published(self, steps: int, guidance: float, *, fused: bool = False, remember: bool = False) -> Tensor:
        self.plain.switch(fused=fused, remember=remember)
        noisy, ids = self.cond["noisy_mel"].mT, self.cond["text"]
        return self.plain.sample(self.noise.mT, noisy, ids, steps, guidance).mT

    def ours(self, sampling: Sampling, dtype: torch.dtype | None = None) -> Tensor:
        with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not None):
            return self.head.generate(self.cond, sampling=sampling, noise=samplers.replay([self.noise])).float()

    def in_turn(self, steps: int) -> Tensor:
        """Ours, but condition and null as two passes."""
        net, x = self.net, self.noise
        given, null = net.prepare(x, self.cond), net.prepare(x, {})

        def guided(x: Tensor, t: Tensor) -> Tensor:
            times = t.to(x).expand(len(x))
            out = net(x, times, given)
            return out + (out - net(x, times, null))

        return samplers.euler(guided, x, samplers.schedules.uniform(steps, start=0.0, end=1.0))


def speed_rows(setting: Setting, steps: int) -> list[Row]:
    ours = replace(PUBLISHED, steps=steps)
    exact = 1e-3 if setting.device.type == "cpu" else 2e-2  # a GPU multiplies in TF32 if told to
    plain = setting.published
    return [
        Row("published formulation", lambda: plain(steps, 1.0), exact),
        Row("  fused attention", lambda: plain(steps, 1.0, fused=True), exact),
        Row("  text and rotary once", lambda: plain(steps, 1.0, remember=True), exact),
        Row("  both", lambda: plain(steps, 1.0, fused=True, remember=True), exact),
        Row("gense, condition and null in turn", lambda: setting.in_turn(steps), exact),
        Row("gense: as one batch", lambda: setting.ours(ours), exact),
        Row("gense, bfloat16", lambda: setting.ours(ours, torch.bfloat16)),
        Row("gense, guidance on [0, 0.5]", lambda: setting.ours(replace(ours, guidance_interval=(0.0, 0.5)))),
        Row("gense, no guidance", lambda: setting.ours(replace(ours, guidance=0.0))),
        Row("gense, no guidance, bfloat16", lambda: setting.ours(replace(ours, guidance=0.0), torch.bfloat16)),
        Row("published formulation, no guidance", lambda: plain(steps, 0.0)),
    ]


def quality_rows(setting: Setting) -> list[Row]:
    rows = [Row("euler, 32 steps: published", lambda: setting.ours(PUBLISHED))]
    for sampler, counts in (("euler", (16, 8, 4)), ("midpoint", (16, 8, 4)), ("heun", (16, 8, 4))):
        for steps in counts:
            sampling = replace(PUBLISHED, sampler=sampler, steps=steps)
            rows.append(Row(f"{sampler}, {steps} steps", lambda sampling=sampling: setting.ours(sampling)))
    for low, high in ((0.0, 0.5), (0.5, 1.0), (0.25, 0.75)):
        sampling = replace(PUBLISHED, guidance_interval=(low, high))
        name = f"euler, 32 steps, guidance on [{low}, {high}]"
        rows.append(Row(name, lambda sampling=sampling: setting.ours(sampling)))
    eight = Sampling("midpoint", steps=8, guidance=1.0, guidance_interval=(0.0, 0.5))
    rows += [
        Row("midpoint, 8 steps, guidance on [0.0, 0.5]", lambda: setting.ours(eight)),
        Row("euler, 32 steps, no guidance", lambda: setting.ours(replace(PUBLISHED, guidance=0.0))),
        Row("euler, 32 steps, bfloat16", lambda: setting.ours(PUBLISHED, torch.bfloat16)),
        Row("midpoint, 8 steps, bfloat16",
            lambda: setting.ours(replace(PUBLISHED, sampler="midpoint", steps=8), torch.bfloat16)),
    ]  # fmt: skip
    return rows


def relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def of_mels(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().mean())


def measure(
    rows: list[Row], repeats: int, device: torch.device, distance: Callable[[Tensor, Tensor], float], *more: Tensor
) -> None:
    """Fill in the times, and the distances from the first row's result and from `more`, whose passes warm up."""
    references = [rows[0].run(), *more]
    for row in rows:
        out = row.run()
        row.distances = [distance(out, reference) for reference in references]
    for _ in range(repeats):
        for row in rows:
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            row.run()
            if device.type == "cuda":
                torch.cuda.synchronize()
            row.seconds.append(time.perf_counter() - start)


def show(rows: list[Row], titles: list[str], calls: list[int] | None = None) -> None:
    base = statistics.median(rows[0].seconds)
    last = "".join(f"{title:>11s}" for title in titles) + ("   calls" if calls else "")
    print(f"{'':42s} {'median s':>9s} {'min s':>8s} {'ratio':>7s}{last}")
    for index, row in enumerate(rows):
        median = statistics.median(row.seconds)
        last = "".join(f"{distance:11.1e}" for distance in row.distances) + (f"{calls[index]:8d}" if calls else "")
        print(f"{row.name:42s} {median:9.3f} {min(row.seconds):8.3f} {base / median:6.2f}x{last}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of the CPU")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="length of the recording, at most 8")
    parser.add_argument("--steps", type=int, default=4, help="Euler steps of the first table")
    parser.add_argument("--full", action="store_true", help="the published size instead of a small one")
    parser.add_argument("--checkpoint", help="weights for the second table: a file or name as gense.load takes it")
    parser.add_argument("--only", choices=("speed", "quality"), help="one of the tables")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    if arguments.checkpoint:
        arguments.only = "quality"

    with torch.inference_mode():
        setting = Setting(arguments, device)
        place = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {arguments.threads} threads"
        size = sum(p.numel() for p in setting.head.parameters()) / 1e6
        print(f"{size:.1f} M parameters, {arguments.seconds} s of audio, {place}, torch {torch.__version__}")
        if arguments.only != "quality":
            rows = speed_rows(setting, arguments.steps)
            measure(rows, arguments.repeats, device, relative)
            print(f"\nSampling with {arguments.steps} Euler steps, guidance 1 unless said otherwise; relative distance")
            show(rows, ["distance"])
            for row in rows:
                if row.tolerance is not None and not row.distances[0] <= row.tolerance:
                    raise SystemExit(f"{row.name}: distance {row.distances[0]:.1e} exceeds {row.tolerance:.0e}")
        if arguments.only != "speed":
            rows = quality_rows(setting)
            calls = []
            for row in rows:
                setting.calls = 0
                row.run()
                calls.append(setting.calls)
            fine = setting.ours(Sampling("midpoint", steps=128, guidance=1.0))
            measure(rows, max(1, arguments.repeats // 3), device, of_mels, fine)
            print("\nMean distance of the log-mel spectrogram, guidance 1 unless said otherwise")
            show(rows, ["published", "fine"], calls)


if __name__ == "__main__":
    main()
