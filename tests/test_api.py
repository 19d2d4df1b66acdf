"""`gense.enhance`: any audio in, the same kind of audio out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import gense
from gense import Enhancer, samplers
from gense.signals import Signal
from tests.folders import config, head, noise_like_speech, write_model
from tests.tiny import passthrough, pointwise, tiny_flow

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
NUMPY = ["float16", "float32", "float64", ">f4", *INTEGERS]
TENSORS = ["float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64"]
SHAPES = [(3000,), (2, 3000), (1, 3000), (2, 2, 1500)]


def in_dtype(wav: np.ndarray, dtype: str) -> np.ndarray:
    """Full scale 1 to a NumPy type, by its definition and not by the code under test."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return wav.astype(kind)
    half = 2.0 ** (8 * kind.itemsize - 1)
    return np.round(wav.astype(np.float64) * half * 0.99 + (half if kind.kind == "u" else 0)).astype(kind)


def step_of(dtype: str) -> float:
    """How far a value may be off: the rounding of the type, and float32's on the way."""
    if dtype in ("float16", "bfloat16"):
        return 2e-3 if dtype == "float16" else 2e-2
    return 3e-6 if dtype in ("float32", "float64", ">f4") else 2.0 ** (9 - 8 * np.dtype(dtype).itemsize) + 3e-6


def as_float(audio: Any) -> np.ndarray:
    """Back to full scale 1."""
    if isinstance(audio, torch.Tensor):
        audio = audio.double().numpy() if audio.is_floating_point() else audio.numpy()
    if audio.dtype.kind == "f":
        return audio.astype(np.float64)
    half = 2.0 ** (8 * audio.dtype.itemsize - 1)
    return (audio.astype(np.float64) - (half if audio.dtype.kind == "u" else 0)) / half


@pytest.fixture(scope="module")
def same() -> Enhancer:
    return passthrough()


@pytest.fixture(scope="module")
def flow() -> Enhancer:
    return tiny_flow()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("api") / "model")


# -- the same kind, shape, type, rate and length ---------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", NUMPY)
def test_an_array_comes_back_as_the_same_kind_of_array(same: Enhancer, dtype: str, shape: tuple[int, ...]) -> None:
    wav = in_dtype(noise_like_speech(int(np.prod(shape))).reshape(shape), dtype)
    before = wav.copy()
    out = gense.enhance(wav, same)
    assert isinstance(out, np.ndarray)
    assert (out.shape, out.dtype) == (wav.shape, wav.dtype)
    assert np.abs(as_float(out) - as_float(wav)).max() <= step_of(dtype)
    assert np.array_equal(wav, before)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", TENSORS)
def test_a_tensor_comes_back_as_the_same_kind_of_tensor(same: Enhancer, dtype: str, shape: tuple[int, ...]) -> None:
    wav = noise_like_speech(int(np.prod(shape))).reshape(shape)
    kind = getattr(torch, dtype)
    given = torch.from_numpy(wav).to(kind) if kind.is_floating_point else torch.from_numpy(in_dtype(wav, dtype))
    out = gense.enhance(given, same)
    assert isinstance(out, torch.Tensor)
    assert (out.shape, out.dtype, out.device) == (given.shape, kind, given.device)
    assert np.abs(as_float(out) - as_float(given)).max() <= step_of(dtype)


@pytest.mark.parametrize("samples", [4800, 4801])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000, np.int64(44100)])
def test_any_rate_comes_back_at_that_rate(same: Enhancer, rate: int, samples: int) -> None:
    time = np.arange(samples) / rate
    wav = (0.4 * np.sin(2 * np.pi * 700 * time) * np.hanning(samples)).astype(np.float32)
    out = gense.enhance(wav, same, sample_rate=rate)
    assert out.shape == wav.shape
    assert np.abs(out - wav).max() < 2e-3
    assert np.abs(out - wav)[500:-500].max() < 5e-5


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 768000])
@pytest.mark.parametrize("samples", [1, 2, 3, 10])
def test_a_few_samples_are_enough(flow: Enhancer, rate: int, samples: int) -> None:
    out = gense.enhance(0.1 * np.ones(samples, np.float32), flow, sample_rate=rate)
    assert out.shape == (samples,)
    assert np.isfinite(out).all()


