"""Centres of k-means tokens, fitted to the training's own speech before it begins."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import lightning
import torch
from torch import Tensor


class FitCentres(lightning.Callback):
    """Fits those of an enhancer's representations that need it, such as k-means tokens without centres.

    They are fitted to the clean and the noisy side of training batches, at the level at which the enhancer hears them:
    a method that reads the tokens of noisy speech needs centres there, too. Centres that come with weights, from a
    checkpoint, or with a resumed run, stay.

    Args:
        batches: training batches taken for it; together a few hundred frames a centre, which are kept in memory.
        rounds: most rounds of k-means.

    Raises:
        ValueError: a number under 1; when training begins: fewer frames than centres.
    """

    def __init__(self, batches: int = 100, rounds: int = 50):
        if min(batches, rounds) < 1:
            raise ValueError(f"batches={batches}, rounds={rounds}: need both >= 1")
        self.batches, self.rounds = batches, rounds

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        enhancer: Any = pl_module.enhancer
        for part in enhancer.representations.values():
            if not part.fitted:
                part.fit(self._waveforms(trainer, pl_module), rounds=self.rounds)

    @torch.no_grad()
    def _waveforms(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> Iterator[Tensor]:
        enhancer: Any = pl_module.enhancer
        loader = trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        for batch in itertools.islice(loader, self.batches):
            clean, noisy = batch.clean.to(pl_module.device), batch.noisy.to(pl_module.device)
            scale = enhancer.level.scale(noisy, training=True)
            yield from (clean / scale, noisy / scale)
