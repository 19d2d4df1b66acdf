"""Whole utterances with what is said in them, in batches of about equal length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import lightning
import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

from gense.audio import read, resample
from gense.data.check import check_before_training
from gense.data.degrade import Degradation, degrade
from gense.data.order import RunLoader, pair_loader
from gense.data.paired import PairedFolders
from gense.data.pairs import Pairs
from gense.data.sources import Recording
from gense.transcripts import read_transcripts
from gense.types import Batch


class Utterances(Dataset[tuple[Tensor, Tensor, str]]):
    """Clean utterances, degraded on the fly: item i of epoch e depends on (seed, e, i) alone.

    Args:
        transcripts: CSV or TSV with the columns path and text, see `read_transcripts`.
        degradations: applied in order, each with its own probability.
        sample_rate: files are resampled to it, Hz.
        shortest: seconds; shorter files are left out.
        longest: seconds; longer files are left out.
        seed: of all randomness.

    Raises:
        ValueError: no file of the table exists, or none is between the two.
    """

    def __init__(
        self,
        transcripts: str,
        degradations: Sequence[Degradation],
        *,
        sample_rate: int,
        shortest: float = 0.3,
        longest: float = 30.0,
        seed: int = 0,
    ):
        said = read_transcripts(transcripts)
        if not said:
            raise ValueError(f"{transcripts}: none of its files exists; paths are relative to the table")
        lengths = {path: soundfile.info(path).duration for path in sorted(said)}
        kept = [path for path, seconds in lengths.items() if shortest <= seconds <= longest]
        if not kept:
            raise ValueError(
                f"{transcripts}: none of its {len(said)} files lasts {shortest:g} to {longest:g} s, "
                f"but {min(lengths.values()):.1f} to {max(lengths.values()):.1f} s"
            )
        self.files: list[tuple[Path, str]] = [(path, said[path]) for path in kept]
        self.seconds = [lengths[path] for path in kept]
        self.degradations, self.sample_rate, self.seed, self.epoch = list(degradations), sample_rate, seed, 0
        for degradation in self.degradations:
            degradation.prepare(sample_rate)

    @property
    def recordings(self) -> list[Recording]:
        """The files."""
        return [Recording(path, path.stem, str(path)) for path, _ in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, str]:
        """Return (clean, noisy, text), float32 (S,) each."""
        path, text = self.files[index]
        wav, rate = read(path)
        clean = resample(wav[:, 0], rate, self.sample_rate)
        rng = np.random.default_rng((self.seed, self.epoch, index))
        clean, noisy = degrade(clean, clean, self.degradations, rng)
        return torch.from_numpy(clean), torch.from_numpy(noisy), text


def batches_by_length(
    seconds: Sequence[float], *, batch_seconds: float, batch_size: int, ratio: float, rng: np.random.Generator
) -> list[list[int]]:
    """Group items so that little is padded, and shuffle the groups.

    Longest first, each group takes the next item while its longest item times its number stays within `batch_seconds`,
    there are at most `batch_size`, and the longest is at most `ratio` times the shortest. An item longer than
    `batch_seconds` is a group by itself.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(seconds)), key=lambda i: -seconds[i]):
        group = groups[-1] if groups else []
        longest = seconds[group[0]] if group else 0.0
        fits = group and longest * (len(group) + 1) <= batch_seconds and len(group) < batch_size
        if fits and longest <= ratio * seconds[index]:
            group.append(index)
        else:
            groups.append([index])
    return [groups[i] for i in rng.permutation(len(groups))]


def collate_texts(items: Sequence[tuple[Tensor, Tensor, str]]) -> Batch:
    """Pad (clean, noisy, text) items on the right with silence, and stack them."""
    clean, noisy, texts = zip(*items, strict=True)
    return Batch(pad_sequence(list(clean), True), pad_sequence(list(noisy), True), list(texts))


class UtteranceDataModule(lightning.LightningDataModule):
    """Whole utterances with transcripts, for methods that read them, and recorded pairs for validation.

    The defaults of the batches are those of the published FlowSE, which allows 6010 frames of 256 samples at 24 kHz.
    It pads spectrograms with zeros, which are loud there; here the waveforms are padded with silence.

    Args:
        transcripts: CSV or TSV with the columns path and text.
        degradations: what turns clean speech into input.
        validation: folder with `clean` and `noisy`, or how pairs are found; None validates nothing. Validation hears
            no transcripts.
        test: pairs for `gense test`, likewise, of which all are taken.
        sample_rate: Hz.
        batch_seconds: length of the longest item times the number of items, at most.
        batch_size: items per batch, at most.
        ratio: longest to shortest item of a batch, at most.
        shortest: seconds; shorter files are left out.
        longest: seconds; longer files are left out.
        validation_limit: validation pairs used, evenly picked; None takes all.
        num_workers: loader processes; the items do not depend on it.
        seed: of the degradations and of the order.
        check_files: files that are looked at before training; broken ones stop it. 0 looks at none.
    """

    def __init__(
        self,
        transcripts: str,
        degradations: list[Degradation],
        *,
        validation: str | PairedFolders | None = None,
        test: str | PairedFolders | None = None,
        sample_rate: int = 16000,
        batch_seconds: float = 64.1,
        batch_size: int = 64,
        ratio: float = 1.5,
        shortest: float = 0.3,
        longest: float = 30.0,
        validation_limit: int | None = 20,
        num_workers: int = 1,
        seed: int = 0,
        check_files: int = 32,
    ):
        super().__init__()
        self.transcripts, self.degradations = transcripts, degradations
        self.validation, self.test = validation, test
        self.sample_rate, self.shortest, self.longest = sample_rate, shortest, longest
        self.batch_seconds, self.batch_size, self.ratio = batch_seconds, batch_size, ratio
        self.validation_limit, self.num_workers, self.seed = validation_limit, num_workers, seed
        self.check_files = check_files

    @property
    def items(self) -> Utterances:
        """What is trained on, after `setup("fit")`."""
        return self.utterances

    def setup(self, stage: str) -> None:
        if stage != "fit":
            return
        self.utterances = Utterances(
            self.transcripts, self.degradations, sample_rate=self.sample_rate, shortest=self.shortest,
            longest=self.longest, seed=self.seed,
        )  # fmt: skip
        check_before_training(self.utterances.recordings, self.sample_rate, self.check_files)

    def _groups(self, epoch: int) -> list[list[int]]:
        return batches_by_length(
            self.utterances.seconds, batch_seconds=self.batch_seconds, batch_size=self.batch_size, ratio=self.ratio,
            rng=np.random.default_rng((self.seed, epoch)),
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        return RunLoader(
            self.utterances, self._groups, self.trainer, collate=collate_texts, num_workers=self.num_workers
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[DataLoader[tuple[Tensor, Tensor]]]:
        if self.validation is None:
            return []
        return pair_loader(Pairs(self.validation, self.sample_rate, limit=self.validation_limit), self.trainer)

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[DataLoader[tuple[Tensor, Tensor]]]:
        if self.test is None:
            return []
        return pair_loader(Pairs(self.test, self.sample_rate), self.trainer)
