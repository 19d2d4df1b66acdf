"""The exponential integrator."""

from __future__ import annotations

import math

import pytest
import torch

from gense.samplers import euler, exponential, gaussian, replay
from tests.samplers.gaussian import (
    ANCHOR,
    BRIDGE,
    LINEAR_FLOW,
    MEAN,
    ORNSTEIN_UHLENBECK,
    PATHS,
    VARIANCE,
    GaussianField,
    draw,
    drawn_variance,
    flow,
    grid,
    moments,
)


class Oracle(GaussianField):
    """A network that knows the data: its estimate is constant along the path."""

    def __init__(self, path, data, anchor):
        super().__init__(path, data)
        self.known, self.anchor = data, anchor

    def estimate(self, x, t):
        estimate = super().estimate(x, t)
        estimate.data = self.known
        return estimate


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("steps", [1, 7])
def test_exact_for_a_constant_estimate(path, steps):
    """Whatever the number of steps the state keeps its noise, scaled: x' = a' data + b' anchor + s' z."""
    times = grid(path, steps, start=0.1, end=0.2)
    data, anchor, z = torch.randn(3, 1, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    a, b, s = path.coefficients(times[0])
    result = exponential(Oracle(path, data, anchor), a * data + b * anchor + s * z, times)
    a, b, s = path.coefficients(times[-1])
    torch.testing.assert_close(result, a * data + b * anchor + s * z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_ends_in_the_data_of_an_oracle(path, eta):
    """From end to end, singular or not, an estimate that is right gives the data itself."""
    times = grid(path, 6)
    data = torch.randn(1, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    x = draw(path, times[0], (1, 4, 5), torch.complex128)
    result = exponential(Oracle(path, data, torch.full_like(data, ANCHOR)), x, times, noise=gaussian(3), eta=eta)
    torch.testing.assert_close(result, data, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_draws_the_data(path, eta, dtype):
    """Mean and variance of 20000 samples agree with the exact ones of the walk, and these with the data's."""
    times = grid(path, 100, start=0.02)
    x = draw(path, times[0], (1, 200, 100), dtype)
    result = exponential(GaussianField(path, x), x, times, noise=gaussian(1), eta=eta)
    variance = drawn_variance(exponential, path, times, noise=torch.zeros_like, eta=eta)
    assert result.mean().real.item() == pytest.approx(MEAN, abs=0.02)
    assert (result - result.mean()).abs().square().mean().item() == pytest.approx(variance, rel=0.04)
    assert variance == pytest.approx(VARIANCE, rel=0.08)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_variance_is_of_weak_order_1(path, eta):
    errors = []
    for steps in (60, 120):
        times = grid(path, steps, start=0.1)
        errors.append(abs(drawn_variance(exponential, path, times, noise=torch.zeros_like, eta=eta) - VARIANCE))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.25), errors


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_eta_0_converges_to_the_flow(path):
    errors = []
    for steps in (50, 100, 200):
        times = grid(path, steps, start=0.1)
        x = draw(path, times[0], (1, 4, 5), torch.complex128)
        exact = flow(path, x, times[0], times[-1])
        errors.append(float((exponential(GaussianField(path, x), x, times) - exact).norm() / exact.norm()))
    assert errors[-1] < 0.01
    assert math.log2(errors[1] / errors[2]) == pytest.approx(1, abs=0.25), errors


def test_eta_0_is_euler_on_the_straight_path():
    times = grid(LINEAR_FLOW, 9)
    x = draw(LINEAR_FLOW, times[0], (2, 3, 4), torch.complex128)
    expected = euler(GaussianField(LINEAR_FLOW, x), x, times)
    torch.testing.assert_close(exponential(GaussianField(LINEAR_FLOW, x), x, times), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_bridge_sampler_in_published_terms(eta):
    """Jukic et al. 2024: weights of state, estimate, anchor and noise for the ODE and the SDE, at interior times."""
    times = torch.tensor([0.8, 0.5, 0.3], dtype=torch.float64)
    x = draw(BRIDGE, times[0], (1, 4, 5), torch.complex128)
    z = torch.randn(2, 1, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    field, steps = GaussianField(BRIDGE, x), []
    exponential(field, x, times, noise=replay(z), eta=eta, callback=steps.append)
    step = steps[0]
    variance, later, final = (0.4 * (2.6 ** (2 * t) - 1) / (2 * math.log(2.6)) for t in (0.8, 0.5, 1.0))
    data = field.estimate(x, times[0]).data
    if eta == 0:
        bar, bar_later = math.sqrt(final - variance), math.sqrt(final - later)
        sigma, sigma_later = math.sqrt(variance), math.sqrt(later)
        mean = (
            sigma_later * bar_later / (sigma * bar) * x
            + (bar_later**2 - bar * sigma_later * bar_later / sigma) / final * data
            + (later - sigma * sigma_later * bar_later / bar) / final * field.anchor
        )
        assert step.std == 0
    else:
        mean = later / variance * x + (1 - later / variance) * data
        assert float(step.std) == pytest.approx(math.sqrt(later * (1 - later / variance)))
    torch.testing.assert_close(step.mean, mean, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(step.x_next, mean + step.std * z[0], rtol=1e-10, atol=1e-10)


def test_bridge_from_its_anchor():
    """The bridge starts without noise: eta 0 stays deterministic, eta > 0 draws the noise of the marginal."""
    times = grid(BRIDGE, 200)
    x = torch.full((1, 400, 100), ANCHOR, dtype=torch.float64)
    still = exponential(GaussianField(BRIDGE, x), x, times)
    assert still.isfinite().all()
    assert still.var() < 1e-20
    result = exponential(GaussianField(BRIDGE, x), x, times, noise=gaussian(1), eta=1.0)
    assert result.mean().item() == pytest.approx(MEAN, abs=0.02)
    assert result.var().item() == pytest.approx(VARIANCE, rel=0.04)


def test_marginals_are_exact_when_the_data_is_a_point():
    """Any eta keeps the marginal of every step: here the recursion of the variance closes exactly."""
    path, times = ORNSTEIN_UHLENBECK, grid(ORNSTEIN_UHLENBECK, 5, end=0.1)
    point = torch.full((1, 1), MEAN, dtype=torch.float64)
    for eta in (0.2, 0.9, 1.0):
        variance, steps = path.coefficients(times[0])[2] ** 2, []
        field = Oracle(path, point, torch.full_like(point, ANCHOR))
        a, b, _ = path.coefficients(times[0])
        exponential(
            field,
            a * MEAN + b * ANCHOR + torch.ones_like(point),
            times,
            noise=torch.zeros_like,
            eta=eta,
            callback=steps.append,
        )
        for before, step in zip([None, *steps], steps[:-1], strict=False):
            now = path.coefficients(step.t)
            then = path.coefficients(step.t_next)
            offset = step.x - now[0] * MEAN - now[1] * ANCHOR
            rho = float((step.mean - then[0] * MEAN - then[1] * ANCHOR) / offset)
            variance = rho**2 * variance + step.std**2
            assert float(variance) == pytest.approx(float(then[2] ** 2), rel=1e-9), (eta, before)


def test_lookahead_asks_at_the_next_time():
    times = grid(ORNSTEIN_UHLENBECK, 4, end=0.05)
    x = draw(ORNSTEIN_UHLENBECK, times[0], (1, 4, 5), torch.complex64)
    for lookahead, expected in ((False, times[:-1]), (True, times[1:])):
        field = GaussianField(ORNSTEIN_UHLENBECK, x)
        exponential(field, x, times, lookahead=lookahead)
        assert field.times == expected.tolist()


def test_noise_is_drawn_once_a_step_and_only_if_asked_for():
    times = grid(ORNSTEIN_UHLENBECK, 4)
    x = draw(ORNSTEIN_UHLENBECK, times[0], (1, 4, 5), torch.complex64)
    source = replay(torch.randn(4, 1, 4, 5, dtype=torch.complex64))
    exponential(GaussianField(ORNSTEIN_UHLENBECK, x), x, times, noise=source, eta=1.0)
    with pytest.raises(ValueError, match="draw 5"):
        source(x)
    exponential(GaussianField(ORNSTEIN_UHLENBECK, x), x, times, noise=replay([]))


def test_bad_arguments():
    x = torch.ones(1, 4)
    field, times = GaussianField(ORNSTEIN_UHLENBECK, x), grid(ORNSTEIN_UHLENBECK, 4)
    for eta in (-0.1, 1.1):
        with pytest.raises(ValueError, match=f"eta={eta}"):
            exponential(field, x, times, noise=gaussian(0), eta=eta)
    with pytest.raises(ValueError, match="needs noise"):
        exponential(field, x, times, eta=0.5)
    with pytest.raises(ValueError, match="from noise to data"):
        exponential(field, x, times.flip(0)[1:], noise=gaussian(0), eta=0.5)
    field.anchor = None
    with pytest.raises(ValueError, match="anchor"):
        exponential(field, x, times)


def test_a_path_without_anchor_needs_none():
    times = grid(LINEAR_FLOW, 4)
    x = draw(LINEAR_FLOW, times[0], (1, 4), torch.float32)
    field = GaussianField(LINEAR_FLOW, x)
    expected = exponential(field, x, times)
    without = Oracle(LINEAR_FLOW, x, None)
    without.estimate = field.estimate
    assert torch.equal(exponential(without, x, times), expected)
    assert moments(LINEAR_FLOW, times[-1])[0] == MEAN
