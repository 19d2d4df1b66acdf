"""What samplers ask of their arguments, and what they report.

Layout: batch first, time last; a state x is (B, *shape), real or complex. A time t is a scalar float64 tensor on the
CPU, so that computing with it neither waits for a device nor changes the dtype of a state.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Noise = Callable[[Tensor], Tensor]
"""like -> unit Gaussian noise with the shape, dtype and device of `like`. Complex: E|z|^2 = 1, 1/2 for each part."""

Field = Callable[[Tensor, Tensor], Tensor]
"""(x (B, *shape), t scalar) -> velocity dx/dt (B, *shape). All that ODE samplers need."""


class Estimate(Protocol):
    """One network call seen four ways, each (B, *shape) and computed only when asked for."""

    @property
    def data(self) -> Tensor:
        """Estimate of the clean target."""
        ...

    @property
    def noise(self) -> Tensor:
        """Estimate of the unit noise in the state."""
        ...

    @property
    def velocity(self) -> Tensor:
        """dx/dt of the probability-flow ODE."""
        ...

    @property
    def score(self) -> Tensor:
        """Gradient of the log density of the state."""
        ...


class Path(Protocol):
    """A Gaussian path x_t = a(t) data + b(t) anchor + s(t) noise, and the diffusion of its SDE."""

    def coefficients(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (a, b, s) at scalar time t: float64 scalars on the CPU."""
        ...

    def diffusion(self, t: Tensor) -> Tensor:
        """Return g(t) >= 0, a float64 scalar on the CPU."""
        ...


class RatedPath(Path, Protocol):
    """A path that knows how fast its coefficients change."""

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (da/dt, db/dt, ds/dt) at scalar time t: float64 scalars on the CPU."""
        ...


class Bridge(Path, Protocol):
    """A path made of a diffusion of the data without drift, conditioned to end in the anchor at t = 1."""

    def spread(self, t: Tensor) -> Tensor:
        """Return sigma(t), the deviation of the diffusion without the condition, like t in shape and precision."""
        ...


class PathField(Protocol):
    """The field of a path under a network: what SDE samplers and `exponential` need beyond a velocity."""

    @property
    def process(self) -> Path:
        """The path."""
        ...

    @property
    def anchor(self) -> Tensor | None:
        """The anchor, (B, *shape), or None for a path with b = 0."""
        ...

    @property
    def calls(self) -> int:
        """Network calls made so far."""
        ...

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the velocity dx/dt, (B, *shape)."""
        ...

    def estimate(self, x: Tensor, t: Tensor) -> Estimate:
        """Call the network exactly once."""
        ...


class AverageField(Protocol):
    """A field that knows its average over the way to another time, along the solution through a state."""

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the velocity dx/dt, (B, *shape)."""
        ...

    def average(self, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """Return (x(t_next) - x) / (t_next - t), (B, *shape), where x(t) = x."""
        ...


class Corrector(Protocol):
    """One correction at a fixed time: a function that moves x towards the marginal of time t."""

    def __call__(self, field: PathField, x: Tensor, t: Tensor, *, noise: Noise, snr: float) -> Tensor:
        """Return the corrected state, (B, *shape)."""
        ...


@dataclass(frozen=True)
class Step:
    """One step of a sampler, as its callback sees it. x_next = mean + std * unit noise.

    Attributes:
        index: 0 for the first step.
        t: time at the beginning of the step.
        t_next: time at its end.
        x: state from which the step was taken, (B, *shape); after the corrections in `predictor_corrector`.
        mean: mean of the next state given x, (B, *shape).
        std: standard deviation of the next state given x, scalar; 0 for deterministic steps, among them the last
            step of every stochastic sampler.
        x_next: state with which the sampler goes on, or which it returns, (B, *shape).
    """

    index: int
    t: Tensor
    t_next: Tensor
    x: Tensor
    mean: Tensor
    std: Tensor
    x_next: Tensor


Callback = Callable[[Step], None]
"""Called after each step to observe it; it must leave the tensors as they are."""


def report(
    callback: Callback | None,
    index: int,
    t: Tensor,
    t_next: Tensor,
    x: Tensor,
    mean: Tensor,
    std: float,
    x_next: Tensor,
) -> None:
    """Call the callback, if there is one, with a `Step`."""
    if callback is not None:
        callback(Step(index, t, t_next, x, mean, torch.tensor(std, dtype=torch.float64), x_next))
