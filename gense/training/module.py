"""The Lightning module around an enhancer."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense.audio import resample
from gense.enhancer import Enhancer
from gense.metrics import evaluate_pair
from gense.training.initial import fill_vocabulary, fill_vocoder, start_from
from gense.training.rates import Decay, rate_share
from gense.types import Batch


class EnhancerModule(lightning.LightningModule):
    """Trains any enhancer on (clean, noisy) batches and validates it by enhancing recordings.

    Args:
        enhancer: what is trained.
        optimizer: builds the optimiser from the parameters.
        warmup_steps: steps of linear warm-up.
        final_share: share of the learning rate left at the last step of a decay over the whole training; 1 keeps it
            constant.
        decay: the curve of this decay.
        metrics: validation metrics, names known to `gense.metrics.evaluate_pair`.
        initial: model whose weights training begins from, or a dict from parts to models, see `start_from`.
        vocoder: whose weights the enhancer's vocoder takes, which is not trained: a name, folder or hub repository as
            `gense.vocoders.load` takes it. None leaves it with random weights; training does not hear it unless there
            are losses on waveforms, validation and use do.
        vocabulary: file of tokens, one a line, the first a space, for an enhancer that reads text and comes without.

    Raises:
        ValueError: a vocabulary for an enhancer without a tokenizer, or of another size than the tokenizer's.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        warmup_steps: int = 0,
        final_share: float = 1.0,
        decay: Decay = "cosine",
        metrics: tuple[str, ...] = ("pesq", "estoi", "si_sdr"),
        initial: str | dict[str, str] | None = None,
        vocoder: str | None = None,
        vocabulary: str | None = None,
    ):
        super().__init__()
        self.enhancer, self.optimizer, self.metrics = enhancer, optimizer, metrics
        self.warmup_steps, self.final_share, self.decay = warmup_steps, final_share, decay
        if initial is not None:
            start_from(enhancer, initial)
        if vocoder is not None:
            fill_vocoder(enhancer, vocoder)
        if vocabulary is not None:
            fill_vocabulary(enhancer, vocabulary)

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
            total = float(self.trainer.estimated_stepping_batches)
            return rate_share(step, total, warmup=self.warmup_steps, final=self.final_share, decay=self.decay)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
