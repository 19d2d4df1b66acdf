"""The Lightning module around a vocoder."""

from __future__ import annotations

from typing import Any, Literal

import lightning
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense.losses import WaveLoss
from gense.metrics import evaluate_pair
from gense.representations.base import Representation
from gense.representations.mel import LogMel
from gense.representations.resample import sinc_resample
from gense.training.rates import rate_share
from gense.types import Batch
from gense.vocoders.base import Vocoder
from gense.vocoders.discriminators import Discriminators

_QUIET = 0.01  # a crop with no louder sample is a pause between words: it keeps its level


class VocoderModule(lightning.LightningModule):
    """Trains a vocoder on clean speech, against discriminators and by the distance of mel spectrograms (Siuzdak 2023).

    Loss of the vocoder: mel_weight * distance of mel spectrograms + score_weight * loss of its scores + feature_weight
    * feature matching. The two optimisers step in turn, so `trainer.max_steps` counts two steps a batch once the
    discriminators have joined. The defaults are those of the published recipe.

    A vocoder of features of a speech model (PASE, arXiv 2511.13300) is trained on those of clean speech, then, with the
    speech model that was tuned on noisy speech, on those of noisy speech; the waveform to come near is the clean one.

    Args:
        vocoder: what is trained; it says itself which mel spectrogram it takes.
        discriminators: its opponents.
        optimizer: builds an optimiser from parameters, for each side one.
        features: what the vocoder takes where that is no mel spectrogram; frozen.
        hears: the side of a batch from which its features are made.
        distance: of mel spectrograms; None is the L1 of those that the vocoder takes.
        mel_weight: weight of the mel distance.
        score_weight: weight of the loss of the vocoder's scores.
        feature_weight: weight of feature matching.
        adversarial_from: batches after which the discriminators join; 0 is from the start.
        input_rate: rate of the speech, Hz, which is brought to the vocoder's by the short sinc that methods with an
            `input_rate` use, so that it learns the empty band above as they leave it. None: it has the vocoder's rate.
        peak_db: each crop is brought to a peak drawn uniformly from this range, dB relative to full scale; of noisy and
            clean the louder peak counts, so that they keep their proportion.
        warmup_steps: batches of linear warm-up.
        final_share: share of the learning rate left at the last step of a cosine decay over the training; 1 keeps it
            constant.
        gradient_clip: largest norm of each side's gradient; None leaves it alone.
        metrics: validation metrics, names known to `gense.metrics.evaluate_pair`, beside the mel distance.

    Raises:
        ValueError: the vocoder takes no mel spectrogram and there are no `features` or no `distance`, it takes one and
            there are features, or these have another rate or hop.
    """

    batches: Tensor

    def __init__(
        self,
        vocoder: Vocoder,
        discriminators: Discriminators | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        features: Representation | None = None,
        hears: Literal["clean", "noisy"] = "clean",
        distance: WaveLoss | None = None,
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
        self.features = _features(vocoder, features, distance)
        self.vocoder, self.optimizer, self.distance = vocoder, optimizer, distance
        self.discriminators = Discriminators() if discriminators is None else discriminators
        self.hears, self.score_weight, self.feature_weight = hears, score_weight, feature_weight
        self.mel_weight, self.adversarial_from, self.peak_db = mel_weight, adversarial_from, peak_db
        self.input_rate = input_rate or vocoder.sample_rate
        self.warmup_steps, self.final_share, self.gradient_clip = warmup_steps, final_share, gradient_clip
        self.metrics = metrics
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))

    def mel_distance(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Distance of the mel spectrograms of (B, S) and (B, S), a scalar."""
        if self.distance is not None:
            return self.distance(estimate, clean)
        return F.l1_loss(self.features.encode(estimate), self.features.encode(clean))

    def _gain(self, wav: Tensor) -> Tensor:
        """What brings each item of (B, S) to a peak in the range, (B, 1)."""
        peak = wav.abs().amax(dim=-1, keepdim=True)
        low, high = self.peak_db
        goal = 10 ** ((low + (high - low) * torch.rand_like(peak)) / 20)
        return torch.where(peak > _QUIET, goal / peak.clamp(min=_QUIET), torch.ones_like(peak))

    def _pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What the vocoder is to make, and what it hears, at its rate and one level, of whole frames."""
        heard = batch.noisy if self.hears == "noisy" else batch.clean
        gain = self._gain(torch.cat([batch.clean, heard], dim=-1))
        # A whole number of frames, so that the end of a crop is not judged by zeros that the vocoder never made
        clean, heard = (
            wav[:, : wav.shape[-1] // self.vocoder.hop_length * self.vocoder.hop_length]
            for wav in (self._at_rate(batch.clean * gain), self._at_rate(heard * gain))
        )
        return clean, heard

    def _at_rate(self, wav: Tensor) -> Tensor:
        return sinc_resample(wav, self.input_rate, self.vocoder.sample_rate)

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        sides: Any = self.optimizers()
        vocoder_side, other_side = sides
        clean, heard = self._pair(batch)
        with torch.no_grad():
            features = self.features.encode(heard)
        adversarial = int(self.batches) >= self.adversarial_from
        estimate = self.vocoder(features, clean.shape[-1])
        if adversarial:
            self._step(other_side, {"discriminators": self.discriminators(clean, estimate.detach())})
        self.toggle_optimizer(vocoder_side)
        losses = {"mel": self.mel_weight * self.mel_distance(estimate, clean)}
        if adversarial:
            score, matching = self.discriminators.against(clean, estimate)
            losses["score"], losses["features"] = self.score_weight * score, self.feature_weight * matching
        self._step(vocoder_side, losses)
        self.untoggle_optimizer(vocoder_side)
        schedulers: Any = self.lr_schedulers()
        for scheduler in schedulers:
            scheduler.step()
        self.batches += 1

    def _step(self, optimizer: Any, losses: dict[str, Tensor]) -> None:
        """One step of one side on the sum of its losses."""
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise RuntimeError(
                f"the losses are {', '.join(f'{k} {v.item():.3g}' for k, v in losses.items())} at batch "
                f"{int(self.batches)}: training diverged; lower the learning rate or set gradient_clip, and resume "
                "from the last checkpoint with --ckpt_path"
            )
        optimizer.zero_grad()
        self.manual_backward(total)
        if self.gradient_clip is not None:
            self.clip_gradients(optimizer, self.gradient_clip, "norm")
        optimizer.step()
        for name, value in losses.items():
            self.log(f"loss/{name}", value.detach(), prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        clean = self._at_rate(batch[0][None])
        heard = self._at_rate(batch[1][None]) if self.hears == "noisy" else clean
        with torch.autocast(self.device.type, enabled=False):
            estimate = self.vocoder(self.features.encode(heard), clean.shape[-1])
            self.log("val/mel", self.mel_distance(estimate, clean), prog_bar=True, batch_size=1)
        if self.metrics:
            ours, theirs = (wav[0].float().cpu().numpy() for wav in (estimate, clean))
            scores = evaluate_pair(ours, theirs, self.vocoder.sample_rate, metrics=self.metrics)
            for name, value in scores.items():
                self.log(f"val/{name}", value, prog_bar=True, batch_size=1)

    def configure_optimizers(self) -> Any:
        sides = [self.optimizer(list(part.parameters())) for part in (self.vocoder, self.discriminators)]
        return sides, [torch.optim.lr_scheduler.LambdaLR(side, self._share) for side in sides]

    def _total(self) -> float:
        """Batches of the whole training, infinity where nobody said."""
        steps = self.trainer.max_steps
        if steps < 0:
            return float(self.trainer.estimated_stepping_batches)
        return steps if steps <= self.adversarial_from else (steps + self.adversarial_from) / 2

    def _share(self, batch: int) -> float:
        return rate_share(batch, self._total(), warmup=self.warmup_steps, final=self.final_share)


def _features(vocoder: Vocoder, given: Representation | None, distance: WaveLoss | None) -> Representation:
    """What a vocoder takes, without gradients."""
    name = type(vocoder).__name__
    if vocoder.mel is not None:
        if given is not None:
            raise ValueError(f"{name} says itself which mel spectrogram it takes; leave out features")
        return LogMel(vocoder.mel)
    if given is None or distance is None:
        raise ValueError(f"{name} takes no mel spectrogram: it needs features, and the distance that is to be small")
    if (given.sample_rate, given.hop_length) != (vocoder.sample_rate, vocoder.hop_length):
        raise ValueError(
            f"features and {name} differ: {given.sample_rate} and {vocoder.sample_rate} Hz, a frame every "
            f"{given.hop_length} and {vocoder.hop_length} samples"
        )
    return given.requires_grad_(False)
