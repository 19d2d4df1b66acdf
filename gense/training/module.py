"""The Lightning module around an enhancer."""

from __future__ import annotations

import math
from typing import Any

import lightning
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense.audio import resample
from gense.enhancer import Enhancer
from gense.metrics import evaluate_pair
from gense.training.initial import fill_vocoder, start_from
from gense.types import Batch


class EnhancerModule(lightning.LightningModule):
    """Trains any enhancer on (clean, noisy) batches and validates it by enhancing recordings.

    Args:
        enhancer: what is trained.
        optimizer: builds the optimiser from the parameters.
        warmup_steps: steps of linear warm-up.
        final_share: share of the learning rate left at the last step of a cosine decay over the whole training;
            1 keeps it constant.
        metrics: validation metrics, names known to `gense.metrics.evaluate_pair`.
        initial: model whose weights training begins from, or a dict from parts to models, see `start_from`.
        vocoder: whose weights the enhancer's vocoder takes, which is not trained: a name, folder or hub repository as
            `gense.vocoders.load` takes it. None leaves it with random weights; training does not hear it unless there
            are losses on waveforms, validation and use do.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        warmup_steps: int = 0,
        final_share: float = 1.0,
        metrics: tuple[str, ...] = ("pesq", "estoi", "si_sdr"),
        initial: str | dict[str, str] | None = None,
        vocoder: str | None = None,
    ):
        super().__init__()
        self.enhancer, self.optimizer, self.metrics = enhancer, optimizer, metrics
        self.warmup_steps, self.final_share = warmup_steps, final_share
        if initial is not None:
            start_from(enhancer, initial)
        if vocoder is not None:
            fill_vocoder(enhancer, vocoder)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.enhancer.loss(batch)
        if not torch.isfinite(loss.total):
            raise RuntimeError(
                f"the loss is {loss.total.item()} at step {self.global_step}: training diverged; lower the learning "
                "rate or clip gradients, and resume from the last checkpoint with --ckpt_path"
            )
        self.log("loss", loss.total.detach(), prog_bar=True, batch_size=len(batch.clean))
        for name, value in loss.parts.items():
            self.log(f"loss/{name}", value, batch_size=len(batch.clean))
        return loss.total

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        clean, noisy = batch
        # Validation measures what users get: float32, the default sampling, a fixed seed
        with torch.autocast(self.device.type, enabled=False):
            estimate = self.enhancer.enhance(noisy[None])[0].cpu().numpy()
        rate = self.enhancer.sample_rate
        estimate = resample(estimate, self.enhancer.output_rate, rate)[: len(clean)]
        scores = evaluate_pair(estimate, clean.cpu().numpy(), rate, metrics=self.metrics)
        for name, value in scores.items():
            self.log(f"val/{name}", value, prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])

        def share(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / self.warmup_steps
            total = float(self.trainer.estimated_stepping_batches)
            if self.final_share == 1 or not math.isfinite(total):
                return 1.0
            progress = min(1.0, (step - self.warmup_steps) / max(1.0, total - self.warmup_steps))
            return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
