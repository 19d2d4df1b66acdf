"""The Lightning module around a codec."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense.checkpoints.codec import load_codec
from gense.checkpoints.folder import load_strict
from gense.losses import MultiScaleMelLoss, WaveLoss
from gense.representations.codec import VectorCodec
from gense.training.adversarial import AdversarialModule
from gense.training.codebooks import CodebookGuard, count, usage
from gense.types import Batch
from gense.vocoders.discriminators import Discriminators


class CodecModule(AdversarialModule):
    """Trains a codec to give back the speech that it gets.

    The losses of its quantiser come beside those against the discriminators and the distance of mel spectrograms, with
    the weights that the codec was given. The share of codes in use and their perplexity are logged as `codes/used` and
    `codes/perplexity`, of the validation recordings as `val/codes_used` and `val/codes_perplexity`.

    What a run saves, `codec.yaml` and `model.safetensors`, is what `EnhancerModule(codecs=...)` puts into a method. One
    process trains: copies on several devices would move their codes apart.

    Args:
        codec: what is trained, frozen or not.
        discriminators: its opponents.
        optimizer: builds an optimiser from parameters, for each side one.
        distance: of mel spectrograms; None is a `MultiScaleMelLoss` at the codec's rate.
        mel_weight: weight of this distance.
        noisy_share: probability with which an item is the noisy recording, to be given back as it is, noise and all:
            for methods that read the tokens of noisy speech.
        guard: against codes that nothing takes; None is a `CodebookGuard` with its defaults.
        move_until: share of the training after which no code moves any more, in [0, 1], so that the averaged weights
            and the falling learning rate settle.
        initial: folder of a codec of the same sizes, from whose weights training begins.
        fixed_codes: train the decoder alone: what the codec codes stays as it is in `initial`, and a token model that
            was trained on its codes stays of use.
        settings: weights, levels, rates and metrics of `AdversarialModule`.

    Raises:
        ValueError: a share is not in [0, 1], `fixed_codes` without `initial`, or other sizes in `initial`.
    """

    def __init__(
        self,
        codec: VectorCodec,
        discriminators: Discriminators | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        distance: WaveLoss | None = None,
        mel_weight: float = 15.0,
        noisy_share: float = 0.0,
        guard: CodebookGuard | None = None,
        move_until: float = 0.8,
        initial: str | None = None,
        fixed_codes: bool = False,
        **settings: Any,
    ):
        super().__init__(
            discriminators, optimizer, sample_rate=codec.sample_rate, hop_length=codec.hop_length,
            mel_weight=mel_weight, **settings,
        )  # fmt: skip
        if not (0 <= noisy_share <= 1 and 0 <= move_until <= 1):
            raise ValueError(f"noisy_share={noisy_share}, move_until={move_until}: need both in [0, 1]")
        if fixed_codes and initial is None:
            raise ValueError("fixed_codes=True: name the codec that made the codes, initial=")
        if initial is not None:
            load_strict(codec, load_codec(initial).state_dict(), initial)
        self.codec = codec.requires_grad_(not fixed_codes)
        self.codec.decoder.requires_grad_(True)
        self.fixed_codes = fixed_codes
        self.distance = MultiScaleMelLoss(sample_rate=codec.sample_rate) if distance is None else distance
        self.guard = CodebookGuard() if guard is None else guard
        self.noisy_share, self.move_until = noisy_share, move_until
        self.vectors: Tensor | None = None
        self.counts: Tensor | None = None

    @property
    def maker(self) -> VectorCodec:
        """The codec."""
        return self.codec

    def mel_distance(self, estimate: Tensor, clean: Tensor) -> Tensor:
        """Distance of the mel spectrograms of (B, S) and (B, S), a scalar."""
        return self.distance(estimate, clean)

    def attempt(self, batch: Batch) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """The speech, what the codec makes of it, and the losses of its quantiser."""
        wav = batch.clean
        if self.noisy_share > 0:
            noisy = torch.rand(len(wav), 1, device=wav.device) < self.noisy_share
            wav = torch.where(noisy, batch.noisy, wav)
        wav = self._whole(wav * self._gain(wav))
        if self.fixed_codes:
            with torch.no_grad():
                vectors = self.codec.quantiser.decode(self.codec.encode(wav))
            return wav, self.codec.waveform(vectors, wav.shape[-1]), {}
        made = self.codec.reconstruct(wav, quantise=bool(self.guard.placed))
        self.vectors = made.vectors.detach()
        return wav, made.wav, made.losses

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        index = int(self.batches)
        super().training_step(batch, batch_idx)
        if self.vectors is None:
            return
        move = index < self.move_until * self._total()
        ended = self.guard.after(self.codec.quantiser, self.vectors, batch=index, move=move)
        self.vectors = None
        if ended is not None:
            self.log("codes/used", ended.used, prog_bar=True)
            self.log("codes/perplexity", ended.perplexity, prog_bar=True)

    def remake(self, clean: Tensor, noisy: Tensor) -> Tensor:
        """The clean recording through its codes, (1, S)."""
        codes = self.codec.encode(clean)
        new = count(codes, self.codec.vocabulary)
        self.counts = new if self.counts is None else self.counts + new
        return self.codec.decode(codes, clean.shape[-1])

    def on_validation_epoch_start(self) -> None:
        self.counts = None

    def on_validation_epoch_end(self) -> None:
        if self.counts is not None:
            used, perplexity = usage(self.counts)
            self.log("val/codes_used", used)
            self.log("val/codes_perplexity", perplexity, prog_bar=True)
