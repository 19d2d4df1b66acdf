"""Heads in a row, each reading what those before it made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gense.heads.base import Head
from gense.heads.resolve import changed
from gense.samplers.types import Noise, Step
from gense.types import Condition, Loss, Sampling

_CHOICES = ("steps", "sampler", "schedule")


class Cascade(Head):
    """Stages that run in order; the output of each is a condition, under the stage's name, for those after it.

    In training, the condition is the estimate behind the stage's own loss, with its gradient, so that the losses of
    later stages train the earlier ones, too. A stage that is not trained, or whose loss gives no estimate, as those of
    tokens, runs as it does in use, without gradient.
    With `teacher_forcing` the condition is the clean target of the stage instead, as stages of tokens need it.

    `sampling` is that of the last stage that samples. Two kinds of options are the cascade's own: `until`, the name of
    the stage whose output is returned, and `<stage>.<option>`, an option of that stage, or its `steps`, `sampler` or
    `schedule`.

    Args:
        stages: heads by name.
        train: names of the stages that are trained; None trains all.
        weights: factors of the trained stages' losses in the sum, >= 0; 1 where there is none.
        teacher_forcing: train each stage on the clean targets of those before it; stages not trained do not run.

    Raises:
        ValueError: no stages, an impossible name, a stage that reads one that comes after it, or `train` or `weights`
            names what is not there or is not trained.
    """

    def __init__(
        self,
        stages: dict[str, Head],
        *,
        train: Sequence[str] | None = None,
        weights: dict[str, float] | None = None,
        teacher_forcing: bool = False,
    ):
        super().__init__()
        if not stages:
            raise ValueError("stages={}: need at least one")
        names, free = list(stages), nn.ModuleDict()
        for index, name in enumerate(names):
            if not name.isidentifier() or name.startswith("noisy_") or hasattr(free, name):
                raise ValueError(f"stage {name!r}: need a plain word that is not taken and does not begin with noisy_")
            for key in stages[name].reads:
                if key in names[index:]:
                    raise ValueError(f"stage {name!r} reads {key!r}, which is not made before it")
        self.trained = tuple(names if train is None else train)
        for argument, given, known in (("train", self.trained, names), ("weights", weights or {}, self.trained)):
            for name in given:
                if name not in known:
                    raise ValueError(f"{argument} names {name!r}; expected some of {', '.join(known)}")
        if not self.trained:
            raise ValueError("train=[]: name at least one stage, or None for all")
        if any(not weight >= 0 for weight in (weights or {}).values()):
            raise ValueError(f"weights={weights}: need numbers >= 0")
        self.stages = nn.ModuleDict(stages)
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in self.trained}
        self.teacher_forcing = teacher_forcing
        self.target = stages[names[-1]].target
        self.reads = tuple(dict.fromkeys(k for stage in stages.values() for k in stage.reads if k not in stages))
        sampled = [name for name in names if stages[name].sampling is not None]
        self.sampled = sampled[-1] if sampled else None
        self.sampling = stages[self.sampled].sampling if self.sampled else None
        for name in names:
            if name not in self.trained:
                stages[name].requires_grad_(False)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the representations of the clean speech that the trained stages read."""
        taught = [self._stage(key).target for name in self.trained for key in self._taught(name)]
        return tuple(dict.fromkeys([key for name in self.trained for key in self._stage(name).targets] + taught))

    def _taught(self, name: str) -> list[str]:
        """Stages before this one whose clean target it reads in training."""
        return [key for key in self._stage(name).reads if key in self.stages] if self.teacher_forcing else []

    def train(self, mode: bool = True) -> Cascade:
        """Switch to training; stages that are not trained stay as they are in use."""
        super().train(mode)
        for name, stage in self.stages.items():
            if name not in self.trained:
                stage.eval()
        return self

    def _stage(self, name: str) -> Head:
        return self.stages[name]  # type: ignore[return-value]

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Weighted sum of the losses of the trained stages; stages after the last of these do not run."""
        names = list(self.stages)
        names = names[: 1 + max(names.index(name) for name in self.trained)]
        cond, parts = dict(cond), {}
        totals: list[Tensor] = []
        estimate: Tensor | None = None
        for index, name in enumerate(names):
            stage, estimate = self._stage(name), None
            if name in self.trained:
                taught = {key: clean[self._stage(key).target] for key in self._taught(name)}
                loss = stage.loss(clean, {**cond, **taught})
                totals.append(self.weights[name] * loss.total)
                parts.update({f"{name}/{part}": value for part, value in loss.parts.items()})
                estimate = loss.data
            read = any(name in self._stage(later).reads for later in names[index + 1 :])
            if estimate is None and read and not self.teacher_forcing:
                with torch.no_grad():
                    estimate = stage.generate(cond, noise=torch.randn_like)
            if estimate is not None:
                cond[name] = estimate
        data = estimate if self._stage(names[-1]).target == self.target else None
        return Loss(torch.stack(totals).sum(), parts, data=data)

    def chosen(self, sampling: Sampling, options: Mapping[str, Any]) -> Sampling:
        """A sampling with a user's options: the cascade's own, and those of the last stage that samples."""
        own, rest = _split(options)
        if self.sampled is not None:
            try:
                sampling = self._stage(self.sampled).chosen(sampling, rest)
            except ValueError as error:
                if not rest:
                    raise
                raise ValueError(f"{error}; the cascade takes until and <stage>.<option>") from None
        sampling = replace(sampling, options={**sampling.options, **own})
        self._plan(sampling)
        return sampling

    def _plan(self, sampling: Sampling | None) -> tuple[dict[str, Sampling], str]:
        """What each stage is to do otherwise than by default, and the last stage to run."""
        last = list(self.stages)[-1]
        if sampling is None:
            return {}, last
        if self.sampled is None:
            raise ValueError("no stage of this head samples: it takes no sampling")
        own, rest = _split(sampling.options)
        until = own.pop("until", last)
        if until not in list(self.stages):
            raise ValueError(f"until={until!r}: expected one of the stages {', '.join(self.stages)}")
        if self._stage(until).target != self.target:
            raise ValueError(
                f"until={until!r}: this stage predicts {self._stage(until).target!r}, "
                f"and only {self.target!r} is turned into a waveform"
            )
        plan = {self.sampled: replace(sampling, options=rest)}
        chosen: dict[str, dict[str, Any]] = {}
        for key, value in own.items():
            name, _, option = key.partition(".")
            if name not in self.stages:
                raise ValueError(f"option {key!r}: there is no stage {name!r}; there are {', '.join(self.stages)}")
            if self._stage(name).sampling is None:
                raise ValueError(f"option {key!r}: stage {name!r} is deterministic and takes no options")
            chosen.setdefault(name, {})[option] = value
        for name, options in chosen.items():
            stage = self._stage(name)
            before = plan.get(name, stage.sampling)
            assert before is not None
            choices = {key: options.pop(key) for key in _CHOICES if key in options}
            try:
                plan[name] = stage.chosen(changed(before, **choices), options)
            except ValueError as error:
                raise ValueError(f"stage {name!r}: {error}") from None
        return plan, until

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Tensor:
        """Run the stages and return the output of the last one, or of the one named by the option `until`.

        Raises:
            ValueError: an option names no stage, or one that does not sample or cannot be returned; or a stage refuses.
        """
        plan, until = self._plan(sampling or self.sampling)
        cond = dict(cond)
        for name in self.stages:
            cond[name] = self._stage(name).generate(cond, sampling=plan.get(name), noise=noise, callback=callback)
            if name == until:
                break
        return cond[until]


def _split(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options of a cascade itself, and the others."""
    own = {key: value for key, value in options.items() if key == "until" or "." in key}
    return own, {key: value for key, value in options.items() if key not in own}
