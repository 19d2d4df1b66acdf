"""The compact U-Net: shapes, inputs, invariances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gense.backbones import UNet


def network(**settings) -> UNet:
    torch.manual_seed(0)
    net = UNet(**{"channels": (8, 16), "blocks": 1, "time_dim": 16, **settings})
    for parameter in net.parameters():
        if parameter.ndim > 1:  # several layers start at zero
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def spectra(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("patch", [(1, 1), (2, 2), (4, 2)])
@pytest.mark.parametrize("inputs", [1, 2, 3])
def test_output_is_shaped_like_the_state(inputs, patch) -> None:
    x, *rest = spectra(inputs, 2, 1, 32, 16)
    cond = {str(i): value for i, value in enumerate(rest)}
    out = network(inputs=inputs, patch=patch)(x, torch.tensor([0.1, 0.9]), cond)
    assert out.shape == x.shape
    assert out.dtype == torch.complex64


def test_folding_into_patches_is_undone() -> None:
    """With the gain on the state as the only output, the network passes the state through."""
    net, (x, y) = network(), spectra(2, 2, 1, 16, 16)
    nn.init.zeros_(net.head.weight)
    nn.init.zeros_(net.head.bias)
    area = 4
    with torch.no_grad():
        net.head.bias[2 * area : 3 * area] = 1.0  # real part of the gain on the state
    torch.testing.assert_close(net(x, torch.ones(2), {"noisy": y}), x)


def test_it_works_without_time_and_on_the_meta_device() -> None:
    net, (x,) = network(inputs=1, time_dim=0), spectra(1, 1, 1, 16, 16)
    assert net(x, None, {}).shape == x.shape
    with torch.device("meta"):
        assert all(p.is_meta for p in UNet().parameters())


def test_a_second_time_matters_once_trained_and_leaves_the_other_weights_their_names() -> None:
    one, two = network(), UNet(channels=(8, 16), blocks=1, time_dim=16, times=2)
    missing, unexpected = two.load_state_dict(one.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("span.") for name in missing)
    (x, y), t = spectra(2, 2, 1, 16, 16), torch.tensor([0.5, 0.9])
    for r in (t, torch.zeros(2)):
        torch.testing.assert_close(two(x, torch.stack([t, r], dim=1), {"noisy": y}), one(x, t, {"noisy": y}))
    nn.init.normal_(two.span[-2].weight, std=0.1)
    outs = [two(x, torch.stack([t, r], dim=1), {"noisy": y}) for r in (t, torch.zeros(2))]
    assert not torch.allclose(*outs, rtol=1e-3)


@pytest.mark.parametrize(("times", "t"), [(1, torch.ones(2, 2)), (2, torch.ones(2)), (2, torch.ones(2, 3))])
def test_the_wrong_number_of_times_is_refused(times, t) -> None:
    x, y = spectra(2, 2, 1, 16, 16)
    with pytest.raises(ValueError, match=f"times={times} and needs"):
        network(times=times)(x, t, {"noisy": y})


@pytest.mark.parametrize("settings", [{"times": 3}, {"times": 2, "time_dim": 0}])
def test_impossible_times_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="expected 1 or 2 times"):
        network(**settings)


@pytest.mark.parametrize(
    ("shape", "cond", "t", "message"),
    [
        ((1, 1, 16, 18), {"noisy"}, 1.0, "18 frames: this U-Net needs a multiple of 4"),
        ((1, 1, 15, 16), {"noisy"}, 1.0, "15 bins"),
        ((1, 1, 16, 16), {"noisy"}, None, "t is None"),
    ],
)
def test_impossible_input_is_refused(shape, cond, t, message) -> None:
    x = spectra(*shape)
    with pytest.raises(ValueError, match=message):
        network()(x, None if t is None else torch.tensor([t]), dict.fromkeys(cond, x))
