"""The sampler of average velocities: exact on every grid, and refused where there is no average."""

from __future__ import annotations

import itertools

import pytest
import torch

from gense.samplers import average, euler, odeint
from tests.samplers.gaussian import PATHS, GaussianField, draw, flow, grid

every_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


@every_path
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_with_the_exact_average_any_grid_gives_the_exact_solution(path, steps):
    times = grid(path, steps, start=0.05, end=0.05)
    x = draw(path, times[0], (2, 3, 8), torch.complex128)
    field = GaussianField(path, x)
    result = average(field, x, times)
    torch.testing.assert_close(result, flow(path, x, times[0], times[-1]), rtol=1e-12, atol=1e-12)
    fine = odeint(field, x, times, solver="dopri8", rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(result, fine, rtol=0, atol=1e-7)


@every_path
def test_the_step_is_the_one_that_euler_makes_with_an_average(path):
    """Each call is told where its step begins and where it ends."""
    times, told = grid(path, 4, start=0.05, end=0.05), []
    x = draw(path, times[0], (1, 2, 3), torch.complex64)

    class Field:
        def average(self, x, t, t_next):
            told.append((float(t), float(t_next)))
            return x.conj()

    result = average(Field(), x, times)
    assert told == list(itertools.pairwise(times.tolist()))
    assert torch.equal(result, euler(lambda x, t: x.conj(), x, times))


def test_a_field_without_an_average_is_refused():
    with pytest.raises(ValueError, match=r"no average velocity.*euler"):
        average(lambda x, t: x, torch.ones(1, 2), torch.tensor([1.0, 0.0]))
