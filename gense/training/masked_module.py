"""The Lightning module that trains a speech model without labels, by masked prediction."""

from __future__ import annotations

import itertools
from typing import Any

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from gense.audio import Level
from gense.backbones.ssl_encoder import SSLEncoder
from gense.representations.tokens import KMeansTokens
from gense.training.divergence import remedy
from gense.training.folder import run_folder
from gense.training.logs import shared
from gense.training.rates import rate_share
from gense.types import Batch


class MaskedPredictionModule(lightning.LightningModule):
    """Trains a speech model to name the hidden frames of an utterance (Hsu et al. 2021, HuBERT).

    Spans of frames are replaced by one learnt vector in front of the Transformer; for each of them the model says into
    which cluster of `targets` the clean speech falls there. It hears the noisy side of a batch, so that a model trained
    on mixtures learns to hear through noise (Chen et al. 2022, WavLM). The first round takes clusters of a mel
    spectrogram, the next one those of a layer of the model before it. What comes out is a folder `model` of
    `transformers`, beside the run's logs.

    Args:
        encoder: what is trained; its layer that is read makes the prediction.
        targets: what gives the clusters, frame by frame as many as the encoder makes; frozen. Centres that are all zero
            are fitted to the first training batches.
        optimizer: builds the optimiser from the parameters.
        level: of the waveforms.
        start_share: probability with which a frame begins a hidden span.
        span: frames in a span; spans may overlap.
        seen_weight: weight, >= 0, of the loss over the frames that are not hidden beside that over those that are. With
            0 a model learns from context alone, which takes long; where there is little time, naming what it hears
            through the noise is quickly learnt.
        fit_batches: training batches to whose clean speech centres are fitted.
        warmup_steps: steps of linear warm-up.
        final_share: share of the learning rate left at the last step of a cosine decay.

    Raises:
        ValueError: `start_share` outside (0, 1), a span under 1, or an encoder that reads several layers.
    """

    def __init__(
        self,
        encoder: SSLEncoder,
        targets: KMeansTokens,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        level: Level = Level("rms", -25.0, 6.0),  # noqa: B008 - frozen
        start_share: float = 0.08,
        span: int = 10,
        seen_weight: float = 0.0,
        fit_batches: int = 40,
        warmup_steps: int = 0,
        final_share: float = 0.0,
    ):
        super().__init__()
        if not (0 < start_share < 1 and span >= 1 and seen_weight >= 0):
            raise ValueError(
                f"start_share={start_share}, span={span}, seen_weight={seen_weight}: need 0 < start_share < 1, "
                "span >= 1 and seen_weight >= 0"
            )
        if len(encoder.reading.all_layers) != 1:
            raise ValueError(f"the encoder reads layers {encoder.reading.all_layers}: expected one, the last")
        self.encoder, self.targets, self.optimizer, self.level = encoder, targets, optimizer, level
        self.targets.requires_grad_(False)
        self.start_share, self.span, self.seen_weight, self.fit_batches = start_share, span, seen_weight, fit_batches
        self.warmup_steps, self.final_share = warmup_steps, final_share
        channels = encoder.network.channels
        self.mask = nn.Parameter(torch.empty(channels).uniform_())
        self.norm, self.names = nn.LayerNorm(channels), nn.Linear(channels, targets.vocabulary)
        self._hidden: Tensor | None = None
        encoder.network.model.encoder.register_forward_pre_hook(self._hide)

    def _hide(self, module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._hidden is None:
            return None
        if args[0].shape[1] != self._hidden.shape[1]:
            raise ValueError(
                f"the encoder makes {args[0].shape[1]} frames, the targets {self._hidden.shape[1]}: they need one hop, "
                "and training items of whole frames"
            )
        return torch.where(self._hidden[..., None], self.mask.to(args[0].dtype), args[0]), *args[1:]

    def _spans(self, items: int, frames: int) -> Tensor:
        """Which frames are hidden, bool (items, frames); at least one in all."""
        starts = torch.rand(items, frames, device=self.device) < self.start_share
        starts[0, int(torch.randint(frames, ()))] = True
        reach = F.max_pool1d(F.pad(starts.float(), (self.span - 1, 0))[:, None], self.span, stride=1)
        return reach[:, 0] > 0

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Cross-entropy over the hidden frames and, weighted, the others; the share of the hidden ones named so."""
        scale = self.level.scale(batch.noisy, training=True)
        with torch.no_grad(), torch.autocast(batch.clean.device.type, enabled=False):
            goal = self.targets.encode(batch.clean / scale)[:, 0]
        self._hidden = self._spans(*goal.shape)
        try:
            states = self.encoder(batch.noisy / scale, None, {})
        finally:
            hidden, self._hidden = self._hidden, None
        logits = self.names(self.norm(states.mT))
        right = (logits[hidden].argmax(-1) == goal[hidden]).float().mean()
        loss = F.cross_entropy(logits[hidden], goal[hidden])
        if self.seen_weight > 0 and not hidden.all():
            loss = loss + self.seen_weight * F.cross_entropy(logits[~hidden], goal[~hidden])
        return loss, right

    def on_fit_start(self) -> None:
        if self.targets.centres.any():
            return
        loader = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        batches = itertools.islice(loader, self.fit_batches)
        self.targets.fit(
            clean / self.level.scale(clean, training=True) for clean in (b.clean.to(self.device) for b in batches)
        )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss, right = self.loss(batch)
        if not torch.isfinite(loss):
            raise remedy(f"the loss is {loss.item()}", self.global_step)
        self.log("loss", loss.detach(), prog_bar=True, batch_size=len(batch.clean))
        self.log("right", right, prog_bar=True, batch_size=len(batch.clean))
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        hop = self.targets.hop_length
        clean, noisy = (wav[None, : wav.shape[-1] // hop * hop] for wav in batch)
        loss, right = self.loss(Batch(clean, noisy))
        self.log("val/loss", loss, prog_bar=True, **shared())
        self.log("val/right", right, prog_bar=True, **shared())

    def on_fit_end(self) -> None:
        """Write the folder of `transformers`."""
        folder = run_folder(self.trainer) / "model"
        if self.trainer.is_global_zero:
            self.encoder.network.model.save_pretrained(folder)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])

        def share(step: int) -> float:
            total = float(self.trainer.estimated_stepping_batches)
            return rate_share(step, total, warmup=self.warmup_steps, final=self.final_share)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
