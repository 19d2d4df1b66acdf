"""The parts of NCSN++ against their definitions."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck
from torch.nn import functional as F

from gense.backbones.layers import strips, winograd
from gense.backbones.layers.attention import MapAttention
from gense.backbones.layers.fir import FIRDown, FIRUp
from gense.backbones.layers.initialisation import Conv, group_norm, variance_scaling_
from gense.backbones.layers.residual import ResidualBlock
from gense.backbones.layers.time_embedding import LogFourierFeatures, TimeEmbedding


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal noise; four axes come in channels-last memory."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else x


def randomised(module: torch.nn.Module) -> torch.nn.Module:
    """The module in float64 with every parameter away from its starting value, so that no branch is silent."""
    module.double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return module


@pytest.mark.parametrize(("rows", "width", "channels", "outputs"), [(4, 1, 1, 1), (8, 7, 3, 5), (16, 4, 8, 2)])
def test_winograd_is_the_direct_sum(rows, width, channels, outputs):
    x, weight, bias = noise(2, channels, rows, width), noise(outputs, channels, 3, 3, seed=1), noise(2, outputs, 1, 1)
    window = F.pad(x, (0, 0, 1, 1)).contiguous(memory_format=torch.channels_last)
    out = torch.empty((2, outputs, rows, width), dtype=torch.float64)
    winograd.correlate(window, winograd.transform_filters(weight), bias, out)
    torch.testing.assert_close(out, F.conv2d(x, weight, padding=1) + bias, rtol=0, atol=1e-12)


def test_winograd_rounds_like_float32():
    x, weight = noise(1, 256, 32, 32, dtype=torch.float32), noise(64, 256, 3, 3, seed=1, dtype=torch.float32)
    window = F.pad(x, (0, 0, 1, 1)).contiguous(memory_format=torch.channels_last)
    out = torch.empty((1, 64, 32, 32))
    winograd.correlate(window, winograd.transform_filters(weight), torch.zeros(1, 64, 1, 1), out)
    exact = F.conv2d(x.double(), weight.double(), padding=1)
    assert (out - exact).norm() / exact.norm() < 3e-6


@pytest.mark.parametrize("sizes", [(8,), (8, 8), (4, 12)])
@pytest.mark.parametrize("height", [4, 12, 10, 64])
def test_strips_are_the_plain_layers(monkeypatch, sizes, height):
    """Any number of strips, with Winograd's sums (heights divisible by four) and without, and written in place."""
    monkeypatch.setattr(strips, "_WINOGRAD_POSITIONS", 1)
    monkeypatch.setattr(strips, "_STRIP_BYTES", 8 * 16 * 6 * 8)
    parts = [3 + noise(2, size, height, 6, seed=size) for size in sizes]
    whole, channels = torch.cat(parts, dim=1), sum(sizes)
    norm = randomised(group_norm(channels))
    weight, bias, matrix = noise(8, channels, 3, 3), noise(2, 8), noise(8, channels, 1, 1, seed=2)
    expected = F.conv2d(F.silu(norm(whole)), weight, padding=1) + bias[:, :, None, None]
    with torch.inference_mode():
        affine = strips.normalisation(parts, norm)
        plain = strips.convolve(parts, weight, bias, affine=affine)
        linear = strips.convolve(parts, weight, bias)
        mixed = strips.convolve(
            parts, weight, bias, affine=affine, shortcut=parts, shortcut_weight=matrix, shortcut_gain=0.5
        )
        before = parts[0].clone()
        if sizes == (8,):
            mine = before.clone(memory_format=torch.channels_last)
            in_place = strips.convolve([mine], weight, bias, affine=affine, shortcut=[before], out=mine)
            assert in_place is mine
            torch.testing.assert_close(in_place, expected + before, rtol=0, atol=1e-10)
    torch.testing.assert_close(plain, expected, rtol=0, atol=1e-10)
    torch.testing.assert_close(linear, F.conv2d(whole, weight, padding=1) + bias[:, :, None, None], rtol=0, atol=1e-10)
    torch.testing.assert_close(mixed, expected + 0.5 * F.conv2d(whole, matrix), rtol=0, atol=1e-10)
    assert torch.equal(parts[0], before)


