"""The SDE of Flow-GRPO: the law of what it draws, its limits, and its published schedule."""

from __future__ import annotations

import math

import pytest
import torch

from gense.samplers import euler, euler_maruyama, flow_sde, gaussian
from tests.samplers.gaussian import BRIDGE, LINEAR_FLOW, NOISY_FLOW, VARIANCE, GaussianField, draw, drawn_variance, grid

FLOWS = pytest.mark.parametrize("path", [LINEAR_FLOW, NOISY_FLOW], ids=["linear_flow", "noisy_flow"])


@FLOWS
@pytest.mark.parametrize("level", [0.3, 0.7, 1.0])
def test_it_draws_the_data_from_the_prior_itself(path, level):
    """The variance without sampling errors, from t_prior on: right for every level where steps are small."""
    times = grid(path, 800, stop=1 / 800)
    drawn = drawn_variance(flow_sde, path, times, level=level, noise=torch.zeros_like)
    assert drawn == pytest.approx(VARIANCE, rel=0.01)


@FLOWS
def test_level_0_is_euler_and_draws_nothing(path):
    times, x = grid(path, 8), draw(path, torch.tensor(path.prior, dtype=torch.float64), (2, 3, 5), torch.complex64)

    def refuse(like):
        raise AssertionError("no noise was needed")

    walked = flow_sde(GaussianField(path, x), x, times, noise=refuse, level=0)
    torch.testing.assert_close(walked, euler(GaussianField(path, x), x, times))


@FLOWS
def test_away_from_the_prior_it_is_the_paths_own_sde_with_less_churn(path):
    times = grid(path, 6, start=0.1)
    x = draw(path, times[0], (2, 3, 5), torch.float64)
    own, other = (
        sampler(GaussianField(path, x), x, times, noise=gaussian(1), **options)
        for sampler, options in ((flow_sde, {"level": 0.7}), (euler_maruyama, {"churn": 0.7**2 / 2}))
    )
    torch.testing.assert_close(own, other)


def test_the_deviation_is_the_published_one():
    """level sqrt((1 - t)/t) sqrt(h) on the straight path from noise, and with t_1 in the denominator at the start."""
    steps, times = [], grid(LINEAR_FLOW, 8)
    x = torch.zeros(1, 4)
    flow_sde(GaussianField(LINEAR_FLOW, x), x, times, noise=gaussian(0), callback=steps.append)
    expected = [0.7 * math.sqrt((1 - t) / (t or 0.125) * 0.125) for t in times[:-2].tolist()]
    assert [float(step.std) for step in steps] == pytest.approx([*expected, 0.0])


def test_impossible_walks_are_refused():
    x = torch.zeros(1, 4)
    for level in (-0.1, math.inf):
        with pytest.raises(ValueError, match=r"level=.*: need a finite number >= 0"):
            flow_sde(GaussianField(LINEAR_FLOW, x), x, grid(LINEAR_FLOW, 4), noise=gaussian(0), level=level)
    with pytest.raises(ValueError, match=r"no noise .* at t=1: start the time grid beside it"):
        flow_sde(GaussianField(BRIDGE, x), x, grid(BRIDGE, 4), noise=gaussian(0))
