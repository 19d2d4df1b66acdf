"""Blocks in, enhanced blocks out: what the whole gives, as soon as it can be known, in memory that does not grow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import gense
from gense import Enhancer, audio
from gense.audio import Level
from gense.blocks import Meter, Resampler, delay
from gense.chunking import Chunking
from gense.clips import at_rate
from gense.streaming import Stream
from tests.conftest import Clip
from tests.folders import noise_like_speech
from tests.tiny import passthrough, pointwise, tiny_flow
from tests.tiny_text import tiny_text

SECOND = Chunking(1.0, 0.25, 2)


@pytest.fixture(scope="module")
def flow() -> Enhancer:
    model = tiny_flow()
    model.chunking = SECOND
    return model


def cut(wav: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, wav.shape[-1], size):
        yield wav[..., start : start + size]


def streamed(stream: Stream, wav: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate(list(stream.over(cut(wav, size))), axis=-1)


# -- equal to the whole ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "size"), [(8000, 160), (16000, 1), (16000, 50000), (44100, 441), (48000, 4097)])
def test_a_stream_gives_what_the_whole_gives(flow: Enhancer, clip: Clip, rate: int, size: int) -> None:
    """Real speech. Away from the last chunk to the bit; the last is faded in elsewhere."""
    wav = audio.resample(clip.noisy, clip.sample_rate, rate)
    wav = wav[: round(0.3 * rate)] if size == 1 else wav
    whole = gense.enhance(wav, flow, sample_rate=rate, seed=2)
    scale = flow.level.scale(at_rate(wav, rate, flow)[None])
    out = streamed(flow.stream(rate, scale=scale, seed=2), wav, size)
    assert out.shape == whole.shape
    away = len(out) - round(1.1 * rate) if size > 1 else len(out)  # a single chunk is what it is in the whole
    np.testing.assert_allclose(out[:away], whole[:away], rtol=0, atol=1e-7 * np.abs(whole).max())
    if size > 1:
        assert np.abs(out[away:] - whole[away:]).max() > 0


@pytest.mark.parametrize("samples", [1, 16000, 16001, 16129, 28001, 57123])
@pytest.mark.parametrize("chunking", [SECOND, Chunking(1.0, 0.49), Chunking(0.1, 0.049)])
def test_a_model_that_changes_nothing_changes_nothing_at_any_length(samples: int, chunking: Chunking) -> None:
    """So cuts and fades add up, at the end of a stream, too."""
    wav = noise_like_speech(samples)
    for size in (997, samples):
        out = streamed(passthrough(chunking).stream(16000, scale=0.3), wav, size)
        np.testing.assert_allclose(out, wav, rtol=0, atol=2e-6)


@pytest.mark.parametrize("rate", [8000, 11025, 48000])
def test_resampled_streams_have_as_many_samples_as_came(rate: int) -> None:
    time = np.arange(3 * rate + 17) / rate
    wav = (0.4 * np.sin(2 * np.pi * 700 * time) * np.hanning(len(time))).astype(np.float32)
    for samples in (len(wav), 3, 1):
        out = streamed(passthrough(SECOND).stream(rate, scale=1.0), wav[:samples], 1000)
        assert len(out) == samples
    whole = streamed(passthrough(SECOND).stream(rate, scale=1.0), wav, 1000)
    assert np.abs(whole - wav).max() < 5e-5


def test_channels_are_enhanced_one_by_one(flow: Enhancer) -> None:
    wav = noise_like_speech(40000, channels=2)
    both = streamed(flow.stream(22050, channels=2, scale=[0.1, 0.2]), wav, 5000)
    for channel, scale in enumerate([0.1, 0.2]):
        alone = streamed(flow.stream(22050, scale=scale), wav[channel], 777)
        assert np.array_equal(both[channel], alone)


def test_noise_is_keyed_to_the_absolute_frame() -> None:
    """A stochastic method without context gives the same in chunks of another length, away from their edges."""
    wav = noise_like_speech(60000)
    one = streamed(pointwise(SECOND).stream(16000, scale=0.1, seed=5), wav, 3000)
    other = streamed(pointwise(None).stream(16000, scale=0.1, seed=5, chunking=Chunking(5.0, 0.5)), wav, 3000)
    assert np.median(np.abs(one - other)) < 1e-5 * np.abs(one).max()
    apart = streamed(pointwise(SECOND).stream(16000, scale=0.1, seed=6), wav, 3000)
    assert np.median(np.abs(one - apart)) > 1e-2 * np.abs(one).max()


def test_a_vocoder_with_a_rate_of_its_own_is_no_hindrance() -> None:
    model = tiny_text(chunking=SECOND)
    wav = noise_like_speech(44100)
    whole = gense.enhance(wav, model, sample_rate=24000)
    out = streamed(model.stream(24000, scale=model.level.scale(at_rate(wav, 24000, model)[None])), wav, 2400)
    np.testing.assert_allclose(out[:-26000], whole[:-26000], rtol=0, atol=1e-7)


# -- level and silence -----------------------------------------------------------------------------------------------


def test_without_a_scale_the_level_is_that_of_the_first_chunk_with_sound(flow: Enhancer) -> None:
    wav = np.concatenate([np.zeros(20000, np.float32), noise_like_speech(50000)])
    out = streamed(flow.stream(16000), wav, 1600)
    assert not out[:12000].any(), "silence before any sound stays silence"
    # 16000 samples are 125 frames, and 0.25 s are 31: chunks begin every 94 frames
    expected = float(flow.level.scale(torch.from_numpy(wav[94 * 128 :][:16000])[None]))
    held = streamed(flow.stream(16000, scale=expected), wav, 1600)
    assert np.array_equal(out[16000:], held[16000:])
    louder = streamed(flow.stream(16000), 8 * wav, 1600)
    np.testing.assert_allclose(louder, 8 * out, rtol=0, atol=1e-4 * np.abs(louder).max())


def test_a_silent_stream_stays_silent(flow: Enhancer) -> None:
    assert not streamed(flow.stream(44100), np.zeros(100000, np.float32), 4410).any()


def test_the_level_of_the_output_is_measured_on_the_first_result_and_held() -> None:
    model = passthrough(SECOND)
    model.output_level = Level("rms", -20.0)
    wav = noise_like_speech(48000)
    wav[30000:] *= 0.1
    out = streamed(model.stream(16000), wav, 1600)
    first = out[: 94 * 128]
    assert float(np.sqrt(np.mean(first**2))) == pytest.approx(0.1, rel=1e-4)
    gain = out[100] / wav[100]
    np.testing.assert_allclose(out, gain * wav, rtol=0, atol=1e-5)


# -- latency and memory ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_no_sample_waits_longer_than_the_latency_says_and_some_nearly_so_long(rate: int) -> None:
    stream, step = passthrough(SECOND).stream(rate), rate // 200
    wav = noise_like_speech(6 * rate)
    given, longest = 0, 0.0
    for number, block in enumerate(cut(wav, step), 1):
        given += len(stream.push(block))
        longest = max(longest, number * step / rate - given / rate)
    # A block's own length comes on top, as its samples are there only when it is complete
    assert stream.latency - 0.1 < longest <= stream.latency + 0.005
    assert given + len(stream.finish()) == len(wav)


def test_a_shorter_chunk_makes_the_latency_shorter(flow: Enhancer) -> None:
    assert flow.stream(16000).latency == pytest.approx(1.0, abs=1e-3)
    assert flow.stream(16000, chunking=Chunking(0.32, 0.08)).latency == pytest.approx(0.32, abs=1e-3)
    assert 1.0 < flow.stream(48000).latency < 1.3


def test_what_is_held_does_not_grow() -> None:
    """Neither input nor output: counted in the elements of all tensors that the stream reaches."""
    stream = passthrough(SECOND).stream(16000)
    chunks = stream._pipe._chunks
    held = []
    for block in cut(noise_like_speech(200000), 1600):
        stream.push(block)
        held.append(sum(b.untyped_storage().nbytes() for b in [*chunks._blocks, chunks._open]))
    assert max(held[:30]) == pytest.approx(max(held), rel=0.1)
    assert max(held) < 4 * 4 * 16000


# -- kinds, shapes, refusals -----------------------------------------------------------------------------------------


def test_results_are_of_the_kind_type_and_axes_of_the_blocks() -> None:
    model, wav = passthrough(Chunking(0.1, 0.04)), noise_like_speech(8000)
    for block in (wav, wav[None], wav.astype(np.float64), torch.from_numpy(wav), torch.from_numpy(wav[None]).double()):
        stream = model.stream(16000)
        for out in (stream.push(block), stream.finish()):
            assert (type(out), out.dtype, out.ndim) == (type(block), block.dtype, block.ndim)
            assert out.shape[-1] > 0
    empty = model.stream(16000, channels=2)
    assert empty.finish().shape == (2, 0)
    assert list(model.stream(8000).over([])) == []
    assert list(model.stream(8000).over([wav[:0], wav[:0]])) == []


def test_blocks_may_be_changed_after_they_were_pushed() -> None:
    """A caller that reads into one buffer again and again."""
    wav, buffer = noise_like_speech(40000), np.empty(1000, np.float32)
    stream, parts = passthrough(SECOND).stream(16000, scale=1.0), []
    for block in cut(wav, 1000):
        buffer[:] = block
        parts.append(stream.push(buffer))
    np.testing.assert_allclose(np.concatenate([*parts, stream.finish()]), wav, atol=2e-6)


def test_bad_blocks_are_refused_and_the_stream_goes_on() -> None:
    wav = noise_like_speech(3000)
    stream = passthrough(SECOND).stream(16000)
    for block, error, message in [
        (np.zeros((2, 5), np.float32), ValueError, r"shape \(2, 5\): expected \(1, samples\), or \(samples,\)"),
        (np.zeros(5, np.int16), TypeError, "block is int16: expected an array or tensor of floating point"),
        ([0.0, 1.0], TypeError, "block is list"),
        (np.array([0.0, np.nan], np.float32), ValueError, "block holds 1 NaN or infinite samples"),
    ]:  # fmt: skip
        with pytest.raises(error, match=message):
            stream.push(block)
    out = [stream.push(wav), stream.finish()]
    np.testing.assert_allclose(np.concatenate(out), wav, atol=2e-6)
    for attempt in (stream.finish, lambda: stream.push(wav)):
        with pytest.raises(ValueError, match="this stream is finished: make another"):
            attempt()


@pytest.mark.parametrize(
    ("rate", "settings", "message"),
    [
        (0, {}, "sample_rate=0: expected whole Hz"),
        (44100.0, {}, "sample_rate=44100.0: expected whole Hz"),
        (16000, {"channels": 0}, "channels=0: need a whole number"),
        (16000, {"scale": 0.0}, "scale=0.0: need a number above 0"),
        (16000, {"scale": [1.0, 2.0]}, "or one for each of 1 channels"),
        (16000, {"scale": float("nan")}, "need a number above 0"),
        (16000, {"sampling": gense.Sampling()}, "this method is deterministic"),
    ],
)
def test_impossible_streams_are_refused(rate: int, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        passthrough(SECOND).stream(rate, **settings)


def test_a_method_that_takes_recordings_whole_asks_for_a_chunking() -> None:
    with pytest.raises(ValueError, match="this method takes recordings whole: give chunking="):
        passthrough().stream(16000)
    assert passthrough().stream(16000, chunking=SECOND).latency == pytest.approx(1.0, abs=1e-3)


def test_a_sampling_that_diverges_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    model = passthrough(SECOND)
    monkeypatch.setattr(model.head, "generate", lambda cond, **_: cond["noisy_stft"] * torch.nan)
    with pytest.raises(ValueError, match="the result holds NaN: sampling diverged"):
        streamed(model.stream(16000), noise_like_speech(20000), 5000)


# -- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16000), (44100, 16000), (16000, 24000), (16000, 16000)])
def test_blocks_are_resampled_to_the_bits_of_the_whole(rate_in: int, rate_out: int) -> None:
    wav = noise_like_speech(rate_in + 37, channels=2)
    whole = audio.resample(wav.T, rate_in, rate_out).T
    for size in (97, 8192):
        resampler = Resampler(rate_in, rate_out, 2)
        parts = [resampler.push(block) for block in cut(wav, size)]
        assert np.array_equal(np.concatenate([*parts, resampler.push(wav[:, :0], last=True)], axis=1), whole)
    assert delay(rate_in, rate_out) < 0.15
    assert (delay(rate_in, rate_out) == 0) == (rate_in == rate_out)


@pytest.mark.parametrize("kind", ["peak", "rms", "none"])
def test_a_meter_measures_what_a_level_needs(kind: str) -> None:
    wav = torch.from_numpy(noise_like_speech(5000, channels=3)) * torch.tensor([[1.0], [1e-3], [0.0]])
    meter = Meter(3)
    for start in range(0, 5000, 999):
        meter.add(wav[:, start : start + 999])
    meter.add(wav[:, :0])
    level = Level(kind)  # type: ignore[arg-type]
    torch.testing.assert_close(meter.scale(level), level.scale(wav)[:, 0], rtol=1e-6, atol=0)
    assert (meter.samples, meter.bad) == (5000, 0)
    meter.add(torch.tensor([[torch.nan, 0.0], [torch.inf, torch.nan], [0.0, 1.0]]))
    assert meter.bad == 3
