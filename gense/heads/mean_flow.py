"""One-step generation: a network of the average velocity of a flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel

from gense.backbones.base import Backbone
from gense.heads.path import PathHead
from gense.processes.base import Estimate, PathField, Process, expand
from gense.types import Condition, Loss, Sampling

STEP = 1e-3
"""Half the width, in time, of the central difference that replaces the exact derivative."""


class AveragePathField(PathField):
    """The field of a process under a network of its average velocity."""

    def average(self, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """Return the mean of dx/dt over the way from x at time t to time t_next; one network call."""
        self.calls += 1
        times = torch.stack([t, t_next])
        return Estimate(self.process, x, t, self.anchor, self._predict(x, times), self._predicts).velocity


class MeanFlowHead(PathHead):
    """A network of the average velocity along a straight path, which crosses the path in one step or in a few.

    u(x_t, t, r) = (x_r - x_t) / (r - t) is the velocity averaged over the way from time t to time r, in either
    direction of time. Differentiating (t - r) u along the way gives u = v - (t - r) du/dt with the velocity v at t
    (mean flow, Geng et al. 2025; for speech, MeanFlowSE, Li et al. 2025). The network is trained towards the right side
    of that identity, without gradient, with the velocity of each training pair for v. Where r = t, this is flow
    matching.

    A network that predicts the data, D, stands for the velocity of the straight path through x_t and D. A step from
    x_t to the data end then returns D itself (up to the noise that a path may keep at its data end), so that the
    training losses on waveforms meet what one step gives. They are taken wherever the network was called: where r = t
    its D is the mean of the data given x_t, where r is the data end it is the end of the flow.

    Differs from the paper: times are uniform unless they are placed at the prior end, and errors are averaged over an
    item where the paper sums them, so that `floor` does not depend on its size.

    Args:
        backbone: the network, called with (x_t, times (B, 2), conditions): the time t of the state and the time r.
        process: the path; a, b and s must be linear in time.
        target: see `PathHead`.
        predicts: what the network's output stands for: the average "velocity", or "data".
        anchor: see `PathHead`.
        condition: see `PathHead`.
        loss_on: "velocity" or "data", on which the squared error is taken; the predicted one by default. From one to
            the other the error of an item changes by a factor, the distance from the data end.
        t_eps: see `PathHead`.
        prior_share: share of training items at the prior end with r at the data end: the way that one step takes.
        equal_share: share of the other items with r = t.
        derivative: "exact" takes du/dt by forward-mode differentiation, at some three times the cost of a call; the
            network must allow for it. "difference" calls the network twice, at +-0.001 in time (or half the distance
            from the data end, if that is less): for networks that are smooth over such times. Both only where r is
            not t, and in float32.
        power: p of the weight (error + floor)^-p that each item has in the loss, >= 0; 0 gives the mean squared error.
        floor: c of that weight, > 0, in units of the mean squared error of an item.
        sampling: default sampling. ODE samplers walk u(x, t, t), the velocity.

    Raises:
        ValueError: an argument is out of its range, or the path is not straight.
    """

    def __init__(
        self,
        backbone: Backbone,
        process: Process,
        *,
        target: str,
        predicts: Literal["velocity", "data"],
        anchor: str | None,
        condition: Sequence[str],
        loss_on: Literal["velocity", "data"] | None = None,
        t_eps: float = 0.03,
        prior_share: float = 0.0,
        equal_share: float = 0.75,
        derivative: Literal["exact", "difference"] = "exact",
        power: float = 1.0,
        floor: float = 1e-3,
        sampling: Sampling = Sampling("average", steps=1),  # noqa: B008 - frozen
    ):
        super().__init__(
            backbone, process, target=target, predicts=predicts, anchor=anchor, condition=condition, loss_on=loss_on,
            t_eps=t_eps, prior_share=prior_share, sampling=sampling,
        )  # fmt: skip
        for name, value in (("predicts", self.predicts), ("loss_on", self.loss_on)):
            if value not in ("velocity", "data"):
                raise ValueError(f"{name}={value!r}: an average is taken of the velocity; expected velocity or data")
        if derivative not in ("exact", "difference"):
            raise ValueError(f"derivative={derivative!r}: expected exact or difference")
        if not (0 <= equal_share <= 1 and power >= 0 and floor > 0):
            raise ValueError(
                f"equal_share={equal_share}, power={power}, floor={floor}: need 0 <= equal_share <= 1, power >= 0 and "
                "floor > 0"
            )
        inner = torch.linspace(process.t_prior, process.t_data, 5, dtype=torch.float64, device="cpu")[1:-1]
        if any((rate - rate[0]).abs().max() > 1e-9 for rate in process.rates(inner)):
            raise ValueError(f"{type(process).__name__} is curved in time: this head needs a straight path")
        self.equal_share, self.derivative, self.power, self.floor = equal_share, derivative, power, floor

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """The loss at random times, and the estimate at the data end; see `loss_at`."""
        data = clean[self.target]
        first, second, at_prior, equal = torch.rand(4, data.shape[0], device=data.device)
        at_prior, equal = at_prior < self.prior_share, equal < self.equal_share
        prior, end = self.process.t_prior, self.process.t_data
        t = self._times(torch.where(equal, first, torch.minimum(first, second)))
        r = torch.where(equal, t, prior + (end - prior) * torch.maximum(first, second))
        times = torch.stack([torch.where(at_prior, prior, t), torch.where(at_prior, end, r)], dim=1)
        return self.loss_at(data, cond, times, torch.randn_like(data))

    def loss_at(self, data: Tensor, cond: Condition, t: Tensor, noise: Tensor) -> Loss:
        """The loss for given times (B, 2), of the state and to which it leads, and unit noise (B, *shape).

        The part in the log is the mean squared error, because the weighted loss hardly moves where power is 1. Times
        (B,) are those of plain flow matching, r = t.
        """
        anchor = cond[self.anchor] if self.anchor else None
        t, r = t.unbind(1) if t.ndim == 2 else (t, t)
        x = self.process.perturb(data, anchor, noise, t)
        velocity = Estimate(self.process, x, t, anchor, data, "data").velocity
        estimate = self._estimate(x, t, r, cond)
        slope = torch.zeros_like(x)
        onward = (t != r).nonzero()[:, 0]
        if len(onward):
            some = {name: value[onward] for name, value in cond.items()}
            slope[onward] = self._slope(x[onward], t[onward], r[onward], velocity[onward], some).to(slope.dtype)
        goal = Estimate(self.process, x, t, anchor, velocity - expand(t - r, x) * slope, "velocity")
        error = (getattr(estimate, self.loss_on) - getattr(goal, self.loss_on)).abs().square().flatten(1).mean(dim=1)
        total = (error * (error.detach() + self.floor) ** -self.power).mean()
        return Loss(total, {self.loss_on: error.mean().detach()}, data=estimate.data)

    def _estimate(self, x: Tensor, t: Tensor, r: Tensor, cond: Condition) -> Estimate:
        """The network's average velocity from x at times t (B,) to r (B,), and what follows from it."""
        anchor = cond[self.anchor] if self.anchor else None
        output = self._predict(x, torch.stack([t, r], dim=1), self._given(cond))
        return Estimate(self.process, x, t, anchor, output, self.predicts)

    @torch.no_grad()
    def _slope(self, x: Tensor, t: Tensor, r: Tensor, velocity: Tensor, cond: Condition) -> Tensor:
        """du/dt along the way on which x moves with the given velocity and r stays, (B, *shape)."""
        with torch.autocast(x.device.type, enabled=False):
            if self.derivative == "difference":
                step = (t - self.process.t_data).abs().div(2).clamp(max=STEP)
                before, after = t - step, t + step
                ahead = self._estimate(x + expand(after - t, x) * velocity, after, r, cond).velocity
                behind = self._estimate(x + expand(before - t, x) * velocity, before, r, cond).velocity
                return (ahead - behind) / expand(after - before, x)
            # Dual numbers and not torch.func.jvp, which forbids the rates of a process their own differentiation; of
            # the attention kernels only the plain one has a forward derivative
            with forward_ad.dual_level(), sdpa_kernel(SDPBackend.MATH):
                state, time = forward_ad.make_dual(x, velocity), forward_ad.make_dual(t, torch.ones_like(t))
                slope = forward_ad.unpack_dual(self._estimate(state, time, r, cond).velocity).tangent
        return torch.zeros_like(x) if slope is None else slope

    def _field(self, predict: Callable[[Tensor, Tensor], Tensor], anchor: Tensor | None) -> AveragePathField:
        return AveragePathField(self.process, predict, self.predicts, anchor)

    def _predict(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        """Call the network with times (B, 2); times (B,) of an ODE sampler ask for the velocity, r = t."""
        return super()._predict(x, t if t.ndim == 2 else torch.stack([t, t], dim=1), cond)
