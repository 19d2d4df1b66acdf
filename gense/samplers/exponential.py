"""The exponential integrator: exact for a constant estimate of the data, from ODE to ancestral sampling."""

from __future__ import annotations

import math

from torch import Tensor

from .schedules import intervals
from .types import Callback, Noise, Path, PathField, report


def exponential(
    field: PathField,
    x: Tensor,
    times: Tensor,
    *,
    noise: Noise | None = None,
    eta: float = 0.0,
    lookahead: bool = False,
    callback: Callback | None = None,
) -> Tensor:
    """Walk a Gaussian path by its marginals (Song, Meng and Ermon 2021, eq. 12, for an affine path).

    With the network's estimate of the data, and primes for the next time, a step is
    x' = a' data + b' anchor + rho (x - a data - b anchor) + sqrt(s'^2 - rho^2 s^2) noise,
    rho = (1 - eta) s'/s + eta (a/a') (s'/s)^2. eta = 0 is DDIM, on the straight path from noise also Euler's method;
    eta = 1 is ancestral sampling; on Schroedinger bridges they are the ODE and the SDE sampler of Jukic et al. (2024).
    In between, eta interpolates rho. The mean is subtracted first, so nothing cancels near a singular end. The returned
    state is the mean of the last step: with s' = 0 the last estimate of the data itself.

    Where s = 0 at the start of a step (a bridge that starts in its anchor) the state holds no noise and rho is 0. With
    eta = 0 such a walk stays deterministic; any eta > 0 draws the noise of the whole marginal there.

    Args:
        field: the field of a path; called once per step.
        x: state at times[0], (B, *shape). Never changed in place.
        times: grid, (steps + 1,).
        noise: drawn once per step if eta > 0, in the last step too although it is not used there.
        eta: in [0, 1].
        lookahead: ask the network at the next time instead of the present one, still for the present state, as the
            published code of the bridge samplers does.
        callback: called with each `Step`.

    Returns:
        The mean of the last step, (B, *shape).

    Raises:
        ValueError: eta is out of its range, noise or an anchor is missing, a bad grid, or with eta > 0 one from data
            to noise, which has no such sampler.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta={eta}: need 0 (deterministic) <= eta <= 1 (ancestral)")
    if eta > 0 and noise is None:
        raise ValueError(f"eta={eta} needs noise: pass noise=, or eta=0")
    for index, t, t_next, last in intervals(times):
        a, b, s = _coefficients(field.process, t)
        a_next, b_next, s_next = _coefficients(field.process, t_next)
        rho, std = _carry(eta, a, s, a_next, s_next)
        data = field.estimate(x, t_next if lookahead else t).data
        mean = a_next * data
        rest = x - a * data
        if field.anchor is not None:
            mean = mean + b_next * field.anchor
            rest = rest - b * field.anchor
        elif b != 0 or b_next != 0:
            raise ValueError(f"the path uses its anchor at t={float(t):.6g} (b={b:.6g}), but the field has none")
        mean = mean + rho * rest
        x_next = mean
        if eta > 0 and noise is not None:
            x_next = mean + std * noise(x)
        if last:
            x_next, std = mean, 0.0
        report(callback, index, t, t_next, x, mean, std, x_next)
        x = x_next
    return x


def _carry(eta: float, a: float, s: float, a_next: float, s_next: float) -> tuple[float, float]:
    """Return rho and the standard deviation of the fresh noise."""
    if s == 0:
        return 0.0, s_next if eta > 0 else 0.0
    if eta == 0:
        return s_next / s, 0.0
    # the signal-to-noise ratio before the step over that after it
    ratio = (a * s_next) / (a_next * s) if a_next != 0 else math.inf
    if ratio > 1:
        raise ValueError(f"eta={eta} needs a time grid from noise to data: swap start and end, or pass eta=0")
    # kept: share of the next noise that is carried over. sqrt(s'^2 - rho^2 s^2) = s' sqrt(1 - kept^2), factored because
    # short steps have kept near 1
    kept = (1 - eta) + eta * ratio
    return kept * s_next / s, s_next * math.sqrt((1 - kept) * (1 + kept))


def _coefficients(process: Path, t: Tensor) -> tuple[float, float, float]:
    a, b, s = process.coefficients(t)
    return float(a), float(b), float(s)
