"""Corpora too large for memory or random access: WebDataset shards, read as a stream."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from gense.audio import read, resample
from gense.data.datamodule import MixtureDataModule, collate
from gense.data.degrade import Degradation, degrade
from gense.data.paired import PairedFolders
from gense.types import Batch


class ShardMixtures(IterableDataset[tuple[Tensor, Tensor]]):
    """Training items from a stream of tar shards, the same whatever the number of workers.

    The order of the shards and of the samples in a buffer depends on (seed, epoch, rank) alone, and what becomes of
    item i on these and i. Every worker reads the whole stream of its process and decodes the batches that are its own,
    in turn: bytes are cheap beside decoding and degradations. Shards begin again, in another order, until there are
    enough items.

    Args:
        shards: paths, patterns with braces, {000..041}, URLs, or commands `pipe:...`, as webdataset takes them.
        degradations: applied in order, each with its own probability.
        sample_rate: files are resampled to it, Hz.
        seconds: length of an item; shorter files are repeated.
        size: items per epoch and process.
        batch_size: of the loader, by which workers share the work.
        clean: extension of clean speech in a sample.
        noisy: extension of its noisy side; None begins with clean speech on both sides.
        buffer: samples from which the next is drawn.
        seed: of all randomness.

    Attributes:
        done: how many steps the run has behind it, asked whenever iteration begins: items go on from there, through
            the end of the epoch, as many as an epoch has.
        rank: this process among `ranks`, each of which reads shards of its own.
        ranks: how many processes there are.

    Raises:
        ImportError: webdataset is not installed.
        ValueError: no shards, or an epoch shorter than a batch.
    """

    def __init__(
        self,
        shards: Sequence[str],
        degradations: Sequence[Degradation],
        *,
        sample_rate: int,
        seconds: float,
        size: int,
        batch_size: int,
        clean: str = "flac",
        noisy: str | None = None,
        buffer: int = 500,
        seed: int = 0,
    ):
        self.shards = expanded(shards)
        if buffer < 1 or not 1 <= batch_size <= size:
            raise ValueError(f"buffer={buffer}, batch_size={batch_size}, size={size}: need at least 1, and a batch")
        self.degradations, self.sample_rate, self.size = list(degradations), sample_rate, size
        self.length, self.batch_size, self.buffer = round(seconds * sample_rate), batch_size, buffer
        self.clean, self.noisy, self.seed = clean, noisy, seed
        self.done: Callable[[], int] = int
        self.rank, self.ranks = 0, 1
        for degradation in self.degradations:
            degradation.prepare(sample_rate)

    def __len__(self) -> int:
        return self.size // self.batch_size * self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (clean, noisy), float32 (S,) each."""
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        steps = len(self) // self.batch_size
        whole, first = divmod(self.done(), steps)
        for epoch, begin, end in ((whole, first, steps), (whole + 1, 0, first)):
            samples = self._samples(np.random.default_rng((self.seed, epoch, self.rank)))
            for index in range(end * self.batch_size):
                sample = next(samples)
                step = index // self.batch_size
                if step >= begin and (step - first) % steps % workers == worker:
                    rng = np.random.default_rng((self.seed, epoch, self.rank, index))
                    clean, noisy = degrade(*self._cut(sample, rng), self.degradations, rng)
                    yield torch.from_numpy(clean), torch.from_numpy(noisy)

    def _samples(self, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        """Samples without end, in an order drawn by `rng`."""
        buffer: list[dict[str, Any]] = []
        for sample in self._read(rng):
            if len(buffer) < self.buffer:
                buffer.append(sample)
                continue
            place = int(rng.integers(len(buffer)))
            buffer[place], sample = sample, buffer[place]
            yield sample

    def _read(self, rng: np.random.Generator) -> Iterator[dict[str, Any]]:
        import webdataset

        if len(self.shards) < self.ranks:
            raise ValueError(
                f"{len(self.shards)} shards for {self.ranks} processes: each reads shards of its own; make smaller ones"
            )
        own = self.shards[self.rank :: self.ranks]
        while True:
            urls = [own[index] for index in rng.permutation(len(own))]
            found = 0
            for sample in webdataset.tarfile_samples({"url": url} for url in urls):
                if self.clean in sample and (self.noisy is None or self.noisy in sample):
                    found += 1
                    yield sample
            if not found:
                wanted = self.clean if self.noisy is None else f"{self.clean} and {self.noisy}"
                raise ValueError(f"{own[0]}: no sample with {wanted} in this and {len(own) - 1} more shards")

    def _cut(self, sample: dict[str, Any], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        waves = []
        for extension in (self.clean, self.noisy or self.clean):
            name = f"{sample['__url__']}:{sample['__key__']}.{extension}"
            wav, rate = read(io.BytesIO(sample[extension]), name=name)
            waves.append(resample(wav[:, 0], rate, self.sample_rate))
        length = min(map(len, waves))
        repeats = -(-self.length // length)
        start = int(rng.integers(length * repeats - self.length + 1))
        clean, noisy = (np.tile(wav[:length], repeats)[start : start + self.length] for wav in waves)
        return clean, noisy


def expanded(patterns: Sequence[str]) -> list[str]:
    """Shards by patterns with braces, in their order.

    Raises:
        ImportError: webdataset is not installed.
        ValueError: there is none.
    """
    try:
        from webdataset.shardlists import expand_urls
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install gense[data]") from error
    expand: Callable[[str], list[str]] = expand_urls
    found = [url for pattern in patterns for url in expand(pattern)]
    if not found:
        raise ValueError("shards: need at least one")
    return found


class StreamLoader(DataLoader[Any]):
    """A loader of a stream, which goes on by itself where a run was cut off; checkpoints keep what that rests on.

    Args:
        items: the stream.
        num_workers: processes that make the items, 0 for this one.
    """

    def __init__(self, items: ShardMixtures, *, num_workers: int):
        self._kept = {"items of an epoch": len(items), "items of a batch": items.batch_size, "processes": items.ranks}
        super().__init__(
            items, items.batch_size, collate_fn=collate, num_workers=num_workers,
            multiprocessing_context="fork" if num_workers else None, drop_last=True,
        )  # fmt: skip

    def state_dict(self) -> dict[str, int]:
        """What the order depends on."""
        return dict(self._kept)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Warn where the order is another one than that of the run that is resumed."""
        if state != self._kept:
            warnings.warn(f"the run that is resumed had {state}, this one has {self._kept}: items differ", stacklevel=2)


class ShardDataModule(MixtureDataModule):
    """Items from a stream of tar shards, for corpora that fit neither memory nor a disk that is quick at random access.

    Args:
        shards: paths, patterns with braces, {000..041}, URLs, or commands `pipe:...`, as webdataset takes them.
        degradations: what turns clean speech into input, or changes the noisy side further.
        validation: folder with `clean` and `noisy`, or how pairs are found elsewhere; None validates nothing.
        clean: extension of clean speech in a sample.
        noisy: extension of its noisy side; None begins with clean speech on both sides.
        buffer: samples from which the next is drawn.
        sample_rate: Hz.
        seconds: length of a training item.
        batch_size: items per batch.
        epoch_size: items per epoch, of all processes.
        test: pairs for `gense test`, likewise, of which all are taken.
        validation_limit: validation pairs used, evenly picked; None takes all.
        num_workers: loader processes; the items do not depend on it.
        seed: of the order, the places and the degradations.
    """

    def __init__(
        self,
        shards: list[str],
        degradations: list[Degradation],
        *,
        validation: str | PairedFolders | None = None,
        test: str | PairedFolders | None = None,
        clean: str = "flac",
        noisy: str | None = None,
        buffer: int = 500,
        sample_rate: int = 16000,
        seconds: float = 2.04,
        batch_size: int = 8,
        epoch_size: int = 8000,
        validation_limit: int | None = 20,
        num_workers: int = 1,
        seed: int = 0,
    ):
        super().__init__(
            [], degradations, validation=validation, test=test, sample_rate=sample_rate, seconds=seconds,
            batch_size=batch_size, epoch_size=epoch_size, validation_limit=validation_limit, num_workers=num_workers,
            seed=seed,
        )  # fmt: skip
        self.shards, self.clean, self.noisy, self.buffer = shards, clean, noisy, buffer

    @property
    def items(self) -> ShardMixtures:  # type: ignore[override]  # a stream, not a list
        """What is trained on, after `setup("fit")`."""
        return self.stream

    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.stream = ShardMixtures(
                self.shards, self.degradations, sample_rate=self.sample_rate, seconds=self.seconds,
                size=self.epoch_size, batch_size=self.batch_size, clean=self.clean, noisy=self.noisy,
                buffer=self.buffer, seed=self.seed,
            )  # fmt: skip

    def train_dataloader(self) -> DataLoader[Batch]:
        assert self.trainer is not None
        progress = self.trainer.fit_loop.epoch_loop.batch_progress
        self.stream.done = lambda: progress.total.processed  # type: ignore[attr-defined]  # declared as its base class
        self.stream.rank, self.stream.ranks = self.trainer.global_rank, self.trainer.world_size
        self.stream.size = self.epoch_size // self.trainer.world_size
        return StreamLoader(self.stream, num_workers=self.num_workers)
