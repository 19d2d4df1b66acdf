"""The interface of what turns conditions into clean features."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from gense import samplers
from gense.heads.resolve import keywords, name_of, resolve
from gense.samplers import schedules
from gense.samplers.types import Noise, Step
from gense.types import Condition, Loss, Sampling


class Head(nn.Module):
    """A composition of networks with a loss and a way to generate.

    Attributes:
        reads: condition keys that it needs, `noisy_<representation>` among them; nothing else is computed for it.
        target: name of the representation that it predicts.
        sampling: default sampling, None for a deterministic head.
    """

    reads: tuple[str, ...]
    target: str
    sampling: Sampling | None

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the representations of the clean speech that `loss` reads."""
        return (self.target,)

    def chosen(self, sampling: Sampling, options: Mapping[str, Any]) -> Sampling:
        """A sampling with a user's options, each handed to the sampler or to the schedule, whichever takes it.

        Called before any work begins. A head with options of its own takes and checks them here.

        Raises:
            ValueError: an unknown sampler or schedule, or an option that neither takes.
        """
        sampler, schedule = resolve(sampling.sampler, samplers, "field"), resolve(sampling.schedule, schedules, "steps")
        of_sampler = [name for name in keywords(sampler) if name not in ("noise", "callback")]
        of_schedule = keywords(schedule)
        for name in options:
            if name not in of_sampler and name not in of_schedule:
                raise ValueError(
                    f"unexpected option {name!r}: "
                    f"sampler {name_of(sampling.sampler)} takes {', '.join(of_sampler) or 'none'}; "
                    f"schedule {name_of(sampling.schedule)} takes {', '.join(of_schedule) or 'none'}"
                )
        return replace(
            sampling,
            options={**sampling.options, **{k: v for k, v in options.items() if k in of_sampler}},
            schedule_options={
                **sampling.schedule_options, **{k: v for k, v in options.items() if k not in of_sampler}
            },
        )

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Training loss.

        Args:
            clean: clean features by representation name, (B, *feature, T).
            cond: conditions by name.
        """
        raise NotImplementedError

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Tensor:
        """Return clean features, (B, *feature, T).

        Args:
            cond: conditions by name.
            sampling: overrides the head's own.
            noise: source of randomness; heads that sample need it.
            callback: called once a step.
        """
        raise NotImplementedError