def test_without_a_rate_an_array_has_the_method_s(flow: Enhancer) -> None:
    wav = noise_like_speech(8000)
    assert np.array_equal(gense.enhance(wav, flow), gense.enhance(wav, flow, sample_rate=16000))
    assert not np.allclose(gense.enhance(wav, flow), gense.enhance(wav, flow, sample_rate=8000), atol=1e-3)


def test_arrays_of_any_memory_layout(same: Enhancer) -> None:
    wav = noise_like_speech(4000, channels=2)
    for view in (wav[:, ::-1], wav.T.copy().T, wav[:, ::3], np.asfortranarray(wav)):
        np.testing.assert_allclose(gense.enhance(view, same), view, atol=3e-6)
    locked = wav.copy()
    locked.flags.writeable = False
    np.testing.assert_allclose(gense.enhance(locked, same), wav, atol=3e-6)


def test_a_tensor_with_gradient_comes_back_without(same: Enhancer) -> None:
    wav = torch.from_numpy(noise_like_speech(2000)).requires_grad_()
    assert not gense.enhance(wav, same).requires_grad


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_clip_and_do_not_wrap(dtype: str) -> None:
    signal = Signal.of(np.zeros(4, np.dtype(dtype)), "audio")
    info = np.iinfo(dtype)
    back = signal.back(np.array([[3.0, 1.0, -1.0, -3.0]], np.float32))
    assert back[0] == back[1] == pytest.approx(info.max, rel=1e-15)
    assert back[2] == back[3] == info.min


# -- channels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["euler", "euler_maruyama"])
def test_channels_are_enhanced_one_by_one_with_the_same_noise(sampler: str) -> None:
    """Equal channels give equal outputs, so the stereo image holds, and none depends on the others."""
    left, right = noise_like_speech(9000), noise_like_speech(9000, seed=1)
    model = pointwise()
    both = gense.enhance(np.stack([left, right, left]), model, sampler=sampler, seed=4)
    assert np.array_equal(both[0], both[2])
    assert np.array_equal(both[0], gense.enhance(left, model, sampler=sampler, seed=4))
    assert np.array_equal(both[1], gense.enhance(right, model, sampler=sampler, seed=4))


def test_items_of_a_batch_do_not_depend_on_each_other(flow: Enhancer) -> None:
    a, b = noise_like_speech(9000), noise_like_speech(9000, seed=1)
    together = gense.enhance(np.stack([a, b])[:, None], flow)
    alone = gense.enhance(a[None, None], flow)
    np.testing.assert_allclose(together[:1], alone, atol=1e-5)


def test_silence_in_one_channel_stays_silence(flow: Enhancer) -> None:
    wav = np.stack([np.zeros(9000, np.float32), noise_like_speech(9000)])
    for rate in (16000, 44100):
        out = gense.enhance(wav, flow, sample_rate=rate)
        assert not out[0].any()
        assert out[1].any()
    silent = np.full(5000, 128, np.uint8)  # the zero line of unsigned bytes
    assert np.array_equal(gense.enhance(silent, flow), silent)


def test_gain_in_is_gain_out(flow: Enhancer) -> None:
    wav = noise_like_speech(9000)
    out = gense.enhance(wav, flow)
    np.testing.assert_allclose(gense.enhance(wav / 64, flow) * 64, out, atol=1e-4 * np.abs(out).max())


# -- seed, steps, samplers and their options -------------------------------------------------------------------------


def test_results_repeat_with_the_seed(flow: Enhancer) -> None:
    wav = noise_like_speech(9000)
    first = gense.enhance(wav, flow, seed=7)
    assert np.array_equal(gense.enhance(wav, flow, seed=np.int64(7)), first)
    assert np.array_equal(gense.enhance(wav, flow), gense.enhance(wav, flow, seed=0))
    assert not np.allclose(gense.enhance(wav, flow, seed=8), first, atol=1e-3)


