"""The SDE of a flow with a noise level of one's choice, finite at the prior end."""

from __future__ import annotations

import math
from typing import cast

from torch import Tensor

from .schedules import intervals
from .types import Callback, Noise, PathField, RatedPath, report


def flow_sde(
    field: PathField,
    x: Tensor,
    times: Tensor,
    *,
    noise: Noise,
    level: float = 0.7,
    callback: Callback | None = None,
) -> Tensor:
    """Euler-Maruyama steps of the SDE from which Flow-GRPO draws its rollouts (Liu et al. 2025, arXiv 2505.05470).

    x' = x + dt velocity + 1/2 g^2 |dt| score + g sqrt|dt| noise with g^2 = level^2 (s/a) |a ds - s da|. On the straight
    path from noise to data this is level^2 (1 - t)/t, the paper's schedule in the times of that path; on any path it is
    level^2 / 2 of the squared diffusion of the path itself, so the marginals are those of the path. At the prior end,
    where a = 0, the a of the next time stands in the denominator, as in the published code. Unlike `euler_maruyama`,
    which refuses such a start, this sampler begins at the prior of a flow.

    Args:
        field: the field of a path that knows its rates; called once per step.
        x: state at times[0], (B, *shape). Never changed in place.
        times: grid, (steps + 1,).
        noise: drawn once per step if level > 0, in the last step too although it is not used there.
        level: >= 0; 0 is `euler`.
        callback: called with each `Step`.

    Returns:
        The mean of the last step, (B, *shape). The published code keeps that step's noise, and trains without the step.

    Raises:
        ValueError: the level is out of its range, a bad grid, or a step begins where the path has no noise.
    """
    if not (level >= 0 and math.isfinite(level)):
        raise ValueError(f"level={level}: need a finite number >= 0")
    for index, t, t_next, last in intervals(times):
        dt = float(t_next - t)
        std = math.sqrt(_squared_diffusion(cast(RatedPath, field.process), t, t_next) * abs(dt)) * level
        estimate = field.estimate(x, t)
        mean = x + dt * estimate.velocity
        if level > 0:
            mean = mean + std**2 / 2 * estimate.score
        x_next = mean + std * noise(x) if level > 0 else mean
        if last:
            x_next, std = mean, 0.0
        report(callback, index, t, t_next, x, mean, std, x_next)
        x = x_next
    return x


def _squared_diffusion(path: RatedPath, t: Tensor, t_next: Tensor) -> float:
    """(s/a) |a ds - s da|, with the a of the next time where a = 0."""
    (a, _, s), (da, _, ds) = path.coefficients(t), path.rates(t)
    if not s > 0:
        raise ValueError(f"no noise (s={s}) and hence no score at t={float(t):.6g}: start the time grid beside it")
    return float(s / (a if a > 0 else path.coefficients(t_next)[0]) * (a * ds - s * da).abs())
