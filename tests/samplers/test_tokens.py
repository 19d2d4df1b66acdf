"""Token samplers against known distributions, orders and counts."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gense.samplers import autoregressive, by_frame, gaussian, greedy, maskgit, multinomial, per_item, replay, schedules

CHAIN = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.7, 0.0, 0.2, 0.1], [0.25, 0.25, 0.25, 0.25], [0.05, 0.9, 0.05, 0.0]])
SKEWED = torch.tensor([0.05, 0.3, 0.0, 0.4, 0.1, 0.15])


class Chain:
    """A Markov chain as a network: the logits after a token are those of its row. Notes what it was given."""

    def __init__(self, rows: Tensor = CHAIN):
        self.rows, self.given, self.memories = rows.log(), [], []

    def __call__(self, tokens: Tensor, memory):
        self.given.append(tokens)
        self.memories.append(memory)
        return self.rows[tokens[..., -1]], len(self.given)


def chi_square(counts: Tensor, expected: Tensor) -> float:
    """Pearson's statistic over the outcomes that can happen; the others must not have happened."""
    can = expected > 0
    assert counts[~can].sum() == 0
    return float(((counts[can] - expected[can]).square() / expected[can]).sum())


def spread(rule, probabilities: Tensor, count: int = 20000) -> Tensor:
    """Frequencies of a rule's choices over evenly spaced uniform numbers: exact to 1 / count, without randomness."""
    uniform = (torch.arange(count) + 0.5) / count
    ids = rule(probabilities.log().expand(count, -1), uniform)
    return torch.bincount(ids, minlength=len(probabilities)) / count


@pytest.mark.parametrize("temperature", [1.0, 0.5, 3.0])
def test_a_markov_chain_keeps_its_probabilities(temperature: float) -> None:
    items, steps = 4000, 6
    prefix = torch.arange(items)[:, None] % 4
    out = autoregressive(Chain(), prefix, steps, noise=gaussian(1), choose=multinomial(temperature=temperature))
    assert out.shape == (items, steps)
    assert out.dtype == torch.int64
    path = torch.cat([prefix, out], dim=1)
    law = CHAIN ** (1 / temperature)
    law = law / law.sum(1, keepdim=True)
    counts = torch.zeros(4, 4)
    for before, after in pairwise(path.unbind(1)):
        counts += torch.bincount(4 * before + after, minlength=16).reshape(4, 4)
    # 16 - 2 outcomes in 4 rows: 10 degrees of freedom, exceeded by 29.6 in one of a thousand seeds
    assert chi_square(counts, law * counts.sum(1, keepdim=True)) < 29.6


def test_the_uniform_numbers_invert_the_distribution() -> None:
    assert (spread(multinomial(), SKEWED) - SKEWED).abs().max() < 1e-4
    law = SKEWED.double() ** 2
    assert (spread(multinomial(temperature=0.5), SKEWED.double()) - law / law.sum()).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("options", "stays"),
    [
        ({"top_k": 1}, {3}),
        ({"top_k": 3}, {1, 3, 5}),
        ({"top_k": 60}, {0, 1, 3, 4, 5}),
        ({"top_p": 1e-6}, {3}),
        ({"top_p": 0.39}, {3}),
        ({"top_p": 0.41}, {1, 3}),
        ({"top_p": 0.71}, {1, 3, 5}),
        ({"top_k": 2, "top_p": 0.5}, {3}),  # of what top_k leaves, token 3 holds 0.4 / 0.7
        ({"temperature": 1e-3}, {3}),
    ],
)
def test_cuts_keep_the_likely_tokens_and_their_ratios(options: dict, stays: set) -> None:
    found = spread(multinomial(**options), SKEWED)
    kept = torch.zeros(6)
    kept[list(stays)] = SKEWED[list(stays)]
    assert (found - kept / kept.sum()).abs().max() < 1e-4


def test_top_k_keeps_k_of_equals() -> None:
    assert (spread(multinomial(top_k=2), torch.full((5,), 0.2)) > 0).sum() == 2


@pytest.mark.parametrize("z", [-40.0, -9.0, 9.0, 40.0])
def test_extreme_draws_never_give_an_impossible_token(z: float) -> None:
    rows = torch.tensor([[0.0, 0.5, 0.5, 0.0]]).expand(4, 4)
    draws = [torch.full((1, 3), z, dtype=torch.float64)]
    out = autoregressive(Chain(rows), torch.zeros(1, 1, dtype=torch.int64), 3, noise=replay(draws))
    assert out.tolist() == [[1 if z < 0 else 2] * 3]


