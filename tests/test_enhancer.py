"""The enhancer: levels, batches, seeds, silence, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import gense
from gense import Enhancer, Sampling, samplers
from gense.audio import Level
from gense.chunking import Chunking
from gense.heads import Head
from gense.losses import SISDRLoss, SpectralLoss
from gense.representations import CompressedSTFT
from gense.types import Batch
from tests.parity.fixtures import FOLDER
from tests.tiny import Passthrough, passthrough, pointwise, tiny_flow


def random_wav(items: int, samples: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(items, samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def flow() -> Enhancer:
    return tiny_flow()


@pytest.mark.parametrize("samples", [1, 2, 100, 255, 256, 4097, 31999, 50001])
def test_the_output_has_the_input_s_shape_and_is_finite(flow: Enhancer, samples: int) -> None:
    wav = random_wav(2, samples)
    out = flow.enhance(wav)
    assert out.shape == wav.shape
    assert out.dtype == wav.dtype
    assert out.isfinite().all()


@pytest.mark.parametrize("samples", [1, 100, 4097, 40000])
@pytest.mark.parametrize("level", ["peak", "rms", "none"])
def test_an_enhancer_that_changes_nothing_returns_its_input(level: str, samples: int) -> None:
    wav = random_wav(3, samples)
    torch.testing.assert_close(passthrough(level=level).enhance(wav), wav, rtol=0, atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_floating_point_type_is_kept(dtype: torch.dtype) -> None:
    wav = random_wav(1, 5000).to(dtype)
    out = passthrough().enhance(wav)
    assert out.dtype == dtype
    torch.testing.assert_close(out, wav, rtol=1e-2 if dtype == torch.bfloat16 else 1e-3, atol=2e-5)


def test_an_item_does_not_depend_on_its_neighbours(flow: Enhancer) -> None:
    """Nor on how many chunks of the others share its batches: chunks of 2 s, two at a time."""
    one, other = random_wav(1, 40000), 5 * random_wav(1, 40000, seed=1)
    alone = flow.enhance(one, seed=3)
    beside = flow.enhance(torch.cat([one, other]), seed=3)[:1]
    behind = flow.enhance(torch.cat([other, other, one]), seed=3)[2:]
    tolerance = 1e-5 * float(alone.abs().max())
    torch.testing.assert_close(beside, alone, rtol=0, atol=tolerance)
    torch.testing.assert_close(behind, alone, rtol=0, atol=tolerance)


def test_equal_items_draw_equal_noise() -> None:
    out = pointwise().enhance(random_wav(1, 8000).expand(3, -1))
    torch.testing.assert_close(out[1], out[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(out[2], out[0], rtol=0, atol=1e-5)


def test_results_repeat_with_the_seed_and_differ_without(flow: Enhancer) -> None:
    wav = random_wav(1, 40000)
    first = flow.enhance(wav, seed=1)
    torch.randn(10)  # the global generator plays no part
    assert torch.equal(flow.enhance(wav, seed=1), first)
    assert not torch.allclose(flow.enhance(wav, seed=2), first, atol=1e-3)


def test_enhancing_leaves_the_global_generator_and_the_input_alone(flow: Enhancer) -> None:
    wav = random_wav(1, 8000)
    before, state = wav.clone(), torch.get_rng_state()
    flow.enhance(wav)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(wav, before)


@pytest.mark.parametrize("gain", [1e-4, 0.3, 50.0])
def test_gain_in_is_gain_out(flow: Enhancer, gain: float) -> None:
    wav = random_wav(1, 40000)
    out = flow.enhance(wav)
    torch.testing.assert_close(flow.enhance(gain * wav) / gain, out, rtol=0, atol=1e-4 * float(out.abs().max()))


def test_the_level_is_that_of_the_whole_and_not_of_each_chunk() -> None:
    """A quiet passage beside a loud one keeps its level; a level per chunk would not change the identity either, so the
    network's input is looked at."""
    wav = torch.cat([0.01 * torch.ones(1, 32000), torch.ones(1, 32000)], dim=1)
    model, largest = pointwise(Chunking(1.0, 0.25, 1)), []
    stft = model.representations["stft"]
    encode = stft.encode
    stft.encode = lambda pieces: largest.append(float(pieces.abs().max())) or encode(pieces)
    model.enhance(wav)
    assert largest[0] == pytest.approx(0.01)
    assert largest[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("chunked", [False, True])
def test_silence_stays_exact_silence_beside_sound(flow: Enhancer, chunked: bool) -> None:
    model = flow if chunked else pointwise()
    wav = torch.cat([torch.zeros(1, 50000), random_wav(1, 50000)])
    out = model.enhance(wav)
    assert not out[0].any()
    assert out[1].any()
    assert out.isfinite().all()


@pytest.mark.parametrize("value", [1e-45, 1e-38, 1e-20, 1e-8])
@pytest.mark.parametrize("level", ["peak", "rms", "none"])
def test_what_is_nearly_silent_stays_finite_and_quiet(value: float, level: str) -> None:
    wav = torch.zeros(1, 20000)
    wav[0, 777] = value
    model = tiny_flow()
    model.level = Level(level)
    out = model.enhance(wav)
    assert out.isfinite().all()
    if level != "none":
        assert out.abs().max() < 1000 * value
    if value < 1e-30:
        assert not out.any()


def test_noise_is_asked_for_as_the_sampler_needs_it(flow: Enhancer) -> None:
    """Prior, then one draw a step, each in the shape of the features; one draw too many or of another shape is told."""
    wav = random_wav(1, 5000)
    shape = flow.representations["stft"].encode(wav).shape
    draws = [torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(k)) for k in range(3)]
    out = flow.enhance(wav, noise=samplers.replay(draws[:1]))
    assert torch.equal(out, flow.enhance(wav, noise=samplers.replay(draws[:1])))
    with pytest.raises(ValueError, match=r"draw 1 was recorded as .* asked for as"):
        flow.enhance(wav, noise=samplers.replay([draw[..., :-1] for draw in draws]))
    with pytest.raises(ValueError, match="draw 1 asked for, but only 0 were recorded"):
        flow.enhance(wav, noise=samplers.replay([]))


