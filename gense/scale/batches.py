"""Clips grouped for workers: near in length, the longest first, small enough that all workers end together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from gense.scale.items import Item

LONG = 1800.0
"""Seconds from which a clip is read, enhanced and written as a stream, in a batch of its own."""
_MOST = 64  # clips of a batch: what is done again if its worker dies
_SHARES = 6  # batches for each worker at least, as long as there are clips: the last ones end at about the same time
_BYTES_PER_SECOND = {".flac": 20_000, ".ogg": 10_000, ".opus": 6_000, ".mp3": 12_000}
_PLAIN = 32_000  # 16 bits at 16 kHz


@dataclass(frozen=True)
class Batch:
    """What a worker takes at once.

    Attributes:
        name: unique in a job, fit for a file name.
        items: near in length.
        long: whether they are worked on as streams.
    """

    name: str
    items: tuple[Item, ...]
    long: bool = False


def expected_seconds(item: Item) -> float:
    """About how long a clip is, from its size and format: nothing is opened for it.

    Plain samples count as 16 bits at 16 kHz on one channel, so a clip of more of them counts as longer than it is,
    in step with the memory that it takes.
    """
    name = item.member or item.uri if item.row is None else item.key
    return item.size / _BYTES_PER_SECOND.get(f".{name.rpartition('.')[2].lower()}", _PLAIN)


def windows(items: Iterable[Item], most: int) -> Iterator[list[Item]]:
    """Cut a listing of any length into lists of at most `most`, so that not all of it is in memory."""
    rest = iter(items)
    while window := list(islice(rest, most)):
        yield window


def batches(items: Iterable[Item], batch_seconds: float, workers: int, first: int = 0) -> list[Batch]:
    """Group clips by length; rows of Parquet files by where they lie, as going from file to file would cost more.

    Args:
        items: in any order.
        batch_seconds: of audio in a batch, about; less where there is not enough for all workers.
        workers: among how many they are shared.
        first: number of the first batch; names follow from it.
    """
    order = sorted(items, key=_order)
    whole = sum(expected_seconds(item) for item in order)
    most = min(batch_seconds, whole / (workers * _SHARES))
    groups: list[list[Item]] = []
    held = 0.0
    for item in order:
        seconds = expected_seconds(item)
        full = not groups or held + seconds > most or len(groups[-1]) >= _MOST
        if full or max(seconds, expected_seconds(groups[-1][0])) >= LONG:
            groups.append([])
            held = 0.0
        groups[-1].append(item)
        held += seconds
    return [
        Batch(f"{first + number:08d}", tuple(group), expected_seconds(group[0]) >= LONG)
        for number, group in enumerate(groups)
    ]


def _order(item: Item) -> tuple[bool, str, float, str]:
    if item.row is not None:
        return False, item.uri, item.row, item.key
    return True, "", -expected_seconds(item), item.key