def test_moments_of_a_long_map_do_not_gather_rounding():
    """Sums number after number would be off by nearly 1e-4 of the deviation; heights need not divide evenly."""
    x = torch.randn(2, 8, 250, 700, generator=torch.Generator().manual_seed(0)) + 5
    means, variances = strips._moments(x.to(memory_format=torch.channels_last))
    variance, mean = torch.var_mean(x.double(), dim=(2, 3), correction=0)
    assert ((means - mean).abs() / variance.sqrt()).max() < 1e-5
    assert (variances / variance - 1).abs().max() < 1e-5


def test_strips_keep_the_variance_of_a_nearly_constant_map():
    x = 10 + 1e-2 * noise(1, 8, 64, 16, dtype=torch.float32)
    norm = group_norm(8)
    with torch.inference_mode():
        gain, offset = strips.normalisation([x], norm)
    exact = F.group_norm(x.double(), 2, eps=1e-6).float()
    torch.testing.assert_close(gain * x + offset, exact, rtol=0, atol=0.05)


@pytest.mark.parametrize("shape", [(1, 1, 2, 2), (2, 3, 8, 12)])
def test_fir_is_filtering_and_zero_insertion(shape):
    x = noise(*shape, dtype=torch.float32)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    planes = x.flatten(0, 1)[:, None]
    kernel = torch.outer(taps, taps)[None, None] / 64
    every = F.conv2d(F.pad(planes, (1, 1, 1, 1)), kernel)[:, :, ::2, ::2]
    torch.testing.assert_close(FIRDown()(x).flatten(0, 1)[:, None], every)
    sparse = torch.zeros(len(planes), 1, 2 * shape[2], 2 * shape[3])
    sparse[:, :, ::2, ::2] = planes
    torch.testing.assert_close(FIRUp()(x).flatten(0, 1)[:, None], F.conv2d(F.pad(sparse, (2, 1, 2, 1)), 4 * kernel))


def test_fir_up_is_the_adjoint_of_down_times_four():
    x, y = noise(1, 2, 8, 8), noise(1, 2, 4, 4, seed=1)
    down, up = FIRDown().double(), FIRUp().double()
    assert torch.sum(down(x) * y) == pytest.approx(torch.sum(x * up(y)) / 4)


def test_attention_is_its_formula():
    layer = randomised(MapAttention(8))
    x = noise(2, 8, 3, 5)
    h = F.group_norm(x, 2, layer.norm.weight, layer.norm.bias, 1e-6).flatten(2)
    q, k, v = ((w @ h) + b[:, None] for w, b in zip(layer.qkv.weight.chunk(3), layer.qkv.bias.chunk(3), strict=True))
    weights = torch.softmax(torch.einsum("bci,bcj->bij", q, k) / math.sqrt(8), dim=-1)
    mixed = layer.out.weight @ torch.einsum("bij,bcj->bci", weights, v) + layer.out.bias[:, None]
    torch.testing.assert_close(layer(x), (x + mixed.view_as(x)) / math.sqrt(2))


