"""Every process under every sampler on Gaussian data, where the best network and the law of the result are formulas.

The data is N(MEAN, VARIANCE) for each element, so that the marginal at time t is N(a MEAN + b ANCHOR, a^2 VARIANCE +
s^2). Where a pair does not suit, the reason must be told.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from gense import processes, samplers
from gense.processes import BridgeVE, PathField, Process
from gense.samplers import gaussian, schedules
from tests.samplers.gaussian import ANCHOR, MEAN, VARIANCE, draw, moments

PROCESSES = [
    value() for value in (getattr(processes, name) for name in processes.__all__)
    if isinstance(value, type) and issubclass(value, Process) and value is not Process
]
SAMPLERS = [
    name for name in samplers.__all__
    if inspect.isfunction(getattr(samplers, name))
    and list(inspect.signature(getattr(samplers, name)).parameters)[:3] == ["field", "x", "times"]
]
STEPS = {
    "euler": 200, "heun": 32, "midpoint": 32, "odeint": 1, "euler_maruyama": 64, "predictor_corrector": 48,
    "exponential": 128, "flow_sde": 64,
}  # fmt: skip
every_process = pytest.mark.parametrize("process", PROCESSES, ids=lambda p: type(p).__name__)


def time(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


BRIDGES = [process for process in PROCESSES if process.coefficients(time(process.t_prior)).s == 0]
NO_DATA = [process for process in PROCESSES if process.coefficients(time(process.t_prior)).a == 0]
every_bridge = pytest.mark.parametrize("process", BRIDGES, ids=lambda p: type(p).__name__)


def towards_data(process: Process, share: float) -> float:
    return process.t_prior + share * (process.t_data - process.t_prior)


def field(process: Process, like: Tensor, predicts: str = "data") -> PathField:
    """The exact field: its network is the mean of the data, or of what follows from it, given the state."""
    anchor = torch.full_like(like, ANCHOR)

    def predict(x: Tensor, t: Tensor) -> Tensor:
        (a, b, s), (mean, variance) = process.coefficients(t), moments(process, t)
        data = MEAN + (a * VARIANCE / variance if variance > 0 else 0.0) * (x - mean)
        return {"data": lambda: data, "score": lambda: (mean - x) / variance, "mean": lambda: a * data + b * anchor,
                "noise": lambda: (x - a * data - b * anchor) / s}[predicts]()  # fmt: skip

    return process.field(predict, predicts, anchor)


def sampled(
    process: Process, name: str, *, start: float = 0.0, end: float = 1.0, steps: int | None = None,
    predicts: str = "data", **options: Any,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(mean, variance) of what is drawn, and what they should be. Start and end are shares of the way to the data."""
    sampler: Callable[..., Tensor] = getattr(samplers, name)
    first, last = towards_data(process, start), towards_data(process, end)
    times = schedules.uniform(steps or STEPS[name], start=first, end=last)
    x = draw(process, time(first), (20000,), torch.float64)
    if "noise" in inspect.signature(sampler).parameters:
        options["noise"] = gaussian(1)
    out = sampler(field(process, x, predicts), x, times, **options)
    return out.mean(), out.var(), *moments(process, time(last))


@every_process
@pytest.mark.parametrize("name", ["euler", "heun", "midpoint", "odeint", "euler_maruyama", "predictor_corrector"])
def test_integrators_draw_the_data(process: Process, name: str) -> None:
    """They start beside the singular prior of a bridge, and of flow matching where the SDE's diffusion is infinite."""
    beside = process in BRIDGES or (process in NO_DATA and name in ("euler_maruyama", "predictor_corrector"))
    end = 0.99 if name == "odeint" else 1.0
    options = {"snr": 0.1} if name == "predictor_corrector" else {}
    mean, variance, true_mean, true_variance = sampled(
        process, name, start=0.05 if beside else 0.0, end=end, **options
    )
    assert mean == pytest.approx(float(true_mean), abs=0.025)
    assert variance == pytest.approx(float(true_variance), abs=0.02)


