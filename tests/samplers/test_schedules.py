"""Time grids."""

from __future__ import annotations

import math

import pytest
import torch

from gense.samplers import schedules
from gense.samplers.schedules import cosine, intervals, karras, sway, uniform

ALL = [getattr(schedules, name) for name in schedules.__all__]


@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize(("start", "end"), [(1.0, 0.0), (0.0, 1.0), (1.0, 0.03), (0.1, 0.7), (80.0, 0.0), (-1.0, 2.0)])
@pytest.mark.parametrize("steps", [1, 2, 3, 30, 1000])
def test_ends_are_exact_and_time_is_monotone(schedule, start, end, steps):
    times = schedule(steps, start=start, end=end)
    assert times.shape == (steps + 1,)
    assert times.dtype == torch.float64
    assert times.device.type == "cpu"
    assert times[0] == start
    assert times[-1] == end
    assert (times.diff() * (end - start) > 0).all()


@pytest.mark.parametrize("schedule", ALL)
def test_time_reversal_mirrors_the_grid(schedule):
    down, up = schedule(12, start=1.0, end=0.0, stop=0.04), schedule(12, start=0.0, end=1.0, stop=0.96)
    torch.testing.assert_close(1 - down, up, rtol=0, atol=1e-14)


@pytest.mark.parametrize("schedule", ALL)
def test_stop_is_where_the_last_step_begins(schedule):
    times = schedule(7, stop=0.03)
    assert times.shape == (8,)
    assert times[-2:].tolist() == [0.03, 0.0]
    assert schedule(2, stop=0.03).tolist() == [1.0, 0.03, 0.0]
    assert schedule(1, stop=0.03).tolist() == [1.0, 0.0]
    if schedule is not karras:  # whose spacing depends on stop by definition
        torch.testing.assert_close(times[:-1], schedule(6, end=0.03), rtol=0, atol=0)


def test_uniform_with_stop_is_the_grid_of_score_models():
    torch.testing.assert_close(uniform(30, stop=0.03)[:-1], torch.linspace(1, 0.03, 30, dtype=torch.float64))


def test_cosine_progress():
    expected = [1 - (1 - math.cos(math.pi * i / 5)) / 2 for i in range(6)]
    torch.testing.assert_close(cosine(5), torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15)


def test_sway_progress_and_special_cases():
    u = torch.linspace(0, 1, 9, dtype=torch.float64)
    expected = u - 0.5 * (torch.cos(math.pi / 2 * u) - 1 + u)
    torch.testing.assert_close(sway(8, start=0.0, end=1.0, coefficient=-0.5), expected, rtol=0, atol=1e-15)
    torch.testing.assert_close(sway(8, coefficient=0.0), uniform(8), rtol=0, atol=1e-15)
    one_sided = 1 - torch.cos(math.pi / 2 * u)
    torch.testing.assert_close(sway(8, start=0.0, end=1.0), one_sided, rtol=0, atol=1e-15)


@pytest.mark.parametrize("coefficient", [-1.0, 2 / (math.pi - 2)])
def test_sway_limits_are_monotone_and_sharp(coefficient):
    assert (sway(1000, start=0.0, end=1.0, coefficient=coefficient).diff() > 0).all()
    with pytest.raises(ValueError, match="coefficient"):
        sway(10, coefficient=coefficient * 1.001)


def test_karras_is_equation_5():
    steps, largest, smallest, rho = 18, 80.0, 0.002, 7.0
    expected = [
        (largest ** (1 / rho) + i / (steps - 1) * (smallest ** (1 / rho) - largest ** (1 / rho))) ** rho
        for i in range(steps)
    ]
    times = karras(steps, start=largest, end=0.0, stop=smallest, rho=rho)
    torch.testing.assert_close(times, torch.tensor([*expected, 0.0], dtype=torch.float64), rtol=1e-12, atol=0)


def test_karras_chooses_its_own_last_step_and_rho_1_is_uniform():
    assert karras(10, start=2.0, smallest=0.05)[-2].item() == pytest.approx(0.1, rel=1e-15)
    torch.testing.assert_close(karras(10, stop=0.03, rho=1.0), uniform(10, stop=0.03), rtol=0, atol=1e-15)


@pytest.mark.parametrize("schedule", ALL)
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"steps": 0}, "steps=0"),
        ({"steps": 3, "start": 0.5, "end": 0.5}, "start=0.5"),
        ({"steps": 3, "start": float("inf")}, "start=inf"),
        ({"steps": 3, "end": float("nan")}, "end=nan"),
        ({"steps": 3, "stop": 0.0}, "stop=0.0"),
        ({"steps": 3, "stop": 1.0}, "stop=1.0"),
        ({"steps": 1, "stop": 1.5}, "stop=1.5"),
        ({"steps": 3, "stop": float("nan")}, "stop=nan"),
    ],
)
def test_bad_arguments(schedule, arguments, complaint):
    with pytest.raises(ValueError, match=complaint):
        schedule(**arguments)


@pytest.mark.parametrize("schedule", ALL)
def test_steps_must_be_whole(schedule):
    with pytest.raises(TypeError):
        schedule(2.5)


@pytest.mark.parametrize("arguments", [{"rho": 0.0}, {"rho": float("inf")}, {"smallest": 0.0}, {"smallest": 1.0}])
def test_karras_parameters(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        karras(5, **arguments)


def test_intervals_walk_the_grid_on_the_host():
    walked = list(intervals(torch.tensor([0.0, 0.25, 1.0], dtype=torch.float32)))
    assert [(index, float(t), float(t_next), last) for index, t, t_next, last in walked] == [
        (0, 0.0, 0.25, False),
        (1, 0.25, 1.0, True),
    ]
    assert all(t.dtype == torch.float64 for _, t, _, _ in walked)


@pytest.mark.parametrize(
    "times", [[1.0], [[1.0, 0.0]], [1.0, 1.0, 0.0], [0.0, 1.0, 0.5], [1.0, float("nan")], [float("inf"), 0.0]]
)
def test_intervals_refuse_other_grids(times):
    with pytest.raises(ValueError, match="times"):
        intervals(torch.tensor(times))
