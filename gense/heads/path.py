"""Diffusion, bridges and flow matching: one head for every Gaussian path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from gense import samplers
from gense.backbones.base import Backbone
from gense.heads.base import Head
from gense.heads.resolve import check_options, keywords, resolve
from gense.processes.base import QUANTITIES, Estimate, Process, expand
from gense.samplers import schedules
from gense.samplers.types import Noise, Step
from gense.types import Condition, Loss, Sampling

Quantity = Literal["data", "noise", "velocity", "score"]


class PathHead(Head):
    """A network trained along the path of a process and sampled by walking the path back.

    Args:
        backbone: the network, called with (x_t, t, conditions).
        process: the path.
        target: name of the representation to predict.
        predicts: what the network's output stands for.
        anchor: condition towards which the path leads at its prior end, or None.
        condition: conditions given to the network, in this order.
        loss_on: quantity on which the squared error is taken; the predicted one by default. "noise" for a score
            network is denoising score matching with weight s^2.
        t_eps: distance from the data end at which training stops and the last sampling step begins.
        prior_share: share of training items placed exactly at the prior end, where a single step begins.
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
        t_eps: float = 0.03,
        prior_share: float = 0.0,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
    ):
        super().__init__()
        for name, value in (("predicts", predicts), ("loss_on", loss_on or predicts)):
            if value not in QUANTITIES:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(QUANTITIES)}")
        if not (0 <= t_eps < 1 and 0 <= prior_share <= 1):
            raise ValueError(f"t_eps={t_eps}, prior_share={prior_share}: need 0 <= t_eps < 1 and 0 <= prior_share <= 1")
        self.backbone, self.process, self.target = backbone, process, target
        self.predicts, self.loss_on = predicts, loss_on or predicts
        self.anchor, self.condition = anchor, tuple(condition)
        self.reads = tuple(dict.fromkeys([*self.condition, *([anchor] if anchor else [])]))
        self.t_eps, self.prior_share, self.sampling = t_eps, prior_share, sampling

    def _times(self, uniform: Tensor) -> Tensor:
        """Map draws from [0, 1) to times between the prior end (0) and `t_eps` before the data end (1)."""
        prior, data = self.process.t_prior, self.process.t_data
        stop = data + self.t_eps * (1.0 if prior > data else -1.0)
        return prior + (stop - prior) * uniform

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Mean squared error at random times (the published losses differ by a constant factor), and the estimate."""
        data = clean[self.target]
        uniform = torch.rand(data.shape[0], device=data.device)
        at_prior = torch.rand_like(uniform) < self.prior_share
        t = self._times(torch.where(at_prior, torch.zeros_like(uniform), uniform))
        return self.loss_at(data, cond, t, torch.randn_like(data))

    def loss_at(self, data: Tensor, cond: Condition, t: Tensor, noise: Tensor) -> Loss:
        """The loss for given times (B,) and unit noise (B, *shape).

        Conditional flow matching, denoising score matching and data prediction are the same three lines here; what
        differs is the quantity compared.
        """
        anchor = cond[self.anchor] if self.anchor else None
        x = self.process.perturb(data, anchor, noise, t)
        estimate = Estimate(self.process, x, t, anchor, self._predict(x, t, cond), self.predicts)
        if self.loss_on == "data":
            goal = data
        elif self.loss_on == "noise":
            goal = noise
        elif self.loss_on == "score":
            goal = -noise / expand(self.process.coefficients(t).s, noise)
        else:
            da, db, ds = (expand(rate, data) for rate in self.process.rates(t))
            goal = da * data + ds * noise + (0.0 if anchor is None else db * anchor)
        error = getattr(estimate, self.loss_on) - goal
        total = (error.real.square() + error.imag.square() if error.is_complex() else error.square()).mean()
        return Loss(total, {self.loss_on: total.detach()}, data=estimate.data)

    def _predict(self, x: Tensor, t: Tensor, cond: Condition) -> Tensor:
        return self.backbone(x, t, {name: cond[name] for name in self.condition if name in cond})

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

        def predict(x: Tensor, t: Tensor) -> Tensor:
            return self._predict(x, t.to(x.device, like.real.dtype).expand(x.shape[0]), cond)

        field = self.process.field(predict, self.predicts, anchor)
        options = dict(sampling.options)
        if "noise" in keywords(sampler):
            options["noise"] = noise
        return sampler(field, self.process.prior(anchor, noise(like)), times, callback=callback, **options)
