"""Schroedinger bridges: from the diffusion they are made of to their marginals, at both ends, and published values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gense.processes import BridgeVE, BridgeVP, Process
from tests.parity.fixtures import as_complex, load_parity, relative_error

BRIDGES = [BridgeVE(), BridgeVE(10.0, 0.1), BridgeVP(), BridgeVP(1.0, 5.0, 1.0)]
every_bridge = pytest.mark.parametrize("bridge", BRIDGES, ids=lambda p: type(p).__name__)


def table_1(bridge: BridgeVE | BridgeVP, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """alpha, sigma^2 and g^2 as the paper's Table 1 gives them."""
    if isinstance(bridge, BridgeVE):
        k, c = bridge.k, bridge.c
        return torch.ones_like(t), c * (k ** (2 * t) - 1) / (2 * math.log(k)), c * k ** (2 * t)
    whole = bridge.beta_0 * t + (bridge.beta_1 - bridge.beta_0) * t**2 / 2
    beta = bridge.beta_0 + t * (bridge.beta_1 - bridge.beta_0)
    return (-whole / 2).exp(), bridge.c * (whole.exp() - 1), bridge.c * beta


@every_bridge
def test_marginals_are_those_of_the_conditioned_diffusion(bridge) -> None:
    """Eq. 11: mean (alpha sigma_bar^2 clean + alpha_bar sigma^2 noisy) / sigma_1^2, deviation alpha sigma sigma_bar /
    sigma_1 with sigma_bar^2 = sigma_1^2 - sigma^2 and alpha_bar = alpha / alpha_1."""
    t = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    alpha, square, g_square = table_1(bridge, t)
    alpha_1, square_1, _ = table_1(bridge, torch.ones((), dtype=torch.float64))
    a, b, s = bridge.coefficients(t)
    torch.testing.assert_close(a, alpha * (square_1 - square) / square_1)
    torch.testing.assert_close(b, alpha / alpha_1 * square / square_1)
    torch.testing.assert_close(s, alpha * (square * (square_1 - square) / square_1).sqrt())
    torch.testing.assert_close(bridge.diffusion(t) ** 2, g_square)
    if isinstance(bridge, BridgeVE):
        torch.testing.assert_close(bridge.spread(t), square.sqrt())


@every_bridge
def test_the_marginals_alone_tell_the_published_diffusion(bridge) -> None:
    t = torch.linspace(0.02, 0.98, 25, dtype=torch.float64)
    torch.testing.assert_close(Process.diffusion(bridge, t), bridge.diffusion(t), rtol=1e-8, atol=0)


@every_bridge
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_ends_are_exact(bridge, dtype) -> None:
    clean, noisy = bridge.coefficients(torch.tensor([0.0, 1.0], dtype=dtype)), torch.tensor([1.0, 0.0], dtype=dtype)
    assert torch.equal(clean.a, noisy)
    assert torch.equal(clean.b, noisy.flip(0))
    assert torch.equal(clean.s, torch.zeros(2, dtype=dtype))


@every_bridge
def test_nothing_cancels_next_to_the_ends(bridge) -> None:
    """s^2 grows like g^2 times the distance to an end, and a like that to t = 1; in single precision as well."""
    near = torch.tensor([2.0**-20, 2.0**-15])
    for t, falls in ((near, False), (1 - near, True)):
        single, double = bridge.coefficients(t), bridge.coefficients(t.double())
        for one, two in zip(single, double, strict=True):
            torch.testing.assert_close(one.double(), two, rtol=2e-6, atol=0)
        halfway = ((1.0 if falls else 0.0) + t.double()) / 2
        torch.testing.assert_close(double.s**2, bridge.diffusion(halfway) ** 2 * near.double(), rtol=1e-3, atol=0)
        small = double.a if falls else double.b
        assert small[1] / small[0] == pytest.approx(32, rel=0.05)


def test_published_values() -> None:
    """The published code adds floors of 1e-8, which show in the deviation at the ends: 1e-4 at t = 1 where ours is 0,
    and single-precision rounding of 5e-7 at t = 1e-4; elsewhere values agree to 1e-6."""
    parity = load_parity("sgmse_sbve")
    bridge = BridgeVE(parity.config["sde_kwargs"]["k"], parity.config["sde_kwargs"]["c"])
    fixed = {k: as_complex(v) if v.shape[-1:] == (2,) else v for k, v in parity.tensors.items()}
    t = fixed["t"].double()
    a, b, s = bridge.coefficients(t)
    mean = a.reshape(-1, 1, 1, 1) * fixed["x0"] + b.reshape(-1, 1, 1, 1) * fixed["y"]
    assert relative_error(mean, fixed["marginal_mean"]) < 1e-6
    assert relative_error(s[1:-1], fixed["marginal_std"][1:-1]) < 1e-6
    torch.testing.assert_close(s, fixed["marginal_std"].double(), rtol=0, atol=1.01e-4)
    assert relative_error(bridge.diffusion(t), fixed["diffusion"]) < 1e-6
    assert torch.equal(bridge.spread(fixed["t"]), fixed["sigma_t"])
    assert torch.equal(bridge.spread(torch.ones(())), fixed["sigma_T"])
    assert torch.equal(fixed["alpha_t"], torch.ones(5))
    assert torch.equal(bridge.prior(fixed["y"], fixed["x"]).to(torch.complex64), fixed["prior_sample"])
    assert float(fixed["drift"]) == 0.0
