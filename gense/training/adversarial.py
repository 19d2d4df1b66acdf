"""What trainings against discriminators have in common: two optimisers in turn, levels of crops, losses, validation."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from gense.metrics import evaluate_pair
from gense.representations.resample import sinc_resample
from gense.training.divergence import remedy
from gense.training.logs import shared
from gense.training.rates import rate_share
from gense.types import Batch
from gense.vocoders.discriminators import Discriminators

_QUIET = 0.01  # a crop with no louder sample is a pause between words: it keeps its level


class AdversarialModule(lightning.LightningModule):
    """Trains what makes waveforms, against discriminators and by the distance of mel spectrograms (Siuzdak 2023).

    Loss of the maker: mel_weight * distance of mel spectrograms + score_weight * loss of its scores + feature_weight
    * feature matching + losses of its own. The two optimisers step in turn, so `trainer.max_steps` counts two steps a
    batch once the discriminators have joined. The defaults are those of the published recipe.

    A subclass sets `maker` and says what it makes of a batch: `attempt` in training, `remake` in validation.

    Args:
        discriminators: its opponents.
        optimizer: builds an optimiser from parameters, for each side one.
        sample_rate: of what is made, Hz.
        hop_length: samples of it per frame.
        mel_weight: weight of the mel distance.
        score_weight: weight of the loss of the maker's scores.
        feature_weight: weight of feature matching.
        adversarial_from: batches after which the discriminators join; 0 is from the start.
        input_rate: rate of the speech, Hz, which is brought to `sample_rate` by the short sinc that methods with an
            `input_rate` use, so that the empty band above is learned as they leave it. None: it has that rate.
        peak_db: each crop is brought to a peak drawn uniformly from this range, dB relative to full scale; of noisy and
            clean the louder peak counts, so that they keep their proportion.
        warmup_steps: batches of linear warm-up.
        final_share: share of the learning rate left at the last step of a cosine decay over the training; 1 keeps it
            constant.
        gradient_clip: largest norm of each side's gradient; None leaves it alone.
        metrics: validation metrics, names known to `gense.metrics.evaluate_pair`, beside the mel distance.
    """

    batches: Tensor

    def __init__(
        self,
        discriminators: Discriminators | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        sample_rate: int,
        hop_length: int,
        mel_weight: float = 45.0,
        score_weight: float = 1.0,
        feature_weight: float = 1.0,
        adversarial_from: int = 0,
        input_rate: int | None = None,
        peak_db: tuple[float, float] = (-6.0, -1.0),
        warmup_steps: int = 0,
        final_share: float = 0.0,
        gradient_clip: float | None = None,
        metrics: tuple[str, ...] = ("pesq", "estoi"),
    ):
        super().__init__()
        self.automatic_optimization = False
        self.optimizer, self.sample_rate, self.hop_length = optimizer, sample_rate, hop_length
        self.discriminators = Discriminators() if discriminators is None else discriminators
        self.score_weight, self.feature_weight = score_weight, feature_weight
        self.mel_weight, self.adversarial_from, self.peak_db = mel_weight, adversarial_from, peak_db
        self.input_rate = input_rate or sample_rate
        self.warmup_steps, self.final_share, self.gradient_clip = warmup_steps, final_share, gradient_clip
        self.metrics = metrics
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    @property
    def maker(self) -> nn.Module:
        """What is trained against the discriminators."""
        raise NotImplementedError

    def mel_distance(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Distance of the mel spectrograms of (B, S) and (B, S), a scalar."""
        raise NotImplementedError

    def attempt(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """What the maker is to make of a batch, (B, S), what it made, (B, S), and losses of its own by name."""
        raise NotImplementedError

    def remake(self, clean: Tensor, noisy: Tensor) -> Tensor:
        """What is made in use, (1, S), where it is to make `clean`, (1, S), and may hear `noisy`, (1, S)."""
        raise NotImplementedError

    def _gain(self, wav: Tensor) -> Tensor:
        """What brings each item of (B, S) to a peak in the range, (B, 1)."""
        peak = wav.abs().amax(dim=-1, keepdim=True)
        low, high = self.peak_db
        goal = 10 ** ((low + (high - low) * torch.rand_like(peak)) / 20)
        return torch.where(peak > _QUIET, goal / peak.clamp(min=_QUIET), torch.ones_like(peak))

    def _whole(self, wav: Tensor) -> Tensor:
        """A wave at the maker's rate, of whole frames: the end of a crop is not judged by zeros that nobody made."""
        wav = self._at_rate(wav)
        return wav[:, : wav.shape[-1] // self.hop_length * self.hop_length]

    def _at_rate(self, wav: Tensor) -> Tensor:
        return sinc_resample(wav, self.input_rate, self.sample_rate)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        sides: Any = self.optimizers()
        own_side, other_side = sides
        adversarial = int(self.batches) >= self.adversarial_from
        goal, estimate, own = self.attempt(batch)
        if adversarial:
            self._step(other_side, {"discriminators": self.discriminators(goal, estimate.detach())})
        self.toggle_optimizer(own_side)
        losses = {"mel": self.mel_weight * self.mel_distance(estimate, goal), **own}
        if adversarial:
            score, matching = self.discriminators.against(goal, estimate)
            losses["score"], losses["features"] = self.score_weight * score, self.feature_weight * matching
        self._step(own_side, losses)
        self.untoggle_optimizer(own_side)
        schedulers: Any = self.lr_schedulers()
        for scheduler in schedulers:
            scheduler.step()
        self.batches += 1

    def _step(self, optimizer: Any, losses: dict[str, Tensor]) -> None:
        """One step of one side on the sum of its losses."""
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            named = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            raise remedy(f"the losses are {named}", self.global_step, clipping="gradient_clip of the model")
        optimizer.zero_grad()
        self.manual_backward(total)
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, "norm")
        optimizer.step()
        for name, value in losses.items():
            self.log(f"loss/{name}", value.detach(), prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._judge(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        return self._judge(batch, "test")

    def _judge(self, batch: tuple[Tensor, Tensor], stage: str) -> dict[str, Tensor]:
        """Log the scores of one recording, and return its waveforms, (S,) each, by name."""
        clean, noisy = (self._at_rate(wav[None]) for wav in batch)
        with torch.autocast(self.device.type, enabled=False):
            estimate = self.remake(clean, noisy)
            distance = self.mel_distance(estimate, clean)
            self.log(f"{stage}/mel", distance, prog_bar=True, **shared())
        if self.metrics:
            ours, theirs = (wav[0].float().cpu().numpy() for wav in (estimate, clean))
            scores = evaluate_pair(ours, theirs, self.sample_rate, metrics=self.metrics)
            for name, value in scores.items():
                self.log(f"{stage}/{name}", value, prog_bar=True, **shared())
        return {"noisy": noisy[0], "estimate": estimate[0], "clean": clean[0]}

    def configure_optimizers(self) -> Any:
        sides = [
            self.optimizer([p for p in part.parameters() if p.requires_grad])
            for part in (self.maker, self.discriminators)
        ]
        return sides, [torch.optim.lr_scheduler.LambdaLR(side, self._share) for side in sides]

    def _total(self) -> float:
        """Batches of the whole training, infinity where nobody said."""
        steps = self.trainer.max_steps
        if steps < 0:
            return float(self.trainer.estimated_stepping_batches)
        return steps if steps <= self.adversarial_from else (steps + self.adversarial_from) / 2

    def _share(self, batch: int) -> float:
        return rate_share(batch, self._total(), warmup=self.warmup_steps, final=self.final_share)