@pytest.mark.parametrize("process", [p for p in PROCESSES if p not in BRIDGES], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_the_exponential_integrator_draws_the_data(process: Process, eta: float) -> None:
    mean, variance, true_mean, true_variance = sampled(process, "exponential", eta=eta)
    assert mean == pytest.approx(float(true_mean), abs=0.025)
    assert variance == pytest.approx(float(true_variance), abs=0.02)


@every_bridge
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_bridge_from_its_anchor_draws_the_data_with_noise_and_its_mean_without(process: Process, eta: float) -> None:
    mean, variance, true_mean, true_variance = sampled(process, "exponential", eta=eta)
    assert mean == pytest.approx(float(true_mean), abs=0.025)
    assert variance == pytest.approx(float(true_variance) if eta > 0 else 0.0, abs=0.025)


def test_beside_its_anchor_a_bridge_needs_noise_to_forget_where_it_started() -> None:
    bridge, x = BridgeVE(), torch.full((20000,), ANCHOR, dtype=torch.float64)
    times = schedules.uniform(100, start=0.98, end=0.0)
    noisy = samplers.euler_maruyama(field(bridge, x), x, times, noise=gaussian(1))
    assert noisy.mean() == pytest.approx(MEAN, abs=0.025)
    assert noisy.var() == pytest.approx(VARIANCE, abs=0.02)
    assert abs(float(samplers.heun(field(bridge, x), x, times).mean()) - MEAN) > 0.1


@every_bridge
def test_lookahead_costs_an_error_of_the_order_of_the_step(process: Process) -> None:
    errors = [
        abs(float(sampled(process, "exponential", steps=steps, lookahead=True)[0]) - MEAN) for steps in (100, 400)
    ]
    assert errors[1] < 0.4 * errors[0] < 0.02


@every_process
@pytest.mark.parametrize("predicts", ["score", "mean", "noise"])
def test_what_is_predicted_makes_no_difference(process: Process, predicts: str) -> None:
    first, second = (
        sampled(process, "heun", start=0.02, end=0.95, steps=10, predicts=quantity)[:2]
        for quantity in ("data", predicts)
    )
    torch.testing.assert_close(torch.stack(first), torch.stack(second))


@every_process
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_start_at_the_prior_works_or_tells_why_not(process: Process, name: str) -> None:
    """Every pair is met here: it draws finite states from the prior end itself, or refuses."""
    bridge, sde = process in BRIDGES, name in ("euler_maruyama", "flow_sde", "predictor_corrector")
    reasons = {
        "average": "no average velocity, which a network must be trained for",
        "bridge_ode": None if isinstance(process, BridgeVE) else f"{type(process).__name__} has no spread.*exponential",
        "exponential": None,
    }
    if name in reasons:
        reason = reasons[name]
    elif bridge:
        reason = "no noise .* at t=1: start the time grid beside it" if sde else "at t=1 is 0/0.*no noise there"
    elif sde and process in NO_DATA and name != "flow_sde":
        reason = "the diffusion is inf at t=.: start the time grid beside it"
    else:
        reason = None
    if reason is None:
        assert all(value.isfinite() for value in sampled(process, name, end=0.9, steps=4))
    else:
        with pytest.raises(ValueError, match=reason):
            sampled(process, name, end=0.9, steps=4)


@pytest.mark.parametrize("c", [0.4, 0.8, 0.4 / 1.2056])
@pytest.mark.parametrize("steps", [50, 200])
def test_the_published_deterministic_bridge_keeps_the_noise_of_its_floors(c: float, steps: int) -> None:
    """The start counts as noise of (1 - 1 / sigma_1) times the anchor, and the flow keeps that many deviations."""
    bridge = BridgeVE(2.6, c)
    exact, published = (
        float(sampled(bridge, name, end=1 - 1e-4, steps=steps, **options)[0])
        for name, options in (("exponential", {"lookahead": True}), ("bridge_ode", {}))
    )
    noise = (1 - 1 / float(bridge.spread(time(1.0)))) * ANCHOR
    assert published - exact == pytest.approx(noise * VARIANCE**0.5, rel=0.1, abs=1e-3)


def test_a_velocity_that_is_not_there_is_refused_for_other_predictions_too() -> None:
    x = torch.zeros(1, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"at t=1 is 0/0.*no speech there"):
        field(BridgeVE(), x, "noise")(x, time(1.0))
