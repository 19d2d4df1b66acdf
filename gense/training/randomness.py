"""Randomness of a run that does not depend on where it was cut off."""

from __future__ import annotations

import random
from typing import Any

import lightning
import numpy as np
import torch

from gense.data.order import batches_done


class SeededSteps(lightning.Callback):
    """Seeds the generators anew before every batch, by the seed of the run, the number of the batch and the process.

    So the noise and the times of step n are the same whether the run came there at one go or was resumed a hundred
    times, and no state of a generator, on any device, needs to be kept. The seed of a run is that of
    `seed_everything`; checkpoints carry it, so that a resumed run goes on with its own. Validation gets the same
    draws each time: what changes in its loss has been learnt.

    `gense fit` runs it always.
    """

    def __init__(self) -> None:
        self.seed: int | None = None

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if self.seed is None:  # not resumed
            self.seed = int(trainer.strategy.broadcast(torch.initial_seed()))

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._seed(0, batches_done(trainer), trainer.global_rank)

    def on_validation_batch_start(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._seed(1, batch_idx, trainer.global_rank)

    def _seed(self, stage: int, number: int, rank: int) -> None:
        if self.seed is None:  # validation without training
            return
        words = np.random.SeedSequence((self.seed, stage, number, rank)).generate_state(3)
        torch.manual_seed(int(words[0]))  # of every device
        np.random.seed(words[1])
        random.seed(int(words[2]))

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seed = state_dict["seed"]
