"""Training mixtures and validation pairs for Lightning."""

from __future__ import annotations

from collections.abc import Sequence

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gense.data.clips import Clips
from gense.data.degrade import Degradation
from gense.data.pairs import Mixtures, Pairs
from gense.types import Batch


def collate(items: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """Stack (clean, noisy) items of one length."""
    return Batch(torch.stack([clean for clean, _ in items]), torch.stack([noisy for _, noisy in items]))


class MixtureDataModule(lightning.LightningDataModule):
    """Mixtures made on the fly from folders of clean speech, and recorded pairs for validation.

    Args:
        speech: folders of clean speech.
        degradations: what turns it into input.
        validation: folder with `clean` and `noisy`; None validates nothing.
        manifest: CSV with `path` and `speaker`, by which speech is drawn more evenly over speakers.
        speaker_power: a speaker is drawn with probability proportional to his number of clips to this power.
        sample_rate: Hz.
        seconds: length of a training item.
        batch_size: items per batch.
        epoch_size: items per epoch.
        validation_limit: validation pairs used, evenly picked; None takes all.
        num_workers: loader processes; the mixtures do not depend on it.
        seed: of the mixtures.
    """

    def __init__(
        self,
        speech: list[str],
        degradations: list[Degradation],
        *,
        validation: str | None = None,
        manifest: str | None = None,
        speaker_power: float = 0.5,
        sample_rate: int = 16000,
        seconds: float = 2.04,
        batch_size: int = 8,
        epoch_size: int = 8000,
        validation_limit: int | None = 20,
        num_workers: int = 1,
        seed: int = 0,
    ):
        super().__init__()
        self.speech, self.degradations, self.validation = speech, degradations, validation
        self.manifest, self.speaker_power, self.sample_rate = manifest, speaker_power, sample_rate
        self.seconds, self.batch_size, self.epoch_size = seconds, batch_size, epoch_size
        self.validation_limit, self.num_workers, self.seed = validation_limit, num_workers, seed

    def setup(self, stage: str) -> None:
        clips = Clips(self.speech, self.sample_rate, manifest=self.manifest, group_power=self.speaker_power)
        self.mixtures = Mixtures(
            clips, self.degradations, seconds=self.seconds, size=self.epoch_size, seed=self.seed
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        # Rebuilt each epoch (reload_dataloaders_every_n_epochs=1). Keyed to the step, so that a run resumed in the
        # middle of an epoch draws new mixtures instead of that epoch's first ones again
        assert self.trainer is not None
        self.mixtures.epoch = self.trainer.global_step
        return DataLoader(
            self.mixtures,  # type: ignore[arg-type]  # collate turns its items into a Batch
            self.batch_size, collate_fn=collate, num_workers=self.num_workers,
            multiprocessing_context="fork" if self.num_workers else None, drop_last=True,
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[DataLoader[tuple[Tensor, Tensor]]]:
        if self.validation is None:
            return []
        return DataLoader(Pairs(self.validation, self.sample_rate, limit=self.validation_limit), batch_size=None)