def test_the_contract_s_line_runs_on_a_published_checkpoint() -> None:
    path = FOLDER / "sgmse_ckpt_small" / "model.ckpt"
    wav = random_wav(1, 4000)
    shape = (1, 1, 256, 64)
    generator = torch.Generator().manual_seed(0)
    list_of_tensors = [torch.randn(shape, dtype=torch.complex64, generator=generator) for _ in range(5)]
    out = gense.load(path).enhance(
        wav,
        sampling=gense.Sampling("predictor_corrector", steps=2, options={"snr": 0.33, "corrector_steps": 1}),
        noise=gense.samplers.replay(list_of_tensors),
    )
    assert out.shape == (1, 4000)
    assert out.isfinite().all()


def test_the_callback_sees_every_step_and_the_sampling_can_be_replaced(flow: Enhancer) -> None:
    steps: list[int] = []
    flow.enhance(random_wav(1, 5000), callback=lambda step: steps.append(step.index))
    assert steps == [0, 1]
    steps.clear()
    heun = Sampling("heun", steps=4)
    flow.enhance(random_wav(1, 5000), sampling=heun, callback=lambda step: steps.append(step.index))
    assert steps == [0, 1, 2, 3]


def test_half_precision_networks_give_nearly_the_same(flow: Enhancer) -> None:
    wav = random_wav(1, 20000)
    exact = flow.enhance(wav)
    model = tiny_flow()
    model.autocast = torch.bfloat16
    rounded = model.enhance(wav)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() / exact.norm() < 0.05


@pytest.mark.parametrize(
    ("wav", "error", "message"),
    [
        (torch.zeros(100), ValueError, r"shape \(100,\): expected \(batch, samples\)"),
        (torch.zeros(1, 1, 100), ValueError, r"shape \(1, 1, 100\)"),
        (torch.zeros(1, 0), ValueError, "neither of them 0"),
        (torch.zeros(0, 10), ValueError, "neither of them 0"),
        (torch.zeros(1, 10, dtype=torch.int16), TypeError, "int16: expected a float tensor"),
        (torch.full((1, 10), torch.nan), ValueError, "NaN or infinite"),
        (torch.full((1, 10), torch.inf), ValueError, "NaN or infinite"),
    ],
)
def test_what_is_no_waveform_is_refused(flow: Enhancer, wav: Tensor, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        flow.enhance(wav)


def test_a_deterministic_method_takes_no_sampling() -> None:
    with pytest.raises(ValueError, match="deterministic: it takes no steps"):
        passthrough().enhance(random_wav(1, 1000), sampling=Sampling(steps=3))


def test_rates_and_names_of_the_parts_must_agree() -> None:
    stft = CompressedSTFT(sample_rate=16000)
    with pytest.raises(ValueError, match="representation 'stft' works at 16000 Hz, the enhancer at 8000"):
        Enhancer({"stft": stft}, Passthrough(), sample_rate=8000)
    with pytest.raises(ValueError, match="the head needs representation 'stft'; there are spectrum"):
        Enhancer({"spectrum": stft}, Passthrough(), sample_rate=16000)


def test_the_training_loss_adds_the_weighted_losses_on_waveforms() -> None:
    clean, noisy = random_wav(2, 8192), random_wav(2, 8192, seed=1)
    plain = tiny_flow()
    torch.manual_seed(0)
    own = plain.loss(Batch(clean, noisy))
    losses = [SpectralLoss(weight=2.0), SISDRLoss(weight=0.5)]
    both = Enhancer(
        dict(plain.representations.items()), plain.head, sample_rate=16000, level=plain.level, wave_losses=losses
    )
    torch.manual_seed(0)
    loss = both.loss(Batch(clean, noisy))
    expected = own.total + 2.0 * loss.parts["SpectralLoss"] + 0.5 * loss.parts["SISDRLoss"]
    torch.testing.assert_close(loss.total, expected)
    assert loss.total.requires_grad


def test_losses_on_waveforms_need_a_head_with_an_estimate() -> None:
    class Silent(Passthrough):
        def loss(self, clean, cond):
            return gense.types.Loss(torch.zeros(()))

    model = Enhancer({"stft": CompressedSTFT()}, Silent(), sample_rate=16000, wave_losses=[SISDRLoss()])
    with pytest.raises(ValueError, match="Silent gives no estimate of the data"):
        model.loss(Batch(random_wav(1, 1000), random_wav(1, 1000)))


def test_only_what_the_head_reads_is_computed() -> None:
    class Forbidden(CompressedSTFT):
        def encode(self, wav: Tensor) -> Tensor:
            raise AssertionError("nobody reads this representation")

    head: Head = Passthrough()
    model = Enhancer({"stft": CompressedSTFT(), "other": Forbidden()}, head, sample_rate=16000)
    assert model.enhance(random_wav(1, 1000)).shape == (1, 1000)
