"""SDE samplers: they walk the reverse-time SDE of a Gaussian path along a time grid.

For either direction of time a step of size dt is x + dt velocity + 1/2 g^2 |dt| score + g sqrt|dt| noise, where
velocity is that of the probability-flow ODE (Song et al. 2021, "Score-based generative modeling through stochastic
differential equations", eqs. 6 and 13). Every sampler returns the mean of its last step, without its noise. That noise
is drawn all the same, as published codes do, so that recorded draws line up.

x (B, *shape) may be complex and is never changed in place; grad mode is the caller's. A bad grid raises ValueError, and
so does a time where the path has no score (s = 0) or no finite diffusion: start the grid beside it.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from .schedules import intervals
from .types import Callback, Corrector, Noise, PathField, report


def euler_maruyama(
    field: PathField,
    x: Tensor,
    times: Tensor,
    *,
    noise: Noise,
    churn: float = 1.0,
    step_size: float | Literal["even"] | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Euler-Maruyama steps of the reverse SDE; one network call per step.

    Args:
        field: the field of a path.
        x: state at times[0], (B, *shape).
        times: grid, (steps + 1,).
        noise: drawn once per step, and not at all where churn is 0.
        churn: >= 0, scales the squared diffusion. 1 is the SDE of the path, 0 its ODE (then this is `euler`, and any
            function of (x, t) is a field); the marginals are the same for every value.
        step_size: > 0, taken in place of |t_next - t| in every step; the network still sees the times of the grid.
            "even" divides the span of the grid by the number of steps. Some published samplers step by 1 / steps like
            this, although the times that their network sees lie closer.
        callback: called with each `Step`.

    Returns:
        The mean of the last step, (B, *shape).

    Raises:
        ValueError: churn < 0, step_size <= 0, a bad grid, or a time without score or finite diffusion.
    """
    if not (churn >= 0 and math.isfinite(churn)):
        raise ValueError(f"churn={churn}: need a finite number >= 0")
    grid, size = intervals(times), _step_size(step_size, times)
    for index, t, t_next, last in grid:
        dt = _signed_step(t, t_next, size)
        if churn == 0:
            x_next = mean = x + dt * field(x, t)
            std = 0.0
        else:
            mean, std = _reverse_step(field, x, t, dt, churn)
            x_next = mean + std * noise(x)
        if last:
            x_next, std = mean, 0.0
        report(callback, index, t, t_next, x, mean, std, x_next)
        x = x_next
    return x


def annealed_langevin(field: PathField, x: Tensor, t: Tensor, *, noise: Noise, snr: float) -> Tensor:
    """Langevin step of size 2 (snr s(t))^2, as in annealed Langevin dynamics (Song and Ermon 2019, algorithm 1).

    Args:
        field: the field of a path; called once.
        x: state, (B, *shape).
        t: its time.
        noise: drawn once.
        snr: size of the step relative to the noise of the path, > 0.

    Returns:
        The corrected state, (B, *shape).
    """
    step = 2 * (snr * _scale(field, t)) ** 2
    score = field.estimate(x, t).score
    return x + step * score + math.sqrt(2 * step) * noise(x)


def langevin(field: PathField, x: Tensor, t: Tensor, *, noise: Noise, snr: float) -> Tensor:
    """Langevin step of size 2 (snr |noise| / |score|)^2 (Song et al. 2021, algorithm 4), norms taken of each item.

    Published codes average the norms over the batch, so that a result depends on its neighbours: `langevin_batch`.
    Arguments and result: see `annealed_langevin`.
    """
    _scale(field, t)
    score, z = field.estimate(x, t).score, noise(x)
    ratio = _norms(z) / _norms(score)
    return _langevin_step(x, score, z, ratio.reshape(-1, *[1] * (x.ndim - 1)), snr)


def langevin_batch(field: PathField, x: Tensor, t: Tensor, *, noise: Noise, snr: float) -> Tensor:
    """Langevin step of the published codes: the norms are averaged over the batch. Otherwise see `langevin`."""
    _scale(field, t)
    score, z = field.estimate(x, t).score, noise(x)
    return _langevin_step(x, score, z, _norms(z).mean() / _norms(score).mean(), snr)


CORRECTORS: dict[str, Corrector] = {
    "annealed_langevin": annealed_langevin,
    "langevin": langevin,
    "langevin_batch": langevin_batch,
}
"""The correctors that a configuration file can name."""


