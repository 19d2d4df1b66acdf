"""Folding time and inputs into the weights of a U-Net changes nothing where it should not."""

from __future__ import annotations

import pytest
import torch

from gense.backbones import UNet
from gense.training.fold import with_one_input, without_time

SIZES = {"channels": (8, 16), "blocks": 1}


@pytest.fixture
def network() -> UNet:
    torch.manual_seed(0)
    network = UNet(inputs=2, time_dim=16, **SIZES)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return network


def test_the_plain_network_does_what_the_timed_one_does_at_that_time(network) -> None:
    x, noisy = torch.randn(2, 2, 1, 16, 8, dtype=torch.complex64)
    for t in (1.0, 0.3):
        plain = UNet(inputs=2, time_dim=0, **SIZES)
        plain.load_state_dict(without_time(network, t))
        expected = network(x, torch.full((2,), t), {"noisy": noisy})
        torch.testing.assert_close(plain(x, None, {"noisy": noisy}), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(network(x, torch.zeros(2), {"noisy": noisy}), expected, rtol=1e-2, atol=1e-2)


def test_one_input_does_what_equal_inputs_do(network) -> None:
    x = torch.randn(2, 1, 16, 8, dtype=torch.complex64)
    single = UNet(inputs=1, time_dim=0, **SIZES)
    single.load_state_dict(with_one_input(network, without_time(network, 1.0)))
    expected = network(x, torch.ones(2), {"noisy": x})
    torch.testing.assert_close(single(x, None, {}), expected, rtol=1e-4, atol=1e-4)


def test_a_network_without_a_single_time_is_refused() -> None:
    for network in (UNet(time_dim=0, **SIZES), UNet(times=2, **SIZES)):
        with pytest.raises(ValueError, match="no time, or two"):
            without_time(network, 1.0)
