"""How clips are grouped for workers."""

from __future__ import annotations

import random
from itertools import pairwise

from gense.scale.batches import LONG, batches, expected_seconds, windows
from gense.scale.items import Item


def clip(number: int, seconds: float, suffix: str = "wav") -> Item:
    return Item(f"{number}.{suffix}", f"/in/{number}.{suffix}", size=round(seconds * 32000))


def test_every_clip_is_in_one_batch_and_the_order_of_the_listing_does_not_matter() -> None:
    rng = random.Random(1)
    items = [clip(number, rng.uniform(0.1, 40)) for number in range(300)]
    plan = batches(items, 60.0, 2)
    assert sorted(item.key for batch in plan for item in batch.items) == sorted(item.key for item in items)
    assert len({batch.name for batch in plan}) == len(plan)
    shuffled = rng.sample(items, len(items))
    assert batches(shuffled, 60.0, 2) == plan


def test_clips_of_a_batch_are_near_in_length_and_the_longest_come_first() -> None:
    rng = random.Random(2)
    plan = batches([clip(number, rng.uniform(0.1, 40)) for number in range(300)], 60.0, 2)
    lengths = [[expected_seconds(item) for item in batch.items] for batch in plan]
    assert all(min(longer) >= max(shorter) for longer, shorter in pairwise(lengths))
    assert all(sum(batch) <= 60.0 for batch in lengths)


def test_few_clips_are_shared_among_all_workers() -> None:
    assert len(batches([clip(number, 5.0) for number in range(24)], 1000.0, 4)) == 24
    assert len(batches([clip(number, 5.0) for number in range(240)], 1000.0, 1)) == 6


def test_short_clips_do_not_make_endless_batches() -> None:
    assert max(len(batch.items) for batch in batches([clip(n, 0.01) for n in range(5000)], 1e6, 1)) == 64


def test_a_long_clip_has_a_batch_of_its_own() -> None:
    items = [clip(0, LONG + 1), clip(1, LONG + 1), clip(2, 5.0), clip(3, 5.0)]
    plan = batches(items, 1e9, 1, first=7)
    assert [(batch.name, [item.key for item in batch.items], batch.long) for batch in plan[:2]] == [
        ("00000007", ["0.wav"], True), ("00000008", ["1.wav"], True),
    ]  # fmt: skip
    assert not any(batch.long for batch in plan[2:])


def test_a_compressed_clip_counts_as_longer_than_a_plain_one_of_its_size() -> None:
    assert expected_seconds(clip(0, 1.0, "opus")) > expected_seconds(clip(0, 1.0, "mp3")) > 1.0
    assert expected_seconds(Item("x.flac", "/s.tar", size=20000, shard="s.tar", member="x.FLAC", offset=0)) == 1.0


def test_rows_of_a_table_stay_in_their_order() -> None:
    rows = [Item(f"{n}.wav", "/in/t.parquet", size=100 * (n % 7), row=n, column="audio") for n in range(50)]
    plan = batches(reversed(rows), 1e9, 1)
    assert [item.row for batch in plan for item in batch.items] == list(range(50))


def test_nothing_to_do_needs_no_batch() -> None:
    assert batches([], 60.0, 2) == []
    assert list(windows([], 3)) == []
    assert list(windows(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]  # type: ignore[arg-type]


