"""ODE samplers: order of convergence, exact Gaussian flows, and torchdiffeq underneath."""

from __future__ import annotations

import cmath
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from gense.samplers import euler, heun, midpoint, odeint
from gense.samplers.ode import ADAPTIVE, FIXED
from tests.samplers.gaussian import LINEAR_FLOW, NOISY_FLOW, PATHS, GaussianField, draw, flow, grid

RATE = -0.5 + 2.0j


def spiral(x, t):
    return RATE * torch.cos(t) * x


def spiral_end(x, t, t_end):
    return x * cmath.exp(RATE * (math.sin(t_end) - math.sin(t)))


def fixed(method):
    return lambda field, x, times: odeint(field, x, times, solver=method)


ORDERS = {
    "euler": (euler, 1),
    "heun": (heun, 2),
    "midpoint": (midpoint, 2),
    "odeint euler": (fixed("euler"), 1),
    "odeint midpoint": (fixed("midpoint"), 2),
    "odeint heun2": (fixed("heun2"), 2),
    "odeint heun3": (fixed("heun3"), 3),
    "odeint rk4": (fixed("rk4"), 4),
}


@pytest.mark.parametrize(("sampler", "order"), ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(("start", "end"), [(0.0, 3.0), (3.0, 0.5)])
def test_order_of_convergence(sampler, order, start, end):
    x = torch.randn(2, 3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    exact = spiral_end(x, start, end)
    # unequal steps, so that a method which confuses a step with its neighbour would lose its order
    errors = []
    for steps in (40, 80, 160):
        u = torch.linspace(0, 1, steps + 1, dtype=torch.float64)
        errors.append(float((sampler(spiral, x, start + (end - start) * (u + u**2) / 2) - exact).norm() / exact.norm()))
    orders = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders[-1] == pytest.approx(order, abs=0.2), errors


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods_meet_their_tolerance_and_stay_inside(method):
    times_seen = []

    def field(x, t):
        times_seen.append(float(t))
        assert t.dtype == torch.float64
        assert x.dtype == torch.complex64
        return spiral(x, t)

    x = torch.randn(2, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    result = odeint(field, x, torch.tensor([1.0, 0.6, 0.03], dtype=torch.float64), solver=method, rtol=1e-5, atol=1e-5)
    assert result.dtype == torch.complex64
    torch.testing.assert_close(result, spiral_end(x, 1.0, 0.03), rtol=2e-4, atol=2e-4)
    assert max(times_seen) <= 1.0
    assert min(times_seen) >= 0.03


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods_land_on_the_end(method):
    """Every method is exact for dx/dt = t, unless it steps over the end, where t is held, and interpolates back."""
    x = torch.ones(1, 4, dtype=torch.float64)
    result = odeint(
        lambda x, t: t * torch.ones_like(x), x, torch.tensor([1.0, 0.3], dtype=torch.float64), solver=method
    )
    torch.testing.assert_close(result, x + (0.3**2 - 1) / 2, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ADAPTIVE)
def test_adaptive_methods_never_look_past_the_end(method):
    """A nearly constant state invites a huge first step, whose probe would lie far behind the end."""
    times_seen = []

    def field(x, t):
        times_seen.append(float(t))
        return 1e-3 * torch.ones_like(x)

    result = odeint(field, torch.ones(1, 4), torch.tensor([1.0, 0.5]), solver=method)
    assert min(times_seen) >= 0.5
    torch.testing.assert_close(result, torch.full((1, 4), 1 - 0.5e-3))


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize(("sampler", "tolerance"), [(euler, 0.03), (heun, 1e-3), (midpoint, 1e-3)])
def test_flow_of_gaussian_data(path, sampler, tolerance):
    """The exact solution is known for every element; the grid ends in the data, where the velocity is 0/0."""
    times = grid(path, 200, start=0.05)
    x = draw(path, times[0], (2, 3, 8), torch.complex64)
    field = GaussianField(path, x)
    result = sampler(field, x, times)
    exact = flow(path, x, times[0], times[-1])
    assert result.isfinite().all()
    # the bridge's noise falls like a square root at its end, where every rule loses its order
    bound = 0.05 if path is PATHS["bridge"] else tolerance
    assert (result - exact).norm() / exact.norm() < bound
    assert float(times[-1]) not in field.times
    assert field.calls == {euler: 200, heun: 399, midpoint: 400}[sampler]


@pytest.mark.parametrize("sampler", [euler, heun, midpoint])
@pytest.mark.parametrize("path", [LINEAR_FLOW, NOISY_FLOW], ids=["linear", "noisy"])
def test_one_step_and_whole_interval(path, sampler):
    """From one end to the other, in one step or in several, nothing is divided by a vanishing number."""
    times = grid(path, 5)
    x = draw(path, times[0], (2, 3, 8), torch.float32)
    for walk in (times, times[[0, -1]]):
        assert sampler(GaussianField(path, x), x, walk).isfinite().all()


@pytest.mark.parametrize("sampler", [euler, heun])
def test_last_step_lands_on_the_estimate_of_the_data(sampler):
    """On a straight path an Euler step into the data end is the network's last estimate itself."""
    times = torch.tensor([0.3, 0.7, 1.0], dtype=torch.float64)
    x = draw(LINEAR_FLOW, times[0], (1, 3, 8), torch.float64)
    steps = []
    result = sampler(GaussianField(LINEAR_FLOW, x), x, times, callback=steps.append)
    estimate = GaussianField(LINEAR_FLOW, x).estimate(steps[-1].x, times[-2]).data
    torch.testing.assert_close(result, estimate, rtol=1e-12, atol=1e-12)


def test_scipy_method_equals_scipy_and_dopri5_does_not():
    """Published codes integrate with scipy. Same pair, other error estimate: see the docstring of odeint."""
    calls = 0
    x = torch.randn(1, 1, 16, 8, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))

    def field(x, t):
        nonlocal calls
        calls += 1
        return 6j * x / (0.1 + x.abs()) + torch.cos(5 * t)

    def numpy_field(t, state):
        state = torch.from_numpy(state).to(torch.complex64).reshape(x.shape)
        return field(state, torch.tensor(t, dtype=torch.float64)).to(torch.complex128).numpy().reshape(-1)

    def distance(a, b):
        return float((a - b).norm() / b.norm())

    start = x.to(torch.complex128).numpy().reshape(-1)
    reference = solve_ivp(numpy_field, (1.0, 0.03), start, method="RK45", rtol=1e-3, atol=1e-3)
    expected = torch.from_numpy(np.ascontiguousarray(reference.y[:, -1])).to(torch.complex64).reshape(x.shape)
    expected_calls, calls = calls, 0
    times = torch.tensor([1.0, 0.03], dtype=torch.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        result = odeint(field, x, times, solver="scipy:RK45", rtol=1e-3, atol=1e-3)
    assert calls == expected_calls
    assert distance(result, expected) < 1e-6
    other = odeint(field, x, times, solver="dopri5", rtol=1e-3, atol=1e-3)
    assert distance(other, expected) > 1e-4
    exact = odeint(field, x, times, solver="dopri8", rtol=1e-7, atol=1e-7)
    assert distance(other, exact) < 0.1
    assert distance(expected, exact) < 0.1


@pytest.mark.parametrize("method", [*FIXED, "dopri5", "bosh3"])
def test_odeint_reports_accepted_steps(method):
    x = torch.randn(2, 3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([1.0, 0.7, 0.2, 0.0], dtype=torch.float64)
    steps = []
    result = odeint(spiral, x, times, solver=method, callback=steps.append)
    assert [step.index for step in steps] == list(range(len(steps)))
    assert torch.equal(steps[0].x, x)
    assert torch.equal(steps[-1].x_next, result)
    ends = [float(steps[0].t), *(float(step.t_next) for step in steps)]
    if method in FIXED:
        assert ends == times.tolist()
    else:
        assert (ends[0], ends[-1]) == (1.0, 0.0)
        assert len(steps) > 3
    for before, after in itertools.pairwise(steps):
        assert float(before.t_next) == float(after.t)
        assert torch.equal(before.x_next, after.x)
        if method in ADAPTIVE:  # each state lies on the solution that starts in x
            torch.testing.assert_close(after.x, spiral_end(x, 1.0, float(after.t)), rtol=1e-3, atol=1e-3)


def test_scipy_method_reports_one_step():
    x, steps = torch.ones(1, 3), []
    result = odeint(lambda x, t: -x, x, torch.tensor([0.0, 1.0]), solver="scipy:RK45", callback=steps.append)
    (step,) = steps
    assert (float(step.t), float(step.t_next)) == (0.0, 1.0)
    assert torch.equal(step.x_next, result)


@pytest.mark.parametrize("method", ["dopri5", "scipy:RK45"])
def test_step_limit_bounds_the_calls(method):
    calls = 0

    def field(x, t):
        nonlocal calls
        calls += 1
        return torch.sin(1000 * t) * 1000 * x

    with pytest.raises(RuntimeError, match="step_limit"):
        odeint(field, torch.ones(1, 3), torch.tensor([0.0, 1.0]), solver=method, step_limit=20)
    assert calls <= 20 * ADAPTIVE[method] + 5


@pytest.mark.parametrize("method", ["rk4", "dopri5", "scipy:RK45"])
def test_a_singular_end_is_an_error_not_nan(method):
    def field(x, t):
        return (x - x) / (t - t) if t < 1e-3 else -x

    with pytest.raises(RuntimeError, match="odeint"):
        odeint(field, torch.ones(1, 3), torch.tensor([1.0, 0.5, 0.0]), solver=method)


def test_odeint_follows_the_gradient():
    x = torch.ones(1, 3, dtype=torch.float64, requires_grad=True)
    for method in ("rk4", "dopri5"):
        times = torch.linspace(0, 1, 21, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(odeint(lambda x, t: -x, x, times, solver=method).sum(), x)
        torch.testing.assert_close(gradient, torch.full_like(x, math.exp(-1)), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"solver": "RK45"}, "solver='RK45': expected one of euler"),
        ({"rtol": 0.0}, "rtol=0.0"),
        ({"atol": -1.0}, "atol=-1.0"),
        ({"step_limit": 0}, "step_limit=0"),
    ],
)
def test_odeint_arguments(arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        odeint(spiral, torch.ones(1, 3), torch.tensor([1.0, 0.0]), **arguments)
