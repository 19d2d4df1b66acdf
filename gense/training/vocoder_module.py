"""The Lightning module around a vocoder."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense.checkpoints.vocoder import load_vocoder
from gense.losses import WaveLoss
from gense.representations.base import Representation
from gense.representations.mel import LogMel
from gense.training.adversarial import AdversarialModule
from gense.training.initial import copy_fitting
from gense.types import Batch
from gense.vocoders.base import Vocoder
from gense.vocoders.discriminators import Discriminators


class VocoderModule(AdversarialModule):
    """Trains a vocoder on clean speech.

    A vocoder of features of a speech model (PASE, arXiv 2511.13300) is trained on those of clean speech, then, with the
    speech model that was tuned on noisy speech, on those of noisy speech; the waveform to come near is the clean one.

    Args:
        vocoder: what is trained; it says itself which mel spectrogram it takes.
        discriminators: its opponents.
        optimizer: builds an optimiser from parameters, for each side one.
        features: what the vocoder takes where that is no mel spectrogram; frozen.
        hears: the side of a batch from which its features are made.
        distance: of mel spectrograms; None is the L1 of those that the vocoder takes.
        initial: vocoder from whose weights training begins, as `gense.vocoders.load` takes it: of every tensor that has
            the same name and shape; the others are fresh, such as those of a second stream.
        settings: weights, levels, rates and metrics of `AdversarialModule`.

    Raises:
        ValueError: the vocoder takes no mel spectrogram and there are no `features` or no `distance`, it takes one and
            there are features, these have another rate or hop, or nothing of `initial` fits.
    """

    def __init__(
        self,
        vocoder: Vocoder,
        discriminators: Discriminators | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        features: Representation | None = None,
        hears: Literal["clean", "noisy"] = "clean",
        distance: WaveLoss | None = None,
        initial: str | None = None,
        **settings: Any,
    ):
        super().__init__(
            discriminators, optimizer, sample_rate=vocoder.sample_rate, hop_length=vocoder.hop_length, **settings
        )
        self.features = _features(vocoder, features, distance)
        self.vocoder, self.distance, self.hears = vocoder, distance, hears
        if initial is not None:
            copy_fitting(vocoder.state_dict(), load_vocoder(initial).state_dict(), "vocoder", initial)

    @property
    def maker(self) -> Vocoder:
        """The vocoder."""
        return self.vocoder

    def mel_distance(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Distance of the mel spectrograms of (B, S) and (B, S), a scalar."""
        if self.distance is not None:
            return self.distance(estimate, clean)
        return F.l1_loss(self.features.encode(estimate), self.features.encode(clean))

    def attempt(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The clean speech, at one level with what the vocoder hears, and what it makes of that."""
        heard = batch.noisy if self.hears == "noisy" else batch.clean
        gain = self._gain(torch.cat([batch.clean, heard], dim=-1))
        clean, heard = self._whole(batch.clean * gain), self._whole(heard * gain)
        with torch.no_grad():
            features = self.features.encode(heard)
        return clean, self.vocoder(features, clean.shape[-1]), {}

    def remake(self, clean: Tensor, noisy: Tensor) -> Tensor:
        """What the vocoder makes of whole recordings, (1, S)."""
        return self.vocoder(self.features.encode(noisy if self.hears == "noisy" else clean), clean.shape[-1])


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