@pytest.mark.parametrize("resample", [None, "down", "up"])
@pytest.mark.parametrize("lateral", [0, 4])
def test_residual_block_is_its_formula(resample, lateral):
    """The order in which shortcut and resampling are computed, biases and factors included."""
    block = randomised(ResidualBlock(8 + lateral, 8, time_features=6, resample=resample))
    x, time = noise(2, 8, 8, 8), noise(2, 6)
    side = noise(2, lateral, 8, 8, seed=3) if lateral else None
    whole = x if side is None else torch.cat([x, side], dim=1)
    resampler = {None: torch.nn.Identity(), "down": FIRDown().double(), "up": FIRUp().double()}[resample]
    h = block.conv_in(resampler(F.silu(block.norm_in(whole)))) + block.time(time)[:, :, None, None]
    h = block.conv_out(F.silu(block.norm_out(h)))
    skip = resampler(whole)
    expected = ((skip if block.skip is None else block.skip(skip)) + h) / math.sqrt(2)
    torch.testing.assert_close(block(x, time, side), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("resample", [None, "down", "up"])
def test_residual_block_in_strips_is_the_plain_one(monkeypatch, resample):
    monkeypatch.setattr(strips, "_WINOGRAD_POSITIONS", 1)
    monkeypatch.setattr(strips, "_STRIP_BYTES", 4000)
    block = randomised(ResidualBlock(12, 8, time_features=6, resample=resample)).float()
    x, side, time = (noise(*s, dtype=torch.float32) for s in ((2, 8, 16, 8), (2, 4, 16, 8), (2, 6)))
    expected = block(x, time, side)
    kept = x.clone(), side.clone()
    with torch.inference_mode():
        torch.testing.assert_close(block(x, time, side), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(x, kept[0])
    assert torch.equal(side, kept[1])


@pytest.mark.parametrize("resample", [None, "down", "up"])
def test_gradients_of_the_block(resample):
    block = randomised(ResidualBlock(8, 4, time_features=2, resample=resample))
    x, side, time = noise(1, 4, 2, 2), noise(1, 4, 2, 2, seed=1), noise(1, 2)
    for tensor in (x, side, time):
        tensor.requires_grad_()
    assert gradcheck(block, (x, time, side))


def test_dropout_acts_in_training_only():
    block = randomised(ResidualBlock(8, 8, time_features=None, dropout=0.5)).float()
    x = noise(1, 8, 8, 8, dtype=torch.float32)
    with torch.no_grad():
        block.train()
        assert not torch.equal(block(x, None), block(x, None))
        block.eval()
        assert torch.equal(block(x, None), block(x, None))


def test_new_branches_are_silent():
    """A new block is its shortcut, and new attention its input, up to the rescaling (initial scale 1e-10)."""
    x = noise(1, 8, 8, 8, dtype=torch.float32)
    torch.testing.assert_close(ResidualBlock(8, 8, time_features=None)(x, None), x / math.sqrt(2), rtol=0, atol=1e-3)
    torch.testing.assert_close(MapAttention(8)(x), x / math.sqrt(2), rtol=0, atol=1e-3)


def test_variance_scaling():
    """Uniform in sqrt(3 scale / fan_avg): variance scale / fan_avg."""
    weight = variance_scaling_(torch.empty(64, 32, 3, 3), 0.1)
    variance = 0.1 / ((64 + 32) * 9 / 2)
    assert float(weight.abs().max()) <= math.sqrt(3 * variance)
    assert float(weight.var()) == pytest.approx(variance, rel=0.05)
    assert not Conv(4, 4, 3).bias.any()


def test_groups():
    assert [group_norm(c).num_groups for c in (4, 16, 128, 256)] == [1, 4, 32, 32]
    with pytest.raises(ValueError, match="144 channels"):
        group_norm(144)


def test_frequencies_stay_exact():
    """Casting a network must not move the frequencies: the angles are hundreds of radians."""
    t = torch.tensor([0.03, 0.5, 1.0])
    layer = LogFourierFeatures(64)
    before, frequencies = layer(t), layer.frequencies.clone()
    layer.to(torch.bfloat16)
    assert torch.equal(layer.frequencies, frequencies)
    assert not layer.frequencies.requires_grad
    assert torch.equal(layer(t), before)
    assert TimeEmbedding(8).to(torch.bfloat16)(t).dtype == torch.bfloat16
    with torch.device("meta"):
        meta = LogFourierFeatures(64)
    assert meta.to(torch.bfloat16).frequencies.is_meta
    assert meta.to_empty(device="cpu").frequencies.dtype == torch.float32
