"""A problem with a known answer: Gaussian data on a Gaussian path, where the best network is a formula.

Elements are independent, data ~ N(MEAN, VARIANCE) with an anchor of ANCHOR, all real numbers, so that the marginal at
time t is N(a MEAN + b ANCHOR, a^2 VARIANCE + s^2), for complex states too (variance in total).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

MEAN, VARIANCE, ANCHOR = 0.8, 0.25, -0.5


Triple = tuple[Tensor, Tensor, Tensor]


class AffinePath:
    """x_t = a data + b anchor + s noise, from three functions of time and their derivatives."""

    def __init__(
        self, coefficients: Callable[[Tensor], Triple], rates: Callable[[Tensor], Triple], *, prior: float, data: float
    ):
        self.coefficients, self.rates, self.prior, self.data = coefficients, rates, prior, data

    def diffusion(self, t: Tensor) -> Tensor:
        a, _, s = self.coefficients(t)
        da, _, ds = self.rates(t)
        squared = 2 * (s * ds - da / a * s**2)
        return (squared if self.prior > self.data else -squared).sqrt()


class BridgePath(AffinePath):
    """A bridge: the same, and the diffusion that it was made of."""

    def spread(self, t: Tensor) -> Tensor:
        return (SCALE * torch.expm1(RISE * t)).sqrt()


STIFFNESS, LOW, GROWTH = 1.5, 0.05, math.log(10)
LEVEL = LOW**2 * GROWTH / (STIFFNESS + GROWTH)


def _ornstein_uhlenbeck(t: Tensor) -> Triple:
    a = torch.exp(-STIFFNESS * t)
    return a, 1 - a, (LEVEL * (torch.exp(2 * GROWTH * t) - a**2)).sqrt()


def _ornstein_uhlenbeck_rates(t: Tensor) -> Triple:
    a, _, s = _ornstein_uhlenbeck(t)
    squared = LEVEL * (2 * GROWTH * torch.exp(2 * GROWTH * t) + 2 * STIFFNESS * a**2)
    return -STIFFNESS * a, STIFFNESS * a, squared / (2 * s)


RISE, SCALE = 2 * math.log(2.6), 0.4 / (2 * math.log(2.6))


def _bridge(t: Tensor) -> Triple:
    share = torch.expm1(RISE * t) / torch.expm1(RISE * torch.ones_like(t))  # exactly 1 at t = 1
    return 1 - share, share, (SCALE * torch.expm1(RISE * t) * (1 - share)).sqrt()


def _bridge_rates(t: Tensor) -> Triple:
    a, b, s = _bridge(t)
    rise = RISE * torch.exp(RISE * t) / math.expm1(RISE)
    squared = SCALE * math.expm1(RISE) * rise * (a - b)
    return -rise, rise, squared / (2 * s)


def _constant(a: float, b: float, s: float) -> Callable[[Tensor], Triple]:
    return lambda t: (torch.full_like(t, a), torch.full_like(t, b), torch.full_like(t, s))


ORNSTEIN_UHLENBECK = AffinePath(_ornstein_uhlenbeck, _ornstein_uhlenbeck_rates, prior=1.0, data=0.0)
BRIDGE = BridgePath(_bridge, _bridge_rates, prior=1.0, data=0.0)
LINEAR_FLOW = AffinePath(lambda t: (t, torch.zeros_like(t), 1 - t), _constant(1.0, 0.0, -1.0), prior=0.0, data=1.0)
NOISY_FLOW = AffinePath(lambda t: (1 - t, t, 0.487 * t), _constant(-1.0, 1.0, 0.487), prior=1.0, data=0.0)
PATHS = {
    "ornstein_uhlenbeck": ORNSTEIN_UHLENBECK,
    "bridge": BRIDGE,
    "linear_flow": LINEAR_FLOW,
    "noisy_flow": NOISY_FLOW,
}


class Estimate:
    """Everything derived from the estimate of the data, with the divisions by s that make a path's end singular."""

    def __init__(self, path: AffinePath, x: Tensor, t: Tensor, anchor: Tensor, data: Tensor):
        self.path, self.x, self.t, self.anchor, self.data = path, x, t, anchor, data

    @property
    def noise(self) -> Tensor:
        a, b, s = self.path.coefficients(self.t)
        return (self.x - a * self.data - b * self.anchor) / s

    @property
    def velocity(self) -> Tensor:
        da, db, ds = self.path.rates(self.t)
        return da * self.data + db * self.anchor + ds * self.noise

    @property
    def score(self) -> Tensor:
        return -self.noise / self.path.coefficients(self.t)[2]


class GaussianField:
    """The exact field: its network is the posterior mean of the data."""

    def __init__(self, path: AffinePath, like: Tensor):
        self.process, self.anchor, self.calls = path, torch.full_like(like, ANCHOR), 0
        self.times: list[float] = []

    def estimate(self, x: Tensor, t: Tensor) -> Estimate:
        assert t.device.type == "cpu"
        assert t.dtype == torch.float64
        assert t.ndim == 0
        self.calls += 1
        self.times.append(float(t))
        a = self.process.coefficients(t)[0]
        mean, variance = moments(self.process, t)
        # where the state is a point (the start of a bridge) it says nothing about the data
        gain = a * VARIANCE / variance if variance > 0 else 0.0
        data = MEAN + gain * (x - mean)
        return Estimate(self.process, x, t, self.anchor, data)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        return self.estimate(x, t).velocity

    def average(self, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        self.calls += 1
        return (flow(self.process, x, t, t_next) - x) / (t_next - t)


def moments(path: AffinePath, t: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the marginal at time t."""
    a, b, s = path.coefficients(t)
    return a * MEAN + b * ANCHOR, a**2 * VARIANCE + s**2


def draw(path: AffinePath, t: Tensor, shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Exact samples of the marginal at time t."""
    mean, variance = moments(path, t)
    return mean + variance.sqrt() * torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def flow(path: AffinePath, x: Tensor, t: Tensor, t_end: Tensor) -> Tensor:
    """Exact solution of the probability-flow ODE: it keeps the standard score of every element."""
    mean, variance = moments(path, t)
    mean_end, variance_end = moments(path, t_end)
    return mean_end + (variance_end / variance).sqrt() * (x - mean)


def drawn_variance(sampler: Callable[..., Tensor], path: AffinePath, times: Tensor, **options: object) -> float:
    """The variance of what a sampler draws, without sampling errors.

    Each step is affine in the state and adds independent noise, so the variance goes by a scalar recursion, whose gain
    shows in two states that walk side by side without noise.
    """
    x, steps = torch.tensor([[-1.0, 1.0]], dtype=torch.float64), []
    sampler(GaussianField(path, x), x, times, callback=steps.append, **options)
    variance = float(moments(path, times[0])[1])
    for step in steps:
        gain = step.mean.diff() / step.x.diff()
        variance = float(gain**2 * variance + step.std**2)
    return variance


def grid(path: AffinePath, steps: int, *, start: float = 0.0, end: float = 0.0, stop: float | None = None) -> Tensor:
    """Uniform times from the prior to the data, `start` and `end` away from those ends, the last step from `stop`."""
    sign = 1.0 if path.data > path.prior else -1.0
    start, end = sign * start, sign * end
    first, last = path.prior + start, path.data - end
    if stop is None:
        return torch.linspace(first, last, steps + 1, dtype=torch.float64)
    inner = torch.linspace(first, path.data - sign * stop, steps, dtype=torch.float64)
    return torch.cat([inner, inner.new_tensor([last])])