class Recorder:
    """A sampler that says how it was called."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def sampler(self) -> Any:
        def mine(field, x, times, *, noise, strength=1.0, callback=None):
            self.calls.append({"times": times.tolist(), "strength": strength})
            return x

        return mine


def test_choices_reach_the_sampler_and_the_schedule(flow: Enhancer) -> None:
    recorder, wav = Recorder(), noise_like_speech(3000)
    mine = recorder.sampler()
    gense.enhance(wav, flow, sampler=mine, steps=3, strength=0.5)
    gense.enhance(wav, flow, sampler=mine, steps=np.int64(2), schedule="sway", coefficient=0.0, end=0.5)
    gense.enhance(wav, flow, sampler=mine)
    assert [call["strength"] for call in recorder.calls] == [0.5, 1.0, 1.0]
    assert recorder.calls[0]["times"] == pytest.approx([1.0, 0.515, 0.03, 0.0])
    assert recorder.calls[1]["times"] == pytest.approx([1.0, 0.75, 0.5])
    assert recorder.calls[2]["times"] == [1.0, 0.03, 0.0]  # the method's own two steps


@pytest.mark.parametrize("name", ["euler", "heun", "midpoint", "euler_maruyama", "predictor_corrector", "exponential"])
def test_every_sampler_can_be_chosen_by_name(model: Path, name: str) -> None:
    wav = noise_like_speech(3000)
    out = gense.enhance(wav, model, sampler=name, steps=2, device="cpu")
    by_function = gense.enhance(wav, model, sampler=getattr(samplers, name), steps=2, device="cpu")
    assert np.array_equal(out, by_function)
    assert np.isfinite(out).all()


def test_options_reach_a_sampler_from_another_library(model: Path) -> None:
    wav, model = noise_like_speech(3000), gense.load(model, device="cpu")
    np.testing.assert_allclose(
        gense.enhance(wav, model, sampler="odeint", solver="midpoint", steps=3, end=0.03),
        gense.enhance(wav, model, sampler="midpoint", steps=3, end=0.03), rtol=1e-3, atol=1e-4,
    )  # fmt: skip


def test_another_sampler_drops_the_options_of_the_method_s_own(tmp_path: Path) -> None:
    settings = config()
    head(settings)["sampling"] = {"sampler": "euler_maruyama", "steps": 1, "options": {"churn": 0.5}}
    loaded = gense.load(write_model(tmp_path / "model", settings), device="cpu")
    wav = noise_like_speech(3000)
    assert np.isfinite(gense.enhance(wav, loaded, sampler="euler")).all()
    kept = gense.enhance(wav, loaded, steps=2)
    assert np.array_equal(kept, gense.enhance(wav, loaded, steps=2, churn=0.5))
    assert not np.array_equal(kept, gense.enhance(wav, loaded, steps=2, churn=0.0))


def test_a_chosen_sampling_does_not_stick(flow: Enhancer) -> None:
    wav = noise_like_speech(3000)
    before = gense.enhance(wav, flow)
    gense.enhance(wav, flow, steps=5, sampler="heun")
    assert np.array_equal(gense.enhance(wav, flow), before)


# -- files -----------------------------------------------------------------------------------------------------------


def test_a_file_comes_back_as_the_path_of_a_file_beside_it(tmp_path: Path, same: Enhancer) -> None:
    wav = noise_like_speech(6000, channels=2).T
    soundfile.write(tmp_path / "talk.wav", wav, 44100, subtype="PCM_24")
    out = gense.enhance(tmp_path / "talk.wav", same)
    assert out == tmp_path / "talk.enhanced.wav"
    text = gense.enhance(str(tmp_path / "talk.wav"), same)
    assert text == str(tmp_path / "talk.enhanced.wav")
    info = soundfile.info(out)
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (44100, 2, 6000, "PCM_24")
    written = soundfile.read(out)[0]
    # All of it under 8 kHz, but for what the short noise has above
    assert np.corrcoef(written[:, 0], wav[:, 0])[0, 1] > 0.95
    assert sorted(p.name for p in tmp_path.iterdir()) == ["talk.enhanced.wav", "talk.wav"]


@pytest.mark.parametrize(
    ("name", "subtype"), [("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.flac", "PCM_24"),
                          ("a.ogg", "VORBIS"), ("A.WAV", "PCM_16")],
)  # fmt: skip
@pytest.mark.parametrize("rate", [8000, 16000, 48000])
def test_files_keep_rate_format_and_channels(
    tmp_path: Path, same: Enhancer, name: str, subtype: str, rate: int
) -> None:
    soundfile.write(tmp_path / name, noise_like_speech(4000, channels=3).T, rate, subtype=subtype)
    out = gense.enhance(tmp_path / name, same, output=tmp_path / f"out{Path(name).suffix}")
    before, after = soundfile.info(tmp_path / name), soundfile.info(out)
    for what in ("samplerate", "channels", "frames", "format", "subtype"):
        assert getattr(after, what) == getattr(before, what)


def test_a_file_and_its_samples_give_the_same(tmp_path: Path, flow: Enhancer) -> None:
    wav = noise_like_speech(6000, channels=2)
    soundfile.write(tmp_path / "a.wav", wav.T, 22050, subtype="FLOAT")
    out = gense.enhance(tmp_path / "a.wav", flow, seed=2)
    np.testing.assert_array_equal(
        soundfile.read(out, dtype="float32")[0].T, gense.enhance(wav, flow, sample_rate=22050, seed=2)
    )


def test_an_array_can_be_written_as_well(tmp_path: Path, same: Enhancer) -> None:
    wav = noise_like_speech(4000, channels=2)
    out = gense.enhance(wav, same, sample_rate=8000, output=tmp_path / "a.flac")
    np.testing.assert_allclose(out[:, 50:-50], wav[:, 50:-50], atol=5e-3)  # resampled: the cut ends ring
    written, rate = soundfile.read(tmp_path / "a.flac", dtype="float32")
    assert rate == 8000
    np.testing.assert_allclose(written.T, out, atol=1e-4)
    mono = gense.enhance(wav[0], same, output=str(tmp_path / "mono.wav"))
    assert mono.shape == (4000,)
    assert soundfile.info(tmp_path / "mono.wav").channels == 1


# -- loading ---------------------------------------------------------------------------------------------------------


def test_the_method_is_a_path_or_an_enhancer_alike(model: Path) -> None:
    wav = noise_like_speech(6000)
    array = gense.enhance(wav, gense.load(model, device="cpu"), sample_rate=16000, steps=2, seed=0)
    for method in (model, str(model), model / "model.safetensors", model / "method.yaml"):
        assert np.array_equal(gense.enhance(wav, method, sample_rate=16000, steps=2, seed=0, device="cpu"), array)


def test_a_loaded_model_is_in_evaluation_mode_on_the_device(model: Path) -> None:
    enhancer = gense.load(model, device="cpu")
    assert not enhancer.training
    assert enhancer.device == torch.device("cpu")


def test_half_precision_is_a_choice_when_loading(model: Path) -> None:
    wav = noise_like_speech(6000)
    exact = gense.enhance(wav, gense.load(model, device="cpu"))
    rounded = gense.enhance(wav, gense.load(model, device="cpu", dtype="bfloat16"))
    assert 0 < np.linalg.norm(rounded - exact) / np.linalg.norm(exact) < 0.05
    with pytest.raises(ValueError, match="dtype='half': expected one of float32, bfloat16, float16"):
        gense.load(model, dtype="half")


def test_methods_lists_every_name_with_what_a_user_wants_to_know() -> None:
    found = gense.methods()
    names = [m.name for m in found]
    assert len(set(names)) == len(names)
    assert sum(m.default for m in found) == len({name.split("/")[0] for name in names})
    assert {"flowse/compact", "sgmse/vbdmd", "sgmse/ears-wham"} <= set(names)
    for m in found:
        assert m.summary
        assert m.source
        assert m.sample_rate is None or m.sample_rate >= 8000
        assert m.on_disk == (m.megabytes is not None)
