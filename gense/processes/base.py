"""Gaussian paths between clean speech and a prior, and the fields that samplers walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor


class Coefficients(NamedTuple):
    """Scalar functions of time: x_t = a * clean + b * anchor + s * noise (or their derivatives)."""

    a: Tensor
    b: Tensor
    s: Tensor


class Process:
    """A path of Gaussians, x_t = a(t) clean + b(t) anchor + s(t) noise.

    A subclass writes `coefficients`; derivatives, diffusion and everything that samplers need follow from them.
    Noise is standard: E|z|^2 = 1 per element, for complex elements too.

    Attributes:
        t_prior: time at which sampling starts.
        t_data: time at which the path is clean speech. Direction is data: it may lie above or below `t_prior`.
    """

    t_prior: float = 1.0
    t_data: float = 0.0

    def coefficients(self, t: Tensor) -> Coefficients:
        """Return a, b and s at times t, each shaped like t."""
        raise NotImplementedError

    def rates(self, t: Tensor) -> Coefficients:
        """Return da/dt, db/dt and ds/dt, each shaped like t."""
        # One backward pass for each of three scalar functions; torch.func.jvp would import a compiler for seconds
        with torch.inference_mode(False), torch.enable_grad():
            time = t.detach().clone().requires_grad_()
            rates = []
            for value in self.coefficients(time):
                if value.requires_grad:
                    rates.append(torch.autograd.grad(value.sum(), time, retain_graph=True)[0])
                else:
                    rates.append(torch.zeros_like(t))
        return Coefficients(*rates)

    def diffusion(self, t: Tensor) -> Tensor:
        """Return g(t) >= 0 of the forward SDE that has these marginals: g^2 = +-2 (s ds - (da/a) s^2).

        The sign is + when time runs from data up to the prior. This is the SDE with linear drift (da/a) x + u(anchor),
        which is the published one for the Ornstein-Uhlenbeck process and for the Schroedinger bridges.
        """
        a, _, s = self.coefficients(t)
        da, _, ds = self.rates(t)
        sign = 1.0 if self.t_prior > self.t_data else -1.0
        return (sign * 2.0 * (s * ds - da / a * s**2)).clamp(min=0.0).sqrt()

    def perturb(self, clean: Tensor, anchor: Tensor | None, noise: Tensor, t: Tensor) -> Tensor:
        """Return x_t.

        Args:
            clean: (B, *shape).
            anchor: (B, *shape), or None where b is zero.
            noise: unit noise, (B, *shape).
            t: (B,).
        """
        a, b, s = (expand(c, clean) for c in self.coefficients(t))
        x = a * clean + s * noise
        return x if anchor is None else x + b * anchor

    def prior(self, anchor: Tensor | None, noise: Tensor) -> Tensor:
        """Return the state in which sampling starts, anchor + s(t_prior) noise, or the noise part alone without anchor.

        The published samplers start from the anchor itself although a(t_prior) may be only nearly zero.
        """
        s = self.coefficients(torch.tensor(self.t_prior, dtype=torch.float64)).s
        return s * noise if anchor is None else anchor + s * noise

    def field(self, predict: Callable[[Tensor, Tensor], Tensor], predicts: str, anchor: Tensor | None) -> PathField:
        """Wrap a network call as a field.

        Args:
            predict: (x (B, *shape), t scalar) -> the predicted quantity, (B, *shape).
            predicts: what it is: "data", "noise", "velocity", "score" or "mean".
            anchor: (B, *shape) or None.
        """
        return PathField(self, predict, predicts, anchor)


def expand(value: Tensor, like: Tensor) -> Tensor:
    """Give a (B,) coefficient trailing axes so that it multiplies `like` (B, *shape); a scalar stays a scalar."""
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim)) if value.ndim else value


QUANTITIES = ("data", "noise", "velocity", "score", "mean")


class Estimate:
    """One network output seen five ways, each computed when asked for; the native one is returned as it is.

    From x = a data + b anchor + s noise follow noise and data from each other; mean = a data + b anchor, velocity =
    da data + db anchor + ds noise and score = -noise / s (Song et al. 2021, Lipman et al. 2023).

    Args:
        process: the path.
        x: state, (B, *shape).
        t: scalar, or (B,).
        anchor: (B, *shape) or None.
        native: the network's output, (B, *shape).
        predicts: what it stands for, one of data, noise, velocity, score, mean.
    """

    def __init__(self, process: Process, x: Tensor, t: Tensor, anchor: Tensor | None, native: Tensor, predicts: str):
        self._process, self._x, self._t, self._anchor = process, x, t, anchor
        self._native, self._predicts = native, predicts

    @property
    def _coefficients(self) -> Coefficients:
        return Coefficients(*(expand(c, self._x) for c in self._process.coefficients(self._t)))

    @property
    def _rates(self) -> Coefficients:
        return Coefficients(*(expand(c, self._x) for c in self._process.rates(self._t)))

    @property
    def _anchor_part(self) -> Tensor | float:
        return 0.0 if self._anchor is None else self._coefficients.b * self._anchor

    def _from_velocity(self) -> tuple[Tensor, Tensor]:
        """Solve x = a data + s noise and v = da data + ds noise, the anchor's share taken off both."""
        a, b, s = self._coefficients
        da, db, ds = self._rates
        x, v = self._x, self._native
        if self._anchor is not None:
            x, v = x - b * self._anchor, v - db * self._anchor
        determinant = a * ds - s * da
        return (ds * x - s * v) / determinant, (a * v - da * x) / determinant

    @property
    def data(self) -> Tensor:
        """Estimate of the clean target, (B, *shape)."""
        if self._predicts == "data":
            return self._native
        if self._predicts == "velocity":
            return self._from_velocity()[0]
        return (self.mean - self._anchor_part) / self._coefficients.a

    @property
    def noise(self) -> Tensor:
        """Estimate of the unit noise in x, (B, *shape)."""
        if self._predicts == "noise":
            return self._native
        s = self._coefficients.s
        if self._predicts == "score":
            return -s * self._native
        if self._predicts == "velocity":
            return self._from_velocity()[1]
        return (self._x - self.mean) / s

    @property
    def mean(self) -> Tensor:
        """Estimate of the state without its noise, a data + b anchor, (B, *shape)."""
        if self._predicts == "mean":
            return self._native
        if self._predicts == "data":
            return self._coefficients.a * self._native + self._anchor_part
        return self._x - self._coefficients.s * self.noise

    @property
    def velocity(self) -> Tensor:
        """Estimate of dx/dt of the probability-flow ODE, (B, *shape)."""
        if self._predicts == "velocity":
            return self._native
        da, db, ds = self._rates
        velocity = da * self.data + ds * self.noise
        return velocity if self._anchor is None else velocity + db * self._anchor

    @property
    def score(self) -> Tensor:
        """Estimate of the gradient of log p_t(x), (B, *shape)."""
        return self._native if self._predicts == "score" else -self.noise / self._coefficients.s


