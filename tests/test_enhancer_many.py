"""Items of different lengths in one call: each gives what it gives alone, and batches are full."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

import gense
from gense import Enhancer
from gense.audio import Level
from gense.chunking import Chunking
from gense.clips import enhance_clips
from gense.core import enhance_items
from gense.types import Sampling
from tests.folders import noise_like_speech
from tests.tiny import passthrough, pointwise, tiny_flow
from tests.tiny_text import tiny_text

LENGTHS = [9000, 50001, 1, 32000, 9000, 32001, 8900, 257]


def wavs(lengths: list[int] = LENGTHS) -> list[Tensor]:
    return [
        (0.02 + 0.1 * k) * torch.randn(n, generator=torch.Generator().manual_seed(k)) for k, n in enumerate(lengths)
    ]


@pytest.fixture(scope="module")
def flow() -> Enhancer:
    return tiny_flow()


@pytest.mark.parametrize("stochastic", [False, True])
def test_each_result_is_that_of_the_item_alone_to_the_bit(flow: Enhancer, stochastic: bool) -> None:
    """Also of several items of one length, in another order, and with fewer of them."""
    items = wavs()
    sampling = Sampling("euler_maruyama", steps=2, schedule_options={"start": 0.9}) if stochastic else None
    alone = [flow.enhance(item[None], seed=3, sampling=sampling)[0] for item in items]
    for order in (range(len(items)), [5, 1, 0, 7, 3, 2, 6, 4], [4, 1]):
        many = flow.enhance_many([items[k] for k in order], seed=3, sampling=sampling)
        assert all(torch.equal(out, alone[k]) for k, out in zip(order, many, strict=True))
    stacked = flow.enhance(torch.stack([items[0], items[4]]), seed=3, sampling=sampling)
    assert torch.equal(stacked, torch.stack([alone[0], alone[4]]))


def test_every_item_may_have_its_own_seed() -> None:
    model, items = pointwise(Chunking(1.0, 0.25, 2)), wavs()
    seeds = [7, 1, 2, 7, 5, 2**63, 0, 3]
    for alone in (None, False):
        many = enhance_items(model, items, seeds, alone=alone)
        for item, seed, out in zip(items, seeds, many, strict=True):
            torch.testing.assert_close(out, model.enhance(item[None], seed=seed)[0], rtol=0, atol=1e-5)
    together = model.enhance_many(items, seed=seeds)
    assert torch.equal(together[5], model.enhance(items[5][None], seed=2**63)[0])
    assert not torch.allclose(together[1], model.enhance(items[1][None], seed=2)[0], atol=1e-3)


def test_where_batches_are_worth_it_they_are_full_and_change_only_the_last_bits(flow: Enhancer) -> None:
    """What a GPU does, done here on a CPU: whole chunks by the plan's batch, of short items as many more, and items of
    other lengths where the features come out equally long."""
    batches: list[tuple[int, int]] = []
    hook = flow.head.backbone.register_forward_hook(
        lambda _, inputs, __: batches.append((len(inputs[0]), inputs[0].shape[-1]))
    )
    items = wavs([70000, 8000, 8100, 8001, 8002, 8003, 8004, 8005, 8006, 8007, 16000])
    together = enhance_items(flow, items, [3] * len(items), alone=False)
    hook.remove()
    # 3 chunks of 2 s, two at a time; 1 s alone; then nine of half a second, seven in the room of two whole chunks
    assert batches[::2] == [(2, 252), (1, 252), (1, 128), (7, 64), (2, 64)]
    for item, out in zip(items, together, strict=True):
        alone = flow.enhance(item[None], seed=3)[0]
        torch.testing.assert_close(out, alone, rtol=0, atol=1e-5 * float(alone.abs().max()))


def test_each_item_has_its_own_level_length_and_silence() -> None:
    model, largest = passthrough(Chunking(1.0, 0.25, 2)), []
    encode = model.representations["stft"].encode
    model.representations["stft"].encode = lambda wav: largest.append(float(wav.abs().max())) or encode(wav)
    items = [*wavs([3000, 20000]), torch.zeros(4000)]
    out = model.enhance_many(items)
    assert [len(one) for one in out] == [3000, 20000, 4000]
    assert not out[2].any()
    for given, got in zip(items, out, strict=True):
        torch.testing.assert_close(got, given, rtol=0, atol=2e-6)
    assert sum(value == pytest.approx(1.0) for value in largest) >= 2


def test_the_level_of_the_output_is_that_of_each_whole_item() -> None:
    model = passthrough(Chunking(1.0, 0.25, 2))
    model.output_level = Level("rms", -20.0)
    for out in model.enhance_many(wavs([12800, 64000, 3001])):
        whole = out[: len(out) // 128 * 128]
        assert float(whole.square().mean().sqrt()) == pytest.approx(0.1, rel=1e-5)


def test_every_item_has_its_transcript() -> None:
    model, items, texts = tiny_text(chunking=Chunking(1.0, 0.25, 4)), wavs([3000, 40000, 5000]), ["a b", "b a a c", "c"]
    many = model.enhance_many(items, text=texts)
    for item, text, out in zip(items, texts, many, strict=True):
        assert torch.equal(out, model.enhance(item[None], text=text)[0])
    assert not torch.equal(many[0], model.enhance(items[0][None])[0])
    torch.testing.assert_close(
        enhance_items(model, items, [0] * 3, texts=texts, alone=False)[1], many[1], rtol=0, atol=1e-5
    )


def test_types_are_kept_and_progress_counts_chunks() -> None:
    seen: list[tuple[int, int]] = []
    items = [wavs([16000])[0].double(), wavs([28000])[0].half()]
    out = passthrough(Chunking(1.0, 0.25)).enhance_many(items, progress=lambda *at: seen.append(at))
    assert [one.dtype for one in out] == [torch.float64, torch.float16]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert passthrough().enhance_many([]) == []


@pytest.mark.parametrize(
    ("items", "settings", "error", "message"),
    [
        ([torch.zeros(9), torch.zeros(1, 9)], {}, ValueError, r"wavs\[1\] has shape \(1, 9\): expected \(samples,\)"),
        ([torch.zeros(0)], {}, ValueError, r"wavs\[0\] has shape \(0,\)"),
        ([torch.zeros(9, dtype=torch.int16)], {}, TypeError, r"wavs\[0\] is torch.int16: expected a float tensor"),
        ([torch.zeros(9), torch.full((9,), torch.inf)], {}, ValueError, r"wavs\[1\] holds NaN or infinite"),
        ([torch.zeros(9)], {"seed": [1, 2]}, ValueError, "2 seeds for 1 waveforms"),
        ([torch.zeros(9)], {"text": "a"}, ValueError, "this method reads no transcript"),
    ],
)
def test_what_does_not_fit_is_named(
    flow: Enhancer, items: list[Tensor], settings: dict, error: type, message: str
) -> None:
    with pytest.raises(error, match=message):
        flow.enhance_many(items, **settings)


def test_clips_of_any_rate_and_channels_give_what_enhance_gives(flow: Enhancer) -> None:
    clips = [
        (noise_like_speech(9000, channels=2), 22050), (noise_like_speech(50000, seed=1, channels=1), 16000),
        (noise_like_speech(700, seed=2, channels=3), 8000),
    ]  # fmt: skip
    for (channels, rate), seed, out in zip(clips, [1, 2, 3], enhance_clips(flow, clips, seed=[1, 2, 3]), strict=True):
        assert np.array_equal(out, gense.enhance(channels, flow, sample_rate=rate, seed=seed))


def test_a_clip_that_diverges_does_not_take_the_others_with_it() -> None:
    model = passthrough()
    generate = model.head.generate
    model.head.generate = lambda cond, **options: (
        generate(cond, **options) * (math.nan if cond["noisy_stft"].shape[-1] > 50 else 1)
    )
    good, bad = (noise_like_speech(n, channels=1) for n in (3000, 30000))
    out = enhance_clips(model, [(good, 16000), (bad, 16000), (good, 8000)])
    assert [type(one) for one in out] == [np.ndarray, ValueError, np.ndarray]
    assert "the result holds NaN: sampling diverged" in str(out[1])
