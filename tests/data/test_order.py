"""Which items the steps of a run see, over epochs and processes."""

from __future__ import annotations

import itertools

import pytest

from gense.data.order import Place, Placed, RunOrder


def reversed_in_odd_epochs(epoch: int) -> list[list[int]]:
    groups = [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    return groups[::-1] if epoch % 2 else groups


def run(epochs: int, **processes: int) -> list[list[Place]]:
    """What a run without interruption sees: the loader is iterated anew for each epoch."""
    seen: list[list[Place]] = []
    order = RunOrder(reversed_in_odd_epochs, lambda: len(seen), **processes)
    for _ in range(epochs):
        seen += list(order)
    return seen


def test_every_epoch_has_every_item_once_in_the_order_of_that_epoch() -> None:
    seen = run(2)
    assert seen[:5] == [[(0, i) for i in group] for group in reversed_in_odd_epochs(0)]
    assert seen[5:] == [[(1, i) for i in group] for group in reversed_in_odd_epochs(1)]


@pytest.mark.parametrize("done", range(10))
def test_a_run_goes_on_wherever_it_was_cut_off(done) -> None:
    order = RunOrder(reversed_in_odd_epochs, lambda: done)
    rest = 5 - done % 5  # the loop takes so many before it iterates again
    assert list(itertools.islice(order, rest)) == run(2)[done : done + rest]
    assert len(list(order)) == len(order) == 5


def test_processes_see_different_items_and_together_those_of_larger_batches() -> None:
    first, second = run(1, rank=0, ranks=2), run(1, rank=1, ranks=2)
    assert [a + b for a, b in zip(first, second, strict=True)] == [
        [(0, 0), (0, 1), (0, 2), (0, 3)], [(0, 4), (0, 5), (0, 6), (0, 7)]  # the fifth has no partner
    ]  # fmt: skip


def test_too_small_an_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="an epoch has 5 batches for 6 processes"):
        RunOrder(reversed_in_odd_epochs, lambda: 0, ranks=6)


def test_items_are_made_for_the_epoch_that_is_asked_for() -> None:
    class Items:
        epoch = 0

        def __getitem__(self, index: int) -> tuple[int, int]:
            return self.epoch, 10 * index

    placed = Placed(Items())
    assert [placed[3, 4], placed[0, 1]] == [(3, 40), (0, 10)]