def test_greedy_takes_the_likeliest_and_needs_no_noise() -> None:
    prefix = torch.tensor([[2, 0], [0, 1]])
    out = autoregressive(Chain(), prefix, 5, choose=greedy())
    assert out.tolist() == [[3, 1, 0, 3, 1], [0, 3, 1, 0, 3]]
    assert torch.equal(out, autoregressive(Chain(), prefix, 5, choose=greedy(), noise=gaussian(3)))


def test_the_network_sees_the_prefix_once_and_then_every_token_once() -> None:
    chain, prefix = Chain(), torch.tensor([[2, 0, 1]])
    out = autoregressive(chain, prefix, 4, noise=gaussian(0))
    assert torch.equal(chain.given[0], prefix)
    assert torch.equal(torch.cat(chain.given[1:], -1), out[:, :-1])
    assert chain.memories == [None, 1, 2, 3]


def test_streams_are_drawn_side_by_side() -> None:
    prefix = torch.zeros(2, 3, 1, dtype=torch.int64)
    out = autoregressive(Chain(), prefix, 5, noise=per_item([4, 5]))
    assert out.shape == (2, 3, 5)
    assert len({tuple(row) for row in out.reshape(-1, 5).tolist()}) > 3


def test_an_item_depends_on_its_seed_and_not_on_its_neighbours() -> None:
    prefix = torch.tensor([[0], [1], [2]])
    together = autoregressive(Chain(), prefix, 12, noise=per_item([7, 8, 9]))
    for i in range(3):
        assert torch.equal(together[i : i + 1], autoregressive(Chain(), prefix[i : i + 1], 12, noise=per_item([7 + i])))
    shorter = autoregressive(Chain(), prefix, 5, noise=by_frame(3))
    assert torch.equal(shorter, autoregressive(Chain(), prefix, 12, noise=by_frame(3))[:, :5])


def test_overlapping_pieces_of_independent_tokens_agree() -> None:
    """With noise by absolute frame, and a network that forgets, pieces equal the whole."""
    forgets = SKEWED.expand(6, 6)
    prefix = torch.zeros(3, 1, dtype=torch.int64)
    whole = autoregressive(Chain(forgets), prefix[:1], 90, noise=by_frame(2))
    pieces = autoregressive(Chain(forgets), prefix, 40, noise=by_frame(2, [0, 13, 50]))
    for piece, start in zip(pieces, (0, 13, 50), strict=True):
        assert torch.equal(piece, whole[0, start : start + 40])


def counting(tokens: Tensor, memory: None) -> tuple[Tensor, None]:
    """Writes the next higher number, certainly."""
    return torch.nn.functional.one_hot(tokens[..., -1] + 1, 10).float().log(), None


def test_each_item_stops_for_itself() -> None:
    out = autoregressive(counting, torch.tensor([[5], [0], [7]]), 9, choose=greedy(), stop=8)
    assert out.tolist() == [[6, 7, *[8] * 6], [1, 2, 3, 4, 5, 6, 7, 8], [8] * 8]  # the slowest ends after 8 of 9 steps
    alone = autoregressive(counting, torch.tensor([[5]]), 9, choose=greedy(), stop=8)
    assert alone.tolist() == [[6, 7, 8]]
    assert autoregressive(counting, torch.tensor([[0]]), 3, choose=greedy(), stop=8).tolist() == [[1, 2, 3]]


def test_an_item_stops_when_all_its_streams_do_at_once() -> None:
    prefix = torch.tensor([[[5], [6]], [[5], [5]]])
    out = autoregressive(counting, prefix, 2, choose=greedy(), stop=7)
    assert out[1].tolist() == [[6, 7], [6, 7]]
    assert out[0].tolist() == [[6, 7], [7, 8]]


def test_the_callback_sees_each_token_and_its_logits() -> None:
    seen = []
    out = autoregressive(Chain(), torch.tensor([[0], [1]]), 4, noise=gaussian(0), callback=seen.append)
    assert [step.index for step in seen] == [0, 1, 2, 3]
    assert torch.equal(torch.stack([step.tokens for step in seen], -1), out)
    assert torch.equal(seen[0].logits, CHAIN.log()[:2])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"steps": 0}, ValueError, "steps=0"),
        ({"prefix": torch.zeros(2, 0, dtype=torch.int64)}, ValueError, "at least one token"),
        ({"prefix": torch.zeros(2, dtype=torch.int64)}, ValueError, "need"),
        ({"prefix": torch.zeros(2, 1)}, TypeError, "float32"),
        ({}, ValueError, "pass noise="),
    ],
)
def test_impossible_calls_are_refused(options: dict, error: type, match: str) -> None:
    call = {"prefix": torch.zeros(2, 1, dtype=torch.int64), "steps": 2, **options}
    with pytest.raises(error, match=match):
        autoregressive(Chain(), call["prefix"], call["steps"])


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0.0}, {"temperature": math.inf}, {"top_k": 0}, {"top_k": 2.0}, {"top_p": 0.0}, {"top_p": 1.5}],
)
def test_impossible_cuts_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="top_p="):
        multinomial(**options)