class PathField:
    """The field of a process under a network: what samplers walk.

    Attributes:
        process: the path.
        anchor: (B, *shape) or None.
        calls: network calls made so far.
    """

    def __init__(self, process: Process, predict: Callable[[Tensor, Tensor], Tensor], predicts: str,
                 anchor: Tensor | None):
        if predicts not in QUANTITIES:
            raise ValueError(f"predicts={predicts!r}: expected one of {', '.join(QUANTITIES)}")
        self.process, self.anchor, self.calls = process, anchor, 0
        self._predict, self._predicts = predict, predicts

    def estimate(self, x: Tensor, t: Tensor) -> Estimate:
        """Call the network once at state x (B, *shape) and scalar time t."""
        self.calls += 1
        return Estimate(self.process, x, t, self.anchor, self._predict(x, t), self._predicts)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Return dx/dt, (B, *shape).

        Raises:
            ValueError: a time at which the predicted quantity tells no velocity.
        """
        if self._predicts != "velocity":
            a, _, s = self.process.coefficients(t)
            data_like = self._predicts in ("data", "mean")
            if not (s if data_like else a) > 0:
                raise ValueError(
                    f"the velocity at t={float(t):.6g} is 0/0, because the path holds no "
                    f"{'noise' if data_like else 'speech'} there: keep the time grid beside it, or use exponential"
                )
        return self.estimate(x, t).velocity