def predictor_corrector(
    field: PathField,
    x: Tensor,
    times: Tensor,
    *,
    noise: Noise,
    snr: float = 0.5,
    corrector_steps: int = 1,
    correct: Corrector | str = "annealed_langevin",
    predict: bool = True,
    step_size: float | Literal["even"] | None = None,
    callback: Callback | None = None,
) -> Tensor:
    """Predictor-corrector sampling (Song et al. 2021, algorithm 1) in the order of the speech enhancement codes.

    At each t_i the corrections come first, then an Euler-Maruyama step from t_i to t_(i+1). Each is one network call,
    steps (corrector_steps + 1) in all, and noise is drawn in that order.

    Args:
        field: the field of a path.
        x: state at times[0], (B, *shape).
        times: grid, (steps + 1,).
        noise: drawn once per correction and once per prediction.
        snr: size of the corrections, > 0; see the correctors.
        corrector_steps: corrections per step, >= 0; with 0 this is `euler_maruyama`.
        correct: a `Corrector`, or the name of one: "annealed_langevin", "langevin", "langevin_batch".
        predict: False leaves the predictions out: only corrections, at the times t_0 ... t_(steps - 1).
        step_size: > 0 or "even", taken in place of |t_next - t| in every prediction; see `euler_maruyama`.
        callback: called with each `Step`; its x is the state after the corrections.

    Returns:
        The mean of the last prediction, (B, *shape); without predictions the last corrected state, noise and all.

    Raises:
        ValueError: a parameter is out of its range, a bad grid, or a time without score or finite diffusion.
    """
    if isinstance(correct, str):
        if correct not in CORRECTORS:
            raise ValueError(f"correct={correct!r}: expected one of {', '.join(CORRECTORS)}, or a function")
        correct = CORRECTORS[correct]
    if not snr > 0:
        raise ValueError(f"snr={snr}: need a number > 0")
    if corrector_steps < 0 or (corrector_steps == 0 and not predict):
        least = 0 if predict else 1
        raise ValueError(f"corrector_steps={corrector_steps} with predict={predict}: need at least {least}")
    grid, size = intervals(times), _step_size(step_size, times)
    for index, t, t_next, last in grid:
        for _ in range(corrector_steps):
            x = correct(field, x, t, noise=noise, snr=snr)
        if predict:
            mean, std = _reverse_step(field, x, t, _signed_step(t, t_next, size), 1.0)
            x_next = mean + std * noise(x)
        else:
            mean, std, x_next = x, 0.0, x
        if last:
            x_next, std = mean, 0.0
        report(callback, index, t, t_next, x, mean, std, x_next)
        x = x_next
    return x


def _reverse_step(field: PathField, x: Tensor, t: Tensor, dt: float, churn: float) -> tuple[Tensor, float]:
    """Return mean and standard deviation of one step of the reverse SDE; one network call."""
    _scale(field, t)
    g = float(field.process.diffusion(t))
    if not math.isfinite(g):
        raise ValueError(f"the diffusion is {g} at t={float(t):.6g}: start the time grid beside it")
    estimate = field.estimate(x, t)
    variance = churn * g**2 * abs(dt)
    return x + dt * estimate.velocity + variance / 2 * estimate.score, math.sqrt(variance)


def _scale(field: PathField, t: Tensor) -> float:
    """Return s(t), the standard deviation of the noise in the path; refuse a time without noise."""
    s = float(field.process.coefficients(t)[2])
    if not s > 0:
        raise ValueError(f"no noise (s={s}) and hence no score at t={float(t):.6g}: start the time grid beside it")
    return s


def _langevin_step(x: Tensor, score: Tensor, z: Tensor, ratio: Tensor, snr: float) -> Tensor:
    step = 2 * (snr * ratio) ** 2
    return x + step * score + (2 * step).sqrt() * z


def _norms(x: Tensor) -> Tensor:
    """Euclidean norm of each item of the batch, (B,)."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1)


def _signed_step(t: Tensor, t_next: Tensor, step_size: float | None) -> float:
    gap = float(t_next - t)
    return gap if step_size is None else math.copysign(step_size, gap)


def _step_size(step_size: float | Literal["even"] | None, times: Tensor) -> float | None:
    """The size of every step, None for those of the grid."""
    if step_size is None:
        return None
    if step_size == "even":
        return abs(float(times[-1] - times[0])) / (len(times) - 1)
    if isinstance(step_size, str) or not step_size > 0:
        raise ValueError(f"step_size={step_size!r}: need a number > 0, 'even', or None for the steps of the grid")
    return step_size
