"""The order of training batches: what the n-th step of a run sees, however often the run was cut off before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import lightning
from torch.utils.data import DataLoader, Dataset, Sampler

Place = tuple[int, int]
"""(epoch, index) of an item."""


class ByEpoch(Protocol):
    """A data set whose items change with the attribute `epoch`."""

    epoch: int

    def __getitem__(self, index: int) -> Any: ...


class Placed(Dataset[Any]):
    """A data set asked for (epoch, index), so that its worker processes need not be told when an epoch ends.

    Args:
        items: whose `epoch` is set before each item is made.
    """

    def __init__(self, items: ByEpoch):
        self.items = items

    def __getitem__(self, place: Place) -> Any:
        self.items.epoch, index = place
        return self.items[index]


class RunOrder(Sampler[list[Place]]):
    """The batches of one process from the step that comes next on, through the ends of epochs.

    Step n takes as many batches in a row as there are processes, one each, so that two processes see in a step what
    one with batches of twice the size sees.

    Args:
        batches: epoch -> lists of indices, equally many in every epoch.
        done: how many steps the run has behind it; asked whenever iteration begins.
        rank: of this process.
        ranks: number of processes.

    Raises:
        ValueError: an epoch has fewer batches than there are processes.
    """

    def __init__(
        self,
        batches: Callable[[int], Sequence[Sequence[int]]],
        done: Callable[[], int],
        *,
        rank: int = 0,
        ranks: int = 1,
    ):
        self.batches, self.done, self.rank, self.ranks = batches, done, rank, ranks
        self.steps = len(batches(0)) // ranks
        if self.steps == 0:
            raise ValueError(
                f"an epoch has {len(batches(0))} batches for {ranks} processes: need at least one each; make the epoch "
                "larger or the batches smaller"
            )

    def __len__(self) -> int:
        """Steps of an epoch."""
        return self.steps

    def __iter__(self) -> Iterator[list[Place]]:
        first = self.done()
        epoch, groups = -1, self.batches(0)
        # As many as an epoch has from anywhere: a loop that goes on inside an epoch stops by its own count
        for step in range(first, first + self.steps):
            if step // self.steps != epoch:
                epoch = step // self.steps
                groups = self.batches(epoch)
            yield [(epoch, index) for index in groups[step % self.steps * self.ranks + self.rank]]


def batches_done(trainer: lightning.Trainer) -> int:
    """The training batches that a run has behind it, those before it was resumed among them."""
    total: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    return int(total.processed)


class RunLoader(DataLoader[Any]):
    """A loader that goes on where a run was cut off.

    What has been seen is counted by the trainer, which knows it better than a loader whose workers read ahead. The
    loader keeps in checkpoints what would change the order, to warn of it.

    Args:
        items: the data set.
        batches: epoch -> lists of indices, equally many in every epoch.
        trainer: whose steps and processes count.
        collate: makes a batch from a list of items.
        num_workers: processes that make the items, 0 for this one.
    """

    def __init__(
        self,
        items: ByEpoch,
        batches: Callable[[int], Sequence[Sequence[int]]],
        trainer: lightning.Trainer,
        *,
        collate: Callable[[Sequence[Any]], Any],
        num_workers: int,
    ):
        order = RunOrder(batches, lambda: batches_done(trainer), rank=trainer.global_rank, ranks=trainer.world_size)
        self._kept = {"steps of an epoch": len(order), "items of a batch": len(batches(0)[0]), "processes": order.ranks}
        super().__init__(
            Placed(items), batch_sampler=order, collate_fn=collate, num_workers=num_workers,
            multiprocessing_context="fork" if num_workers else None,
        )  # fmt: skip

    def state_dict(self) -> dict[str, int]:
        """What the order depends on."""
        return dict(self._kept)

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Warn where the order is another one than that of the run that is resumed."""
        kept = self._kept.items()
        changed = [f"{name} were {state.get(name)}, are {now}" for name, now in kept if state.get(name) != now]
        if changed:
            warnings.warn(
                f"{'; '.join(changed)}: this run goes on with other items than it would have seen uninterrupted",
                stacklevel=2,
            )


def pair_loader(pairs: Dataset[Any], trainer: lightning.Trainer | None) -> DataLoader[Any]:
    """A loader of recorded pairs, one by one, of which each process takes its share, without repeats.

    Args:
        pairs: with a length.
        trainer: whose processes share the pairs; None or fewer pairs than processes: each takes all.
    """
    count = len(pairs)  # type: ignore[arg-type]  # Dataset promises no length
    rank, ranks = (trainer.global_rank, trainer.world_size) if trainer is not None else (0, 1)
    mine = range(rank, count, ranks) if count >= ranks else range(count)
    return DataLoader(pairs, batch_size=None, sampler=mine)
