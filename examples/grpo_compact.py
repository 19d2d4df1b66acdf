"""Post-train the bundled mel flow by several rewards and by one, and see what each does on other recordings.

    python examples/grpo_compact.py --data data --output grpo --minutes 20

Rollouts and validation take the four steps of use, validation on recorded pairs that no rollout saw. Both trainings
begin at the same weights and draw the same items and the same noise:

    several    DNSMOS, PESQ and ESTOI together, each brought to one deviation, held by a divergence
    one        DNSMOS alone, not held: a reward that a model may raise at the cost of everything else

Each writes a folder that `gense.load` takes; `scores.csv` beside them gets a row for each training and number of steps.
`--data` has the layout that configs/data/mixtures.yaml names.
"""

from __future__ import annotations

import argparse
import csv
import logging
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import lightning
import numpy as np
import torch
import yaml
from torch import Tensor

import gense
from gense.audio import resample
from gense.checkpoints.build import build, read_config
from gense.checkpoints.folder import write_folder
from gense.data import AddNoise, Equalise, Pairs, Reverb
from gense.data.datamodule import MixtureDataModule
from gense.metrics import Clip
from gense.training import EMA, GRPOModule, Reward
from gense.training.rewards import Rewards

METHOD = Path(gense.__file__).parent / "configs/method/flowse-mel.yaml"
SEVERAL = [Reward("dnsmos"), Reward("pesq"), Reward("estoi")]
TRAININGS = {"several": (SEVERAL, 0.01), "one": ([Reward("dnsmos")], 0.0)}
"""Name -> rewards, weight of the divergence."""
SCORED = ["pesq", "estoi", "dnsmos", "lsd", "speaker_similarity:resemblyzer"]
SHOWN = {
    "pesq": "PESQ", "estoi": "ESTOI", "dnsmos_ovrl": "OVRL", "dnsmos_sig": "SIG",
    "dnsmos_bak": "BAK", "lsd": "LSD", "speaker_similarity:resemblyzer": "speaker",
}  # fmt: skip


class Progress(lightning.Callback):
    """Prints the means of the last training steps."""

    def __init__(self, every: int):
        self.every, self.rows, self.start = every, [], time.monotonic()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        names = ("reward", "reward/spread", "kl", "gradient")
        self.rows.append([float(trainer.logged_metrics[name]) for name in names])
        if len(self.rows) == self.every:
            means = "  ".join(f"{n} {v:.3g}" for n, v in zip(names, np.mean(self.rows, axis=0), strict=True))
            print(f"  step {trainer.global_step:4d}  {time.monotonic() - self.start:5.0f} s  {means}", flush=True)
            self.rows = []


def validate(enhancer: gense.Enhancer, pairs: Sequence[tuple[Tensor, Tensor]], steps: int, scorer: Rewards) -> dict:
    """Mean scores of pairs enhanced in a number of steps, a fixed seed for all."""
    sampling = replace(enhancer.head.sampling, steps=steps)
    clips = []
    for clean, noisy in pairs:
        made = enhancer.enhance(noisy[None], sampling=sampling)[0].numpy()
        made = resample(made, enhancer.output_rate, enhancer.sample_rate)[: len(clean)]
        clips.append(Clip(made, enhancer.sample_rate, clean=clean.numpy()))
    scores = scorer(clips)[1]
    return {name: float(np.nanmean([score[name] for score in scores])) for name in SHOWN}


