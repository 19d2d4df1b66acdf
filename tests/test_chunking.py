"""Cutting, cross-fading, and that neither shows in the result."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gense import Enhancer, samplers
from gense.chunking import Chunking
from tests.tiny import passthrough, pointwise

RATE, HOP = 16000, 128


def plans() -> list[tuple[int, Chunking, int]]:
    """(samples, chunking, hop): chosen edges, and many more at random."""
    found = [
        (1, Chunking(1.0, 0.25), HOP), (RATE, Chunking(1.0, 0.25), HOP), (RATE + 1, Chunking(1.0, 0.25), HOP),
        (RATE + HOP, Chunking(1.0, 0.49), HOP), (10 * RATE + 17, Chunking(0.02, 0.009), HOP),
        (3 * HOP, Chunking(0.001, 0.0004), HOP), (50000, Chunking(5.4 * HOP / RATE, 2.69 * HOP / RATE), HOP),
    ]  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for _ in range(150):
        a, b, c, d = torch.rand(4, generator=generator).tolist()
        seconds = 0.02 + 2 * a**2
        hop = 1 + int(400 * d)
        found.append((1 + int(6 * RATE * c), Chunking(seconds, seconds * 0.499 * max(b, 0.01)), hop))
    return found


@pytest.mark.parametrize("batch", range(8))
def test_the_weights_of_a_plan_sum_to_one_at_every_sample(batch: int) -> None:
    for samples, chunking, hop in plans()[batch::8]:
        plan = chunking.plan(samples, RATE, hop)
        total = torch.zeros(max(start + plan.length for start in plan.starts), dtype=torch.float64)
        for index, start in enumerate(plan.starts):
            weight = plan.weight(index)
            assert weight.shape == (plan.length,)
            assert weight.min() >= 0
            assert weight.max() <= 1
            total[start : start + plan.length] += weight
        torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-6)
        assert plan.starts[0] == 0
        assert samples <= len(total) < samples + hop
        assert all(start % hop == 0 for start in plan.starts)


def test_an_input_of_up_to_one_chunk_is_not_windowed_or_padded() -> None:
    for samples in (1, 100, RATE - 1, RATE):
        plan = Chunking(1.0, 0.25).plan(samples, RATE, HOP)
        assert plan.starts == (0,)
        assert plan.length == samples
        assert torch.equal(plan.weight(0), torch.ones(samples))


def test_the_last_chunk_is_as_long_as_the_others_and_ends_with_the_input() -> None:
    plan = Chunking(1.0, 0.25).plan(3 * RATE + 1000, RATE, HOP)
    assert plan.starts == (0, 12032, 24064, 33024)
    assert plan.starts[-1] + plan.length == 49024  # the input's 49000, on the frame grid
    # It shares more than a cross-fade with the one before; the samples next to either one's edge count nothing
    spare = (plan.starts[-2] + plan.length - plan.starts[-1] - plan.overlap) // 2
    assert spare == 1536
    assert not plan.weight(3)[:spare].any()
    assert not plan.weight(2)[plan.length - spare :].any()
    wav = torch.arange(3.0 * RATE + 1000)
    last = plan.cut(wav, plan.starts[-1])
    assert last.shape == (plan.length,)
    assert torch.equal(last[: 49000 - 33024], wav[33024:])
    assert not last[49000 - 33024 :].any()


@pytest.mark.parametrize(
    "settings",
    [
        {"seconds": 0.0}, {"seconds": -1.0}, {"overlap": 0.0}, {"overlap": 4.0}, {"seconds": 1.0}, {"batch": 0},
        {"seconds": float("nan")},
    ],
)  # fmt: skip
def test_impossible_chunkings_are_refused(settings: dict) -> None:
    with pytest.raises(ValueError, match="need seconds > 0, 0 < overlap < seconds / 2, batch >= 1"):
        Chunking(**settings)


def random_wav(items: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(items, samples, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("chunking", [Chunking(1.0, 0.25, 3), Chunking(0.5, 0.2, 1), Chunking(0.1, 0.049, 8)])
@pytest.mark.parametrize("samples", [1, 7999, 16000, 16001, 40000, 57123])
def test_a_model_that_changes_nothing_changes_nothing_in_chunks(chunking: Chunking, samples: int) -> None:
    wav = random_wav(2, samples)
    out = passthrough(chunking).enhance(wav)
    assert out.shape == wav.shape
    torch.testing.assert_close(out, wav, rtol=0, atol=2e-6)


def test_without_context_the_cuts_do_not_show() -> None:
    """A stochastic network that sees one frame at a time gives the same, whole or in chunks, as noise goes by frame.

    Only the frames that a chunk's edge cuts can differ, and they count least in the cross-fade. The very end is left
    out: the whole input is mirrored there, its last chunk has zeros up to the frame grid.
    """
    wav = random_wav(2, 60000)
    whole = pointwise(None).enhance(wav, seed=5)
    cut = pointwise(Chunking(1.0, 0.25, 3)).enhance(wav, seed=5)
    difference = (whole - cut).abs()
    plan = Chunking(1.0, 0.25).plan(60000, RATE, HOP)
    near = torch.zeros(60000, dtype=torch.bool)
    for start in plan.starts:
        near[max(0, start - 512) : start + 512] = near[start + plan.length - 512 : start + plan.length + 512] = True
    inside = difference[:, : 60000 - 512]
    assert inside[:, ~near[: 60000 - 512]].max() < 1e-4 * whole.abs().max()
    assert 0 < inside.max() < 0.01 * whole.abs().max()
    other_noise = pointwise(None).enhance(wav, seed=6)
    assert (whole - other_noise).abs().max() > 50 * inside.max()


def shapes_seen(enhancer: Enhancer, wav: Tensor, **settings: Any) -> list[int]:
    batches: list[int] = []
    hook = enhancer.head.backbone.register_forward_hook(lambda _, inputs, __: batches.append(len(inputs[0])))
    enhancer.enhance(wav, **settings)
    hook.remove()
    return batches


def test_on_a_cpu_chunks_go_through_the_network_one_by_one() -> None:
    # 60000 samples at 1 s and 0.25 s overlap: 5 chunks an item, 3 steps
    assert shapes_seen(pointwise(Chunking(1.0, 0.25, 2)), random_wav(2, 60000)) == [1] * 30
    assert shapes_seen(pointwise(None), random_wav(1, 60000)) == [1] * 3


def test_with_noise_of_one_s_own_they_go_in_planned_batches() -> None:
    noise = samplers.gaussian(0)
    assert shapes_seen(pointwise(Chunking(1.0, 0.25, 2)), random_wav(1, 60000), noise=noise) == [2] * 6 + [1] * 3
    assert shapes_seen(pointwise(Chunking(1.0, 0.25, 4)), random_wav(2, 60000), noise=noise) == [4] * 6 + [2] * 3


def test_the_work_grows_in_proportion_to_the_length() -> None:
    model = pointwise(Chunking(1.0, 0.25, 1))
    one, four = (len(shapes_seen(model, random_wav(1, seconds * RATE))) for seconds in (10, 40))
    assert 3.9 * one < four < 4.1 * one


def test_the_network_never_sees_more_than_a_chunk() -> None:
    """So memory beyond the samples themselves does not grow with the length."""
    model, frames = pointwise(Chunking(1.0, 0.25, 2)), set()
    model.head.backbone.register_forward_hook(lambda _, inputs, __: frames.add(inputs[0].shape[-1]))
    for samples in (30000, 90000, 200000):
        model.enhance(random_wav(1, samples))
    assert frames == {1 + 16000 // HOP}


def test_progress_counts_chunks_up_to_all_of_them() -> None:
    seen: list[tuple[int, int]] = []
    pointwise(Chunking(1.0, 0.25, 2)).enhance(random_wav(2, 60000), progress=lambda *at: seen.append(at))
    assert seen == [(done, 10) for done in range(1, 11)]