MASK = 6


def gaps(*shape: int) -> Tensor:
    return torch.full(shape, MASK)


def alike(tokens: Tensor) -> Tensor:
    """The same logits everywhere."""
    return SKEWED.log().expand(*tokens.shape, -1)


@pytest.mark.parametrize("steps", [1, 2, 5, 40])
def test_maskgit_fills_every_gap_as_the_schedule_says_and_leaves_the_rest(steps: int) -> None:
    tokens, seen = gaps(2, 2, 13), []
    tokens[0, :, 4:8] = torch.arange(4)
    before = tokens.clone()
    shares = schedules.sway(steps)
    out = maskgit(alike, tokens, shares, mask=MASK, noise=gaussian(0), callback=seen.append)
    assert torch.equal(tokens, before)
    assert ((out >= 0) & (out < MASK)).all()
    assert torch.equal(out[0, :, 4:8], before[0, :, 4:8])
    assert len(seen) == steps
    for index, step in enumerate(seen):
        share = math.cos(math.pi / 2 * (index + 1) / steps) if index + 1 < steps else 0.0
        left = (step.tokens == MASK).flatten(1).sum(1).tolist()
        assert left == [math.floor(18 * share), math.floor(26 * share)]
    for earlier, later in pairwise([before, *(step.tokens for step in seen)]):
        assert torch.equal(later[earlier != MASK], earlier[earlier != MASK])


def test_maskgit_fills_the_surest_first() -> None:
    sure = torch.tensor([0.3, 0.9, 0.55, 0.8, 0.6])
    seen: list[list[int]] = []

    def predict(tokens: Tensor) -> Tensor:
        seen.append((tokens[0] != MASK).nonzero().flatten().tolist())
        return torch.stack([1 - sure, sure], -1).log()[None]

    out = maskgit(predict, gaps(1, 5), schedules.uniform(5), mask=MASK, choose=greedy())
    assert out.tolist() == [[0, 1, 1, 1, 1]]
    assert seen == [[], [1], [1, 3], [0, 1, 3], [0, 1, 3, 4]]  # the first is sure, 0.7, of token 0


@pytest.mark.parametrize("steps", [1, 4])
def test_maskgit_keeps_the_probabilities_of_independent_tokens_if_their_order_is_random(steps: int) -> None:
    """The order by confidence prefers likely tokens; with much randomness in it, each token is a fair draw."""
    shares = schedules.uniform(steps)
    out = maskgit(alike, gaps(300, 40), shares, mask=MASK, noise=gaussian(2), randomness=1e9 if steps > 1 else 0.0)
    counts = torch.bincount(out.flatten(), minlength=6).float()
    assert chi_square(counts, SKEWED * out.numel()) < 18.5  # 4 degrees of freedom, one of a thousand seeds


def test_maskgit_an_item_does_not_depend_on_its_neighbours() -> None:
    shares = schedules.sway(4)
    together = maskgit(alike, gaps(3, 2, 9), shares, mask=MASK, noise=per_item([1, 2, 3]))
    for i in range(3):
        alone = maskgit(alike, gaps(1, 2, 9), shares, mask=MASK, noise=per_item([1 + i]))
        assert torch.equal(together[i : i + 1], alone)


def test_maskgit_refuses_what_cannot_be() -> None:
    shares = schedules.uniform(3)
    with pytest.raises(ValueError, match="need 1 to 0"):
        maskgit(alike, gaps(1, 4), shares.flip(0), mask=MASK, noise=gaussian(0))
    with pytest.raises(ValueError, match="randomness"):
        maskgit(alike, gaps(1, 4), shares, mask=MASK, noise=gaussian(0), randomness=-1.0)
    with pytest.raises(TypeError, match="float32"):
        maskgit(alike, gaps(1, 4).float(), shares, mask=MASK, noise=gaussian(0))
    with pytest.raises(ValueError, match="pass noise="):
        maskgit(alike, gaps(1, 4), shares, mask=MASK)