def show(label: str, scores: dict[str, float], against: dict[str, float] | None) -> None:
    """One line of scores, with their change."""
    cells = [
        f"{name} {scores[key]:.3f}" + ("" if against is None else f" ({scores[key] - against[key]:+.3f})")
        for key, name in SHOWN.items()
    ]
    print(f"{label:18s} " + "  ".join(cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="data", help="folder with speech, noise, rir and val_pairs")
    parser.add_argument("--output", default="grpo", help="folder to write")
    parser.add_argument("--minutes", type=float, default=20.0, help="of each training, validation not counted")
    parser.add_argument("--trainings", nargs="+", choices=list(TRAININGS), default=list(TRAININGS))
    parser.add_argument("--items", type=int, default=2, help="mixtures per step")
    parser.add_argument("--group", type=int, default=16, help="rollouts per mixture")
    parser.add_argument("--steps", type=int, default=4, help="of rollouts; all but the last are trained")
    parser.add_argument("--level", type=float, default=0.6, help="of noise in rollouts")
    parser.add_argument("--use", type=int, nargs="+", default=[4], help="numbers of steps that are validated")
    parser.add_argument("--rate", type=float, default=5e-5, help="learning rate")
    parser.add_argument("--pairs", type=int, default=40, help="validation pairs")
    parser.add_argument("--workers", type=int, default=3, help="processes that score")
    parser.add_argument("--precision", default="bf16-mixed", help="of training; validation is in float32")
    settings = parser.parse_args()
    warnings.filterwarnings("ignore", module="lightning")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    data, output = Path(settings.data), Path(settings.output)
    pairs = list(Pairs(str(data / "val_pairs"), 16000, limit=settings.pairs))
    scorer = Rewards([Reward(name) for name in SCORED], workers=settings.workers)
    output.mkdir(parents=True, exist_ok=True)
    rows, first = [], {}
    enhancer = gense.load("flowse/mel-compact", device="cpu")
    for steps in settings.use:
        first[steps] = validate(enhancer, pairs, steps, scorer)
        show(f"before, {steps} step(s)", first[steps], None)
        rows.append({"training": "before", "steps": steps, **first[steps]})
    for name in settings.trainings:
        rewards, kl = TRAININGS[name]
        print(f"{name}: {', '.join(reward.metric for reward in rewards)}, kl {kl:g}", flush=True)
        lightning.seed_everything(1, verbose=False)
        config = read_config(METHOD)
        enhancer = build(config)
        module = GRPOModule(
            enhancer, rewards, partial(torch.optim.AdamW, lr=settings.rate, betas=(0.9, 0.99), weight_decay=0.0),
            initial="flowse/mel-compact", vocoder="vocos-compact", combine="standard",
            rollouts=gense.Sampling("flow_sde", steps=settings.steps, options={"level": settings.level}),
            group=settings.group, rows=settings.group, shared_start=True, mirrored=True, kl=kl, warmup_steps=3,
            workers=settings.workers, metrics=(),
        )  # fmt: skip
        mixtures = MixtureDataModule(
            [str(data / "speech/train")],
            [
                Equalise(probability=0.1), Reverb([str(data / "rir/train")], probability=0.3),
                AddNoise([str(data / "noise/train")], snr=(-6.0, 16.0), count=(1, 2)),
            ],
            # DNSMOS doubles a clip until it fills 9.01 s: 2.3 s are scored once, 2.0 s seven times
            seconds=2.3, batch_size=settings.items, epoch_size=10_000, num_workers=0,
        )  # fmt: skip
        trainer = lightning.Trainer(
            max_time=timedelta(minutes=settings.minutes), max_epochs=-1, accelerator="cpu", logger=False,
            precision=settings.precision, enable_checkpointing=False, enable_progress_bar=False,
            enable_model_summary=False, reload_dataloaders_every_n_epochs=1, limit_val_batches=0,
            callbacks=[EMA(0.95), Progress(8)],
        )  # fmt: skip
        trainer.fit(module, mixtures)
        write_folder(output / name, config, enhancer.state_dict())
        for steps in settings.use:
            scores = validate(enhancer.eval(), pairs, steps, scorer)
            show(f"{name}, {steps} step(s)", scores, first[steps])
            rows.append({"training": name, "steps": steps, "updates": trainer.global_step, **scores})
    scorer.close()
    with open(output / "scores.csv", "w", newline="") as file:
        table = csv.DictWriter(file, ["training", "steps", "updates", *SHOWN])
        table.writeheader()
        table.writerows(rows)
    (output / "settings.yaml").write_text(yaml.safe_dump(vars(settings)))


if __name__ == "__main__":
    main()
