"""The dual-path transformer: shapes, inputs, invariances, what it sees."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gense.backbones import DualPath

BANDS = ((4, 2), (2, 4))  # 16 bins


def network(**settings) -> DualPath:
    torch.manual_seed(0)
    net = DualPath(**{"bands": BANDS, "dim": 16, "depth": 2, **settings})
    for parameter in net.parameters():
        if parameter.ndim > 1:  # several layers start at zero
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def spectra(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("inputs", [1, 2, 3])
@pytest.mark.parametrize("taps", [1, 5])
def test_output_is_shaped_like_the_state(inputs, patch, taps) -> None:
    x, *rest = spectra(inputs, 2, 1, 16, 8)
    cond = {str(i): value for i, value in enumerate(rest)}
    out = network(inputs=inputs, patch=patch, taps=taps)(x, torch.tensor([0.1, 0.9]), cond)
    assert out.shape == x.shape
    assert out.dtype == torch.complex64


def test_it_begins_at_nothing_and_learns_from_there() -> None:
    """All outputs start at zero, and still every weight but those of the time gets a gradient within two steps."""
    torch.manual_seed(0)
    net, (x, y) = DualPath(bands=BANDS, dim=16, depth=2), spectra(2, 2, 1, 16, 8)
    assert not net(x, torch.ones(2), {"noisy": y}).any()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        (net(x, torch.tensor([0.1, 0.9]), {"noisy": y}) - y).abs().square().mean().backward()
        optimizer.step()
    assert [name for name, p in net.named_parameters() if not p.grad.any()] == []


@pytest.mark.parametrize("taps", [1, 3])
def test_gains_filter_the_bin_that_they_belong_to(taps) -> None:
    """With biases of the last layer alone the output is the input, moved by the frames that the tap says."""
    net, (x, y) = network(taps=taps), spectra(2, 2, 1, 16, 8)
    inputs = 2
    for layer, (_, width) in zip(net.join.layers, BANDS, strict=True):
        nn.init.zeros_(layer.weight)
        bias = torch.zeros(width, net.patch, inputs * taps + 1, 2)
        bias[:, :, 1 + taps, 0] = 1.0  # real part of the first gain on the condition, which looks back
        layer.bias.data.copy_(bias.flatten().expand_as(layer.bias))
    side = taps // 2
    expected = torch.zeros_like(y)
    expected[..., side:] = y[..., : y.shape[-1] - side]
    torch.testing.assert_close(net(x, torch.ones(2), {"noisy": y}), expected)


def test_a_bin_and_a_frame_reach_every_other() -> None:
    net, (x, y) = network(depth=1), spectra(2, 1, 1, 16, 64)
    far = y.clone()
    far[..., 0, 0] += 1.0
    t = torch.ones(1)
    change = (net(x, t, {"noisy": y}) - net(x, t, {"noisy": far})).abs()
    assert bool((change[..., 15, 63] > 0).all())


def test_training_and_use_compute_the_same() -> None:
    """Attention is written out where gradients are wanted and fused where they are not."""
    net, (x, y) = network(), spectra(2, 2, 1, 16, 8)
    out = net(x, torch.ones(2), {"noisy": y})
    assert out.requires_grad
    with torch.no_grad():
        torch.testing.assert_close(net(x, torch.ones(2), {"noisy": y}), out.detach(), rtol=1e-4, atol=1e-5)


def test_it_works_without_time_and_on_the_meta_device() -> None:
    net, (x,) = network(inputs=1, timed=False), spectra(1, 1, 1, 16, 8)
    assert net(x, None, {}).shape == x.shape
    with torch.device("meta"):
        assert all(p.is_meta for p in DualPath().parameters())


@pytest.mark.parametrize("settings", [{"taps": 2}, {"kernel": (2, 3)}, {"heads": 3}])
def test_impossible_settings_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="need odd taps and kernel"):
        network(**settings)


@pytest.mark.parametrize(
    ("shape", "cond", "t", "message"),
    [
        ((1, 1, 16, 7), {"noisy"}, 1.0, "7 frames.*multiple of 2 frames"),
        ((1, 1, 15, 8), {"noisy"}, 1.0, "15 bins.*hold 16 bins"),
        ((1, 1, 16, 8), {"noisy"}, None, "t is None"),
    ],
)
def test_impossible_input_is_refused(shape, cond, t, message) -> None:
    x = spectra(*shape)
    with pytest.raises(ValueError, match=message):
        network()(x, None if t is None else torch.tensor([t]), dict.fromkeys(cond, x))
