"""A learning rate found by trying: Lightning's range test, in front of a training."""

from __future__ import annotations

import csv
from typing import Literal

import lightning
from lightning.pytorch.callbacks import LearningRateFinder
from lightning.pytorch.utilities import rank_zero_info, rank_zero_warn

from gense.training.folder import run_folder


class FindRate(LearningRateFinder):
    """Trains with rising learning rates, takes the one where the loss falls fastest, and begins anew with it.

    The rates and losses are left as `learning_rate.csv` beside the logs. The rate found is the full one: warm-up and
    decay are shares of it. A resumed run has its rate already and seeks none. For modules with one optimiser.

    Args:
        min_lr: first rate that is tried.
        max_lr: last one; the search ends earlier where the loss explodes.
        steps: batches of the search.
        mode: how rates rise, "exponential" or "linear".
    """

    def __init__(
        self,
        min_lr: float = 1e-6,
        max_lr: float = 1e-1,
        steps: int = 100,
        mode: Literal["exponential", "linear"] = "exponential",
    ):
        # What Lightning would set is the rate alone, which a schedule then overwrites
        super().__init__(min_lr, max_lr, steps, mode, update_attr=False)

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.ckpt_path is not None:
            return
        super().on_fit_start(trainer, pl_module)
        assert self.optimal_lr is not None
        path = run_folder(trainer) / "learning_rate.csv"
        if trainer.is_global_zero:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w", newline="", encoding="utf-8") as file:
                rows = csv.writer(file)
                rows.writerow(["rate", "loss"])
                rows.writerows(zip(self.optimal_lr.results["lr"], self.optimal_lr.results["loss"], strict=True))
        rate = self.optimal_lr.suggestion()
        if rate is None:
            rank_zero_warn("no learning rate was found: the loss fell nowhere; the one of the configuration stays")
            return
        set_rate(trainer, rate)
        rank_zero_info(f"learning rate {rate:.3g}: where the loss fell fastest")


def set_rate(trainer: lightning.Trainer, rate: float) -> None:
    """Make `rate` the full learning rate of all optimisers and of the schedules upon them."""
    for optimizer in trainer.optimizers:
        for group in optimizer.param_groups:
            share = group["lr"] / group["initial_lr"] if group.get("initial_lr") else 1.0
            group["initial_lr"], group["lr"] = rate, rate * share
    for config in trainer.lr_scheduler_configs:
        config.scheduler.base_lrs = [rate] * len(config.scheduler.base_lrs)
