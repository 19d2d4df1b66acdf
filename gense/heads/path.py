"""Diffusion, bridges and flow matching: one head for every Gaussian path."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from gense import samplers
from gense.backbones.base import Backbone
from gense.heads.base import Head
from gense.heads.guidance import beside_null, drop, guidance_options
from gense.heads.resolve import check_options, keywords, resolve
from gense.processes.base import QUANTITIES, Estimate, PathField, Process, expand
from gense.processes.precondition import Precondition
from gense.samplers import schedules
from gense.samplers.types import Noise, Step
from gense.types import Condition, Loss, Sampling

Quantity = Literal["data", "noise", "velocity", "score", "mean"]
WEIGHTS = ("unit", "variance", "edm")


class PathHead(Head):
    """A network trained along the path of a process and sampled by walking the path back.

    Args:
        backbone: the network, called with (x_t, t, conditions).
        process: the path.
        target: name of the representation to predict.
        predicts: what the network's output stands for, after `precondition`.
        anchor: condition towards which the path leads at its prior end, or None.
        condition: conditions given to the network, in this order.
        loss_on: quantity on which the squared error is taken; the predicted one by default. "noise" for a score
            network is denoising score matching with weight s^2.
        weight: factor of each item's squared error: "unit" (1), "variance" (s^2), or "edm" (of `precondition`).
        precondition: scalings of the network's inputs and output; None leaves them as they are.
        t_eps: distance from the data end at which training stops and the last sampling step begins.
        prior_share: share of training items placed exactly at the prior end, where a single step begins.
        dropout: name of a condition -> share of training items that lose it. These are the conditions that guidance
            leaves out, so a name may stand here with 0.
        unconditional: share of training items that lose all of them.
        sampling: default sampling.

    Raises:
        ValueError: an argument is out of its range.
    """

    sampling: Sampling

    def __init__(
        self,
        backbone: Backbone,
        process: Process,
        *,
        target: str,
        predicts: Quantity,
        anchor: str | None,
        condition: Sequence[str],
        loss_on: Quantity | None = None,
        weight: Literal["unit", "variance", "edm"] = "unit",
        precondition: Precondition | None = None,
        t_eps: float = 0.03,
        prior_share: float = 0.0,
        dropout: Mapping[str, float] | None = None,
        unconditional: float = 0.0,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    ):
        super().__init__()
        for name, value in (("predicts", predicts), ("loss_on", loss_on or predicts)):
            if value not in QUANTITIES:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(QUANTITIES)}")
        if weight not in WEIGHTS or (weight == "edm" and precondition is None):
            raise ValueError(f"weight={weight!r}: expected one of {', '.join(WEIGHTS)}; edm needs a precondition")
        if not (0 <= t_eps < 1 and 0 <= prior_share <= 1):
            raise ValueError(f"t_eps={t_eps}, prior_share={prior_share}: need 0 <= t_eps < 1 and 0 <= prior_share <= 1")
        self.backbone, self.process, self.target = backbone, process, target
        self.predicts, self.loss_on = predicts, loss_on or predicts
        self.weight, self.precondition = weight, precondition
        self.anchor, self.condition = anchor, tuple(condition)
        self.reads = tuple(dict.fromkeys([*self.condition, *([anchor] if anchor else [])]))
        self.dropout, self.unconditional = dict(dropout or {}), unconditional
        for name, share in (*self.dropout.items(), ("unconditional", unconditional)):
            if name not in (*self.condition, "unconditional") or not 0 <= share <= 1:
                raise ValueError(
                    f"dropout {name}={share}: expected shares in [0, 1] of the conditions {', '.join(self.condition)}"
                )
        self.t_eps, self.prior_share, self.sampling = t_eps, prior_share, sampling

    def chosen(self, sampling: Sampling, options: Mapping[str, Any]) -> Sampling:
        """A sampling with a user's options: `guidance` and `guidance_interval`, those of the sampler and the schedule.

        Raises:
            ValueError: an unknown or impossible option, or guidance for a head that was not trained for it.
        """
        own, rest = guidance_options(options)
        sampling = replace(super().chosen(sampling, rest), **own)
        self._check_guidance(sampling)
        return sampling

    def _check_guidance(self, sampling: Sampling) -> None:
        if sampling.guidance and not self.dropout:
            raise ValueError(f"guidance={sampling.guidance}: this head has no dropout, hence nothing to leave out")

    def _times(self, uniform: Tensor) -> Tensor:
        """Map draws from [0, 1) to times between the prior end (0) and `t_eps` before the data end (1)."""
        prior, data = self.process.t_prior, self.process.t_data
        stop = data + self.t_eps * (1.0 if prior > data else -1.0)
        return prior + (stop - prior) * uniform

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Mean squared error at random times, and the estimate of the data.

        A published loss that sums halves of squares over the elements of an item and averages over items is this one
        times half the number of elements.
        """
        data = clean[self.target]
        uniform = torch.rand(data.shape[0], device=data.device)
        at_prior = torch.rand_like(uniform) < self.prior_share
        t = self._times(torch.where(at_prior, torch.zeros_like(uniform), uniform))
        if self.dropout:
            cond = drop(cond, self.dropout, self.unconditional)
        return self.loss_at(data, cond, t, torch.randn_like(data))

    def loss_at(self, data: Tensor, cond: Condition, t: Tensor, noise: Tensor) -> Loss:
        """The loss for given times (B,) and unit noise (B, *shape).

        Conditional flow matching, denoising score matching and data prediction are the same three lines here; what
        differs is the quantity compared.
        """
        anchor = cond[self.anchor] if self.anchor else None
        x = self.process.perturb(data, anchor, noise, t)
        estimate = Estimate(self.process, x, t, anchor, self._predict(x, t, self._given(cond)), self.predicts)
        error = getattr(estimate, self.loss_on) - self._goal(data, anchor, noise, t)
        squared = error.real.square() + error.imag.square() if error.is_complex() else error.square()
        if self.weight == "variance":
            squared = expand(self.process.coefficients(t).s, squared).square() * squared
        elif self.weight == "edm" and self.precondition is not None:
            squared = expand(self.precondition.edm_weight(self.process, t), squared) * squared
        total = squared.mean()
        return Loss(total, {self.loss_on: total.detach()}, data=estimate.data)

    def _goal(self, data: Tensor, anchor: Tensor | None, noise: Tensor, t: Tensor) -> Tensor:
        """The true value of the quantity on which the error is taken."""
        if self.loss_on == "data":
            return data
        if self.loss_on == "noise":
            return noise
        if self.loss_on == "score":
            return -noise / expand(self.process.coefficients(t).s, noise)
        if self.loss_on == "mean":
            return self.process.perturb(data, anchor, torch.zeros_like(noise), t)
        da, db, ds = (expand(rate, data) for rate in self.process.rates(t))
        velocity = da * data + ds * noise
        return velocity if anchor is None else velocity + db * anchor

    def _given(self, cond: Condition) -> Condition:
        """What the network is given of the conditions."""
        return {name: cond[name] for name in self.condition if name in cond}

    def _predict(self, x: Tensor, t: Tensor, given: Condition) -> Tensor:
        """The predicted quantity, (B, *shape), at times (B,)."""
        if self.precondition is None:
            return self.backbone(x, t, given)
        c_in, c_skip, c_out = (expand(c, x) for c in self.precondition.scalings(self.process, t))
        output = self.backbone(c_in * x, t, {name: c_in * value for name, value in given.items()})
        return c_skip * x + c_out * output

    def _predictor(self, like: Tensor, cond: Condition, sampling: Sampling) -> Callable[[Tensor, Tensor], Tensor]:
        """The network as samplers call it, (x, scalar t) -> output, for states shaped like `like`."""
        # A precondition scales the conditions anew at every time
        prepare = self.backbone.prepare if self.precondition is None else lambda _, given: given
        given = prepare(like, self._given(cond))

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return self._predict(x, t.to(x.device, x.real.dtype).expand(x.shape[0], *t.shape), given)

        if not sampling.guidance:
            return predict
        self._check_guidance(sampling)
        both = prepare(torch.cat([like, like]), beside_null(self._given(cond), self.dropout))
        prior, data = self.process.t_prior, self.process.t_data
        low, high = sampling.guidance_interval

        def guided(x: Tensor, t: Tensor) -> Tensor:
            if not low <= float(t - prior) / (data - prior) <= high:
                return predict(x, t)
            times = t.to(x.device, x.real.dtype).expand(2 * x.shape[0], *t.shape)
            out, null = self._predict(torch.cat([x, x]), times, both).chunk(2)
            return out + sampling.guidance * (out - null)

        return guided

    def _field(self, predict: Callable[[Tensor, Tensor], Tensor], anchor: Tensor | None) -> PathField:
        """What samplers walk, around a network call (x, scalar t) -> output."""
        return self.process.field(predict, self.predicts, anchor)

    def field(self, cond: Condition, sampling: Sampling | None = None) -> PathField:
        """What samplers walk under these conditions.

        Args:
            cond: conditions by name, each (B, ...).
            sampling: whose guidance counts; None takes the head's own.
        """
        anchor = cond[self.anchor] if self.anchor else None
        like = cond[self.anchor or self.condition[0]]
        return self._field(self._predictor(like, cond, sampling or self.sampling), anchor)

    def time_grid(self, sampling: Sampling) -> Tensor:
        """The times of a sampling, float64 (steps + 1,): the last step begins `t_eps` before the data end."""
        schedule = resolve(sampling.schedule, schedules, "steps")
        check_options(schedule, sampling.schedule_options)
        prior, data = self.process.t_prior, self.process.t_data
        settings = {"start": prior, "end": data, **sampling.schedule_options}
        if self.t_eps and settings["end"] == data:
            settings.setdefault("stop", data + self.t_eps * (1.0 if prior > data else -1.0))
        return schedule(sampling.steps, **settings)

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Tensor:
        """Walk the path from the prior to clean features, (B, *feature, T).

        Raises:
            ValueError: no noise source, fewer than one step, or options that the sampler does not take.
        """
        if noise is None:
            raise ValueError("this head samples: pass noise=, for example gense.samplers.by_frame(seed)")
        sampling = sampling or self.sampling
        sampler = resolve(sampling.sampler, samplers, "field")
        check_options(sampler, sampling.options, reserved=("noise", "callback"))
        times = self.time_grid(sampling)
        anchor = cond[self.anchor] if self.anchor else None
        like = cond[self.anchor or self.condition[0]]

        field = self.field(cond, sampling)
        options = dict(sampling.options)
        if "noise" in keywords(sampler):
            options["noise"] = noise
        return sampler(field, self.process.prior(anchor, noise(like)), times, callback=callback, **options)
