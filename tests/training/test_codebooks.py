"""The use of codes, measured; codes placed among the vectors, and moved where nothing takes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning", reason="needs gense[train]")

from gense.representations.quantiser import ResidualQuantiser
from gense.training.codebooks import CodebookGuard, count, usage


def vectors(seed: int, items: int = 4, frames: int = 40) -> Tensor:
    return torch.randn(items, 6, frames, generator=torch.Generator().manual_seed(seed))


def test_use_is_what_its_definition_says() -> None:
    assert usage(torch.tensor([[5, 5, 5, 5]])) == pytest.approx((1.0, 4.0))
    assert usage(torch.tensor([[7, 0, 0, 0]])) == pytest.approx((0.25, 1.0))
    # exp(H) of (1/2, 1/4, 1/4) is 2^1.5; the mean with a codebook of which one code is used
    assert usage(torch.tensor([[4, 2, 2, 0], [0, 0, 1, 0]])) == pytest.approx((0.5, (2**1.5 + 1) / 2))
    with pytest.raises(ValueError, match="all 0"):
        usage(torch.zeros(1, 4, dtype=torch.int64))


def test_codes_are_counted_by_codebook() -> None:
    codes = torch.tensor([[[0, 0, 2], [1, 1, 1]], [[3, 0, 0], [1, 2, 2]]])
    assert count(codes, 4).tolist() == [[4, 0, 1, 1], [0, 4, 2, 0]]


def test_codes_are_placed_after_the_plain_batches_and_all_in_use() -> None:
    quantiser, guard = ResidualQuantiser(6, levels=2, groups=1, codes=16), CodebookGuard(plain_batches=3, window=5)
    before = quantiser.codebooks.detach().clone()
    assert not guard.placed
    for batch in range(3):
        assert torch.equal(quantiser.codebooks, before)
        assert guard.after(quantiser, vectors(batch), batch=batch) is None
    assert guard.placed
    codes = quantiser.encode(torch.cat([vectors(batch) for batch in range(3)]))
    assert usage(count(codes, 16)).used == 1.0


def test_placing_waits_until_there_are_vectors_enough_and_keeps_the_last_ones() -> None:
    quantiser, guard = ResidualQuantiser(6, levels=1, groups=1, codes=16), CodebookGuard(plain_batches=1, window=5)
    for batch in range(7):  # 8 vectors each; 4 for each of the 16 codes are needed
        guard.after(quantiser, vectors(batch, 1, 8), batch=batch)
        assert not guard.placed
    guard.after(quantiser, vectors(7, 1, 8), batch=7)
    assert guard.placed
    guard = CodebookGuard(plain_batches=50, window=5)
    for batch in range(20):
        guard.after(quantiser, batch + 0 * vectors(0), batch=batch)
    kept = torch.cat(guard.seen)
    assert 256 <= len(kept) < 256 + 160
    assert kept.amax() == 19
    assert kept.amin() == 18


def test_codes_that_nothing_takes_come_into_use_and_those_in_use_stay() -> None:
    torch.manual_seed(0)
    quantiser = ResidualQuantiser(6, levels=2, groups=2, codes=16)
    guard = CodebookGuard(plain_batches=0, window=2, memory=None)
    quantiser.fit(vectors(0))
    with torch.no_grad():
        quantiser.codebooks[0, :, 4:] = 100.0
    before = quantiser.codebooks.detach().clone()
    assert guard.after(quantiser, vectors(1), batch=0) is None
    first = guard.after(quantiser, vectors(1), batch=1)
    assert first is not None
    assert first.used < 0.7
    assert torch.equal(quantiser.codebooks[0, :, :4], before[0, :, :4])
    assert (quantiser.codebooks[0] < 50).all()
    guard.after(quantiser, vectors(1), batch=2)
    second = guard.after(quantiser, vectors(1), batch=3)
    assert second is not None
    assert second.used > 0.9
    assert second.perplexity > first.perplexity


@pytest.mark.parametrize(("share", "move"), [(0.02, False), (0.0, True)])
def test_nothing_moves_where_it_must_not(share: float, move: bool) -> None:
    guard = CodebookGuard(plain_batches=0, window=1, memory=None, dead_share=share)
    quantiser = ResidualQuantiser(6, levels=1, groups=1, codes=64)
    before = quantiser.codebooks.detach().clone()
    ended = guard.after(quantiser, vectors(1), batch=0, move=move)
    assert ended is not None
    assert ended.used < 1
    assert torch.equal(quantiser.codebooks, before)


def test_codes_follow_the_running_mean_of_what_takes_them() -> None:
    """By hand for one code; in the long run it is the mean of its vectors, and one that nothing takes stays."""
    quantiser, guard = ResidualQuantiser(1, levels=1, groups=1, codes=2), CodebookGuard(plain_batches=0, memory=0.9)
    with torch.no_grad():
        quantiser.codebooks.copy_(torch.tensor([0.0, 50.0])[None, None, :, None])
    z = torch.tensor([[[1.0, 2.0, 6.0]]])
    guard.after(quantiser, z, batch=0)
    weight = 0.9 + 0.1 * 3
    assert quantiser.codebooks[0, 0, 0].item() == pytest.approx((0.9 * 0 + 0.1 * 9) / weight)
    guard.after(quantiser, z, batch=1)
    expected = (0.9 * 0.1 * 9 + 0.1 * 9) / (0.9 * weight + 0.1 * 3)
    assert quantiser.codebooks[0, 0, 0].item() == pytest.approx(expected)
    for batch in range(2, 45):
        guard.after(quantiser, z, batch=batch)
    assert quantiser.codebooks[0, 0].flatten().tolist() == pytest.approx([3.0, 50.0], rel=1e-2)


def test_what_takes_a_code_is_counted_and_summed_level_by_level_and_group_by_group() -> None:
    quantiser, z = ResidualQuantiser(6, levels=2, groups=2, codes=8), vectors(0)
    quantiser.fit(z)
    counts, sums = quantiser.taken(z)
    assert torch.equal(counts, count(quantiser.encode(z), 8))
    totals = [torch.cat(list(sums[k : k + 2].sum(dim=1))) for k in (0, 2)]
    torch.testing.assert_close(totals[0], z.sum(dim=(0, 2)))
    # k-means has converged: codes are the means of what takes them, and what is left sums to nothing
    torch.testing.assert_close(totals[1], torch.zeros(6), atol=0.05 * float(z.abs().sum()) / 6, rtol=0)


def test_a_rare_code_moves_where_a_share_is_asked_for() -> None:
    torch.manual_seed(0)
    z = torch.zeros(1, 6, 100)
    z[..., :1] = 10.0  # one vector in a hundred takes the other code, a fiftieth of an even use
    for share, moves in ((0.01, False), (0.03, True)):
        quantiser = ResidualQuantiser(6, levels=1, groups=1, codes=2)
        with torch.no_grad():
            quantiser.codebooks.copy_(torch.tensor([0.0, 9.0])[None, None, :, None].expand(1, 1, 2, 6))
        CodebookGuard(plain_batches=0, window=1, memory=None, dead_share=share).after(quantiser, z, batch=0)
        assert bool((quantiser.codebooks[0, 0, 1] != 9.0).all()) == moves


@pytest.mark.parametrize("wrong", [{"plain_batches": -1}, {"window": 0}, {"dead_share": 1.0}, {"memory": 1.0}])
def test_impossible_guards_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="need the first >= 0, memory between"):
        CodebookGuard(**wrong)


@pytest.mark.parametrize("cut", [1, 4, 8], ids=["before codes are placed", "within a window", "in a later one"])
def test_a_guard_goes_on_from_its_state(cut) -> None:
    whole, part = (ResidualQuantiser(6, levels=2, groups=1, codes=16) for _ in range(2))
    part.load_state_dict(whole.state_dict())
    first, second = (CodebookGuard(plain_batches=3, window=3, dead_share=0.5) for _ in range(2))
    for guard, quantiser in ((first, whole), (second, part)):
        torch.manual_seed(0)
        for batch in range(12):
            if guard is second and batch == cut:
                guard = CodebookGuard(plain_batches=3, window=3, dead_share=0.5)
                guard.load_state_dict(second.state_dict())
            torch.manual_seed(batch)
            guard.after(quantiser, vectors(batch), batch=batch)
    assert first.placed
    assert torch.equal(whole.codebooks, part.codebooks)
