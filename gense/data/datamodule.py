"""Training mixtures and validation pairs for Lightning."""

from __future__ import annotations

from collections.abc import Sequence

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from gense.data.check import check_before_training
from gense.data.clips import Clips
from gense.data.degrade import Degradation
from gense.data.order import RunLoader, pair_loader
from gense.data.paired import PairClips, PairedFolders
from gense.data.pairs import Mixtures, Pairs
from gense.types import Batch


def collate(items: Sequence[tuple[Tensor, Tensor]]) -> Batch:
    """Stack (clean, noisy) items of one length."""
    return Batch(torch.stack([clean for clean, _ in items]), torch.stack([noisy for _, noisy in items]))


class MixtureDataModule(lightning.LightningDataModule):
    """Mixtures made on the fly from folders of clean speech, and recorded pairs for validation.

    Args:
        speech: sources of clean speech, see `gense.data.sources`: folders, tables, lists or tar shards.
        degradations: what turns it into input.
        validation: folder with `clean` and `noisy`, or how pairs are found elsewhere; None validates nothing.
        test: pairs for `gense test`, likewise, of which all are taken.
        manifest: table with `path` and `speaker`, by which speech is drawn more evenly over speakers.
        speaker_power: a speaker is drawn with probability proportional to his number of clips to this power.
        sample_rate: Hz.
        seconds: length of a training item.
        batch_size: items per batch.
        epoch_size: items per epoch.
        validation_limit: validation pairs used, evenly picked; None takes all.
        num_workers: loader processes; the mixtures do not depend on it.
        seed: of the mixtures.
        memory_mb: MB of decoded speech that are kept; what is beyond is read again whenever it is drawn.
        check_files: files of clean speech that are looked at before training; broken ones stop it. 0 looks at none.
    """

    def __init__(
        self,
        speech: list[str],
        degradations: list[Degradation],
        *,
        validation: str | PairedFolders | None = None,
        test: str | PairedFolders | None = None,
        manifest: str | None = None,
        speaker_power: float = 0.5,
        sample_rate: int = 16000,
        seconds: float = 2.04,
        batch_size: int = 8,
        epoch_size: int = 8000,
        validation_limit: int | None = 20,
        num_workers: int = 1,
        seed: int = 0,
        memory_mb: float = 8000.0,
        check_files: int = 32,
    ):
        super().__init__()
        self.speech, self.degradations, self.validation, self.test = speech, degradations, validation, test
        self.manifest, self.speaker_power, self.sample_rate = manifest, speaker_power, sample_rate
        self.seconds, self.batch_size, self.epoch_size = seconds, batch_size, epoch_size
        self.validation_limit, self.num_workers, self.seed = validation_limit, num_workers, seed
        self.memory_mb, self.check_files = memory_mb, check_files

    def source(self) -> Clips | PairClips:
        """Where items begin."""
        return Clips(
            self.speech, self.sample_rate, manifest=self.manifest, group_power=self.speaker_power,
            memory_mb=self.memory_mb,
        )  # fmt: skip

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        source = self.source()
        check_before_training(source.recordings, self.sample_rate, self.check_files)
        self.mixtures = Mixtures(
            source, self.degradations, seconds=self.seconds, size=self.epoch_size, seed=self.seed
        )

    @property
    def items(self) -> Mixtures:
        """What is trained on, after `setup("fit")`."""
        return self.mixtures

    def train_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        size = self.batch_size
        batches = [range(start, start + size) for start in range(0, self.epoch_size - size + 1, size)]
        return RunLoader(
            self.mixtures, lambda epoch: batches, self.trainer, collate=collate, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[DataLoader[tuple[Tensor, Tensor]]]:
        if self.validation is None:
            return []
        return pair_loader(Pairs(self.validation, self.sample_rate, limit=self.validation_limit), self.trainer)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[DataLoader[tuple[Tensor, Tensor]]]:
        if self.test is None:
            return []
        return pair_loader(Pairs(self.test, self.sample_rate), self.trainer)


class PairDataModule(MixtureDataModule):
    """Cuts of paired recordings, as VoiceBank-DEMAND, WSJ0-CHiME3, EARS-WHAM, DNS and URGENT come, to train on.

    Args:
        pairs: how they are found.
        degradations: what changes the noisy side further; none by default.
        validation: folder with `clean` and `noisy`, or how pairs are found elsewhere; None validates nothing.
        test: pairs for `gense test`, likewise, of which all are taken.
        sample_rate: Hz.
        seconds: length of a training item.
        batch_size: items per batch.
        epoch_size: items per epoch.
        validation_limit: validation pairs used, evenly picked; None takes all.
        num_workers: loader processes; the items do not depend on it.
        seed: of the choice of pairs and places, and of the degradations.
        memory_mb: MB of decoded pairs that are kept; what is beyond is read again whenever it is drawn.
        check_files: files that are looked at before training; broken ones stop it. 0 looks at none.
    """

    def __init__(
        self,
        pairs: PairedFolders,
        *,
        degradations: list[Degradation] | None = None,
        validation: str | PairedFolders | None = None,
        test: str | PairedFolders | None = None,
        sample_rate: int = 16000,
        seconds: float = 2.04,
        batch_size: int = 8,
        epoch_size: int = 8000,
        validation_limit: int | None = 20,
        num_workers: int = 1,
        seed: int = 0,
        memory_mb: float = 8000.0,
        check_files: int = 32,
    ):
        super().__init__(
            [], degradations or [], validation=validation, test=test, sample_rate=sample_rate, seconds=seconds,
            batch_size=batch_size, epoch_size=epoch_size, validation_limit=validation_limit, num_workers=num_workers,
            seed=seed, memory_mb=memory_mb, check_files=check_files,
        )  # fmt: skip
        self.pairs = pairs

    def source(self) -> PairClips:
        """Where items begin."""
        return PairClips(self.pairs, self.sample_rate, memory_mb=self.memory_mb)
