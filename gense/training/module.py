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
from gense.training.divergence import remedy
from gense.training.initial import fill_codecs, fill_speech_models, fill_vocabulary, fill_vocoder, start_from
from gense.training.logs import shared
from gense.training.rates import Decay, rate_share
from gense.types import Batch, Loss


class EnhancerModule(lightning.LightningModule):
    """Trains any enhancer on (clean, noisy) batches and validates it by enhancing recordings.

    Args:
        enhancer: what is trained.
        optimizer: builds the optimiser from the parameters.
        warmup_steps: steps of linear warm-up.
        final_share: share of the learning rate left at the last step of a decay over the whole training; 1 keeps it
            constant.
        decay: the curve of this decay.
        metrics: validation metrics, names known to `gense.metrics.evaluate_pair`; without any the training loss of the
            validation recordings is logged, for methods that cannot make sound yet.
        initial: model whose weights training begins from, or a dict from parts to models, see `start_from`.
        vocoder: whose weights the enhancer's vocoder takes, which is not trained: a name, folder or hub repository as
            `gense.vocoders.load` takes it. None leaves it with random weights; training does not hear it unless there
            are losses on waveforms, validation and use do.
        codecs: whose weights codecs among the representations take, which are not trained: from their names to folders
            that a `CodecModule` has left.
        speech_models: published models from whose weights speech models in the enhancer are trained on, by the names of
            these parts, see `fill_speech_models`; read when training begins.
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
        metrics: tuple[str, ...] = ("pesq", "estoi", "si_sdr", "dnsmos"),
        initial: str | dict[str, str] | None = None,
        vocoder: str | None = None,
        codecs: dict[str, str] | None = None,
        speech_models: dict[str, str] | None = None,
        vocabulary: str | None = None,
    ):
        super().__init__()
        self.enhancer, self.optimizer, self.metrics = enhancer, optimizer, metrics
        self.warmup_steps, self.final_share, self.decay = warmup_steps, final_share, decay
        self.speech_models = speech_models or {}
        if initial is not None:
            start_from(enhancer, initial)
        if vocoder is not None:
            fill_vocoder(enhancer, vocoder)
        if codecs is not None:
            fill_codecs(enhancer, codecs)
        if vocabulary is not None:
            fill_vocabulary(enhancer, vocabulary)

    def setup(self, stage: str) -> None:
        """Before a checkpoint is read: a run that goes on has its own weights in the end."""
        if stage == "fit":
            fill_speech_models(self.enhancer, self.speech_models)

    def training_loss(self, batch: Batch) -> Loss:
        """What a batch is trained on; subclasses may train on something else."""
        return self.enhancer.loss(batch)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.training_loss(batch)
        if not torch.isfinite(loss.total):
            raise remedy(f"the loss is {loss.total.item()}", self.global_step)
        self.log("loss", loss.total.detach(), prog_bar=True, batch_size=len(batch.clean))
        for name, value in loss.parts.items():
            self.log(f"loss/{name}", value, batch_size=len(batch.clean))
        return loss.total

    @property
    def sample_rate(self) -> int:
        """Of the waveforms that the steps take and return, Hz."""
        return self.enhancer.sample_rate

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor] | None:
        return self._judge(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._judge(batch, "test")

    def _judge(self, batch: tuple[Tensor, Tensor], stage: str) -> dict[str, Tensor]:
        """Log the scores of one recording, and return its waveforms, (S,) each, by name."""
        clean, noisy = batch
        if not self.metrics:
            loss = self.training_loss(Batch(clean[None], noisy[None]))
            self.log(f"{stage}/loss", loss.total, prog_bar=True, **shared())
            return {}
        # Validation measures what users get: float32, the default sampling, a fixed seed
        with torch.autocast(self.device.type, enabled=False):
            estimate = self.enhancer.enhance(noisy[None])[0].cpu().numpy()
        estimate = resample(estimate, self.enhancer.output_rate, self.sample_rate)[: len(clean)]
        scores = evaluate_pair(estimate, clean.cpu().numpy(), self.sample_rate, metrics=self.metrics)
        for name, value in scores.items():
            self.log(f"{stage}/{name}", value, prog_bar=True, **shared())
        return {"noisy": noisy, "estimate": torch.from_numpy(estimate), "clean": clean}

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])

        def share(step: int) -> float:
            total = float(self.trainer.estimated_stepping_batches)
            return rate_share(step, total, warmup=self.warmup_steps, final=self.final_share, decay=self.decay)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
