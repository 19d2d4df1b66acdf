"""Exponential moving average of the weights."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from torch import Tensor


class EMA(lightning.Callback):
    """Keeps an average of the weights, validates with it and stores it in checkpoints.

    decay_n = min(decay, (1 + n) / (10 + n)) at update n, the warm-up with which the published SGMSE+ weights were
    averaged. Training goes on from the raw weights; the average is in place during validation, and for good once
    training has ended.

    It keeps whole weights, so it does not run where a strategy deals them out over processes (FSDP).

    Args:
        decay: of the average, in [0, 1).

    Raises:
        ValueError: the decay is out of its range; when training begins: the weights are dealt out.
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay}: need 0 <= decay < 1")
        self.decay, self.updates = decay, 0
        self.average: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] = {}

    def _track(self, module: lightning.LightningModule) -> dict[str, Tensor]:
        return {name: p.data for name, p in module.named_parameters() if p.requires_grad}

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        if any(hasattr(trainer.strategy, name) for name in ("sharding_strategy", "device_mesh")):
            raise ValueError(
                f"EMA keeps whole weights, {type(trainer.strategy).__name__} deals them out over processes: take EMA "
                "out of trainer.callbacks, or train with trainer.strategy=ddp"
            )

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        tracked = self._track(pl_module)
        if not self.average:
            self.average = {name: value.clone() for name, value in tracked.items()}
        self.average = {name: value.to(tracked[name].device) for name, value in self.average.items()}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step <= self.updates:  # gradients are being accumulated: no optimiser step happened
            return
        self.updates = trainer.global_step
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        tracked = self._track(pl_module)
        torch._foreach_lerp_(list(self.average.values()), [tracked[name] for name in self.average], 1 - decay)

    def on_validation_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if not self.average:
            return
        tracked = self._track(pl_module)
        self._raw = {name: value.clone() for name, value in tracked.items()}
        for name, value in tracked.items():
            value.copy_(self.average[name])

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        for name, value in self._track(pl_module).items():
            if name in self._raw:
                value.copy_(self._raw[name])
        self._raw = {}

    # Test and validation are the same to an average
    def on_test_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.on_validation_start(trainer, pl_module)

    def on_test_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.on_validation_end(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        for name, value in self._track(pl_module).items():
            value.copy_(self.average[name])

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates, "average": self.average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.updates, self.average = state_dict["updates"], state_dict["average"]
