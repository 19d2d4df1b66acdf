"""Sources of noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gense.samplers import by_frame, gaussian, per_item, replay
from gense.samplers.noise import BLOCK

SOURCES = {
    "gaussian": lambda seed: gaussian(seed),
    "per_item": lambda seed: per_item([seed, seed + 1]),
    "by_frame": lambda seed: by_frame(seed, [0, 10_000]),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.complex64, torch.complex128])
def test_noise_is_unit_and_shaped_like_its_argument(source, dtype):
    like = torch.zeros(2, 3, 40, 500, dtype=dtype)
    z = source(3)(like)
    assert (z.shape, z.dtype, z.device) == (like.shape, like.dtype, like.device)
    z = z.to(torch.complex128 if dtype.is_complex else torch.float64)
    parts = torch.view_as_real(z).unbind(-1) if dtype.is_complex else (z,)
    count = z.numel()
    for part in parts:
        variance = 1 / len(parts)
        assert abs(part.mean()) < 5 * math.sqrt(variance / count)
        assert part.var().item() == pytest.approx(variance, abs=5 * variance * math.sqrt(2 / count))
        assert (part**4).mean().item() == pytest.approx(3 * variance**2, rel=0.05)
    if dtype.is_complex:
        assert abs((parts[0] * parts[1]).mean()) < 5 * 0.5 / math.sqrt(count)


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_a_seed_fixes_every_draw_and_draws_are_independent(source):
    like = torch.zeros(2, 5, 400)
    first, again, other = source(3), source(3), source(30)
    draws = [first(like) for _ in range(3)]
    assert all(torch.equal(draw, again(like)) for draw in draws)
    draws += [other(like), draws[0].flip(0)]
    correlations = torch.corrcoef(torch.stack([draw.flatten() for draw in draws]))
    assert (correlations - torch.eye(len(draws))).abs().max() < 0.1


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_the_global_generator_is_left_alone(source):
    before = torch.get_rng_state()
    source(3)(torch.zeros(2, 4, 8))
    assert torch.equal(before, torch.get_rng_state())


def test_gaussian_continues_the_callers_generator():
    generator = torch.Generator().manual_seed(5)
    source, like = gaussian(generator), torch.zeros(2, 3)
    expected = torch.Generator().manual_seed(5)
    for _ in range(2):
        assert torch.equal(source(like), torch.randn(2, 3, generator=expected))


def test_per_item_depends_on_its_own_seed_alone():
    together, alone, like = per_item([7, 8, 9]), per_item([8]), torch.zeros(3, 4, 50)
    for _ in range(3):
        assert torch.equal(together(like)[1:2], alone(like[:1]))


def test_per_item_needs_a_seed_for_each_item():
    with pytest.raises(ValueError, match="2 seeds for a batch of 3"):
        per_item([1, 2])(torch.zeros(3, 4))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_by_frame_overlapping_pieces_draw_the_same(dtype):
    whole, pieces = by_frame(11), by_frame(11, [0, 5, BLOCK - 1, 3 * BLOCK, 5])
    length = BLOCK + 7
    for _ in range(3):
        long = whole(torch.zeros(1, 2, 3, 5 * BLOCK, dtype=dtype))[0]
        short = pieces(torch.zeros(5, 2, 3, length, dtype=dtype))
        for item, start in zip(short, [0, 5, BLOCK - 1, 3 * BLOCK, 5], strict=True):
            assert torch.equal(item, long[..., start : start + length])


def test_by_frame_does_not_depend_on_batch_or_length():
    like = torch.zeros(1, 4, 90)
    reference = by_frame(2, [100])(like)[0]
    batch = by_frame(2, [3, 100, 2**40])(torch.zeros(3, 4, 90))
    assert torch.equal(batch[1], reference)
    assert torch.equal(by_frame(2, [100])(like[..., :13])[0], reference[..., :13])
    shared = by_frame(2, [100])(torch.zeros(3, 4, 90))
    assert all(torch.equal(item, reference) for item in shared)


def test_by_frame_counts_draws_not_frames():
    short, long = by_frame(2), by_frame(2)
    short(torch.zeros(1, 4, 3)), long(torch.zeros(1, 4, 500))
    assert torch.equal(short(torch.zeros(1, 4, 70)), long(torch.zeros(1, 4, 70)))


def test_by_frame_frames_are_independent_within_and_across_blocks():
    frames = by_frame(1)(torch.zeros(1, 4000, 3 * BLOCK))[0].T
    correlations = torch.corrcoef(frames) - torch.eye(3 * BLOCK)
    assert correlations.abs().max() < 6 / math.sqrt(4000)


def test_by_frame_blocks_of_different_draws_and_seeds_are_independent():
    like = torch.zeros(1, 20, 3 * BLOCK)
    blocks = []
    for seed in range(4):
        source = by_frame(seed)
        blocks += [block.flatten() for _ in range(3) for block in source(like)[0].split(BLOCK, dim=-1)]
    correlations = torch.corrcoef(torch.stack(blocks)) - torch.eye(len(blocks))
    assert correlations.abs().max() < 6 / math.sqrt(20 * BLOCK)


def test_by_frame_works_without_feature_axes():
    assert torch.equal(by_frame(1)(torch.zeros(2, 30))[0], by_frame(1)(torch.zeros(1, 100))[0, :30])


@pytest.mark.parametrize(
    ("starts", "shape", "complaint"),
    [([0, 1], (3, 4, 5), "2 starts for a batch of 3"), ([0], (5,), "need \\(B")],
)
def test_by_frame_shapes(starts, shape, complaint):
    with pytest.raises(ValueError, match=complaint):
        by_frame(1, starts)(torch.zeros(shape))


@pytest.mark.parametrize("starts", [[], [-1], [3, -2]])
def test_by_frame_starts(starts):
    with pytest.raises(ValueError, match="starts"):
        by_frame(1, starts)


@pytest.mark.parametrize("make", [gaussian, by_frame, lambda seed: per_item([seed])], ids=["gaussian", "frame", "item"])
def test_seeds_are_checked(make):
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=f"seed={seed}"):
            make(seed)
    with pytest.raises(TypeError):
        make(1.5)
    like = torch.zeros(1, 4)
    assert torch.equal(make(np.int64(5))(like), make(5)(like))


def test_replay_returns_the_recording_in_order_and_dtype():
    recorded = torch.randn(2, 3, 4, dtype=torch.complex128)
    source, like = replay(recorded), torch.zeros(3, 4, dtype=torch.complex64)
    for draw in recorded:
        assert torch.equal(source(like), draw.to(torch.complex64))
    with pytest.raises(ValueError, match="draw 3 asked for, but only 2"):
        source(like)


@pytest.mark.parametrize("wrong", [torch.zeros(3, 5), torch.zeros(3, 4, dtype=torch.complex64)])
def test_replay_refuses_another_shape_or_kind(wrong):
    with pytest.raises(ValueError, match="draw 1 was recorded"):
        replay([wrong])(torch.zeros(3, 4))
