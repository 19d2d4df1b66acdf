"""What a user may choose for a run, checked before any work begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from gense import samplers
from gense.enhancer import Enhancer
from gense.heads.resolve import keywords, resolve
from gense.samplers import schedules
from gense.types import Sampling


def checked_seed(seed: int) -> int:
    """Return the seed, or raise ValueError."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed!r}: need a whole number, at least 0 and below 2^64")
    return int(seed)


def checked_rate(rate: int) -> int:
    """Return the sampling rate in Hz, or raise ValueError."""
    if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool) or not 1000 <= rate <= 768000:
        raise ValueError(f"sample_rate={rate!r}: expected whole Hz between 1000 and 768000")
    return int(rate)


def checked_sampling(
    enhancer: Enhancer,
    steps: int | None,
    sampler: str | Callable[..., Tensor] | None,
    schedule: str | Callable[..., Tensor] | None,
    options: dict[str, Any],
) -> Sampling | None:
    """The head's sampling with the user's changes; None where nothing is changed.

    Raises:
        ValueError: impossible steps, an unknown sampler or schedule, or an option that neither takes.
    """
    if steps is None and sampler is None and schedule is None and not options:
        return None
    own = enhancer.head.sampling
    if own is None:
        raise ValueError("this method is deterministic: it takes no steps, sampler, schedule or options")
    if steps is not None and (not isinstance(steps, (int, np.integer)) or isinstance(steps, bool) or steps < 1):
        raise ValueError(f"steps={steps!r}: need a whole number, at least 1")
    changed = replace(own, steps=own.steps if steps is None else int(steps))
    if sampler is not None and sampler != own.sampler:
        changed = replace(changed, sampler=sampler, options={})
    if schedule is not None and schedule != own.schedule:
        changed = replace(changed, schedule=schedule, schedule_options={})
    of_sampler = [k for k in keywords(resolve(changed.sampler, samplers, "field")) if k not in ("noise", "callback")]
    of_schedule = keywords(resolve(changed.schedule, schedules, "steps"))
    for name in options:
        if name not in of_sampler and name not in of_schedule:
            raise ValueError(
                f"unexpected option {name!r}: "
                f"sampler {_name(changed.sampler)} takes {', '.join(of_sampler) or 'none'}; "
                f"schedule {_name(changed.schedule)} takes {', '.join(of_schedule) or 'none'}"
            )
    return replace(
        changed,
        options={**changed.options, **{k: v for k, v in options.items() if k in of_sampler}},
        schedule_options={
            **changed.schedule_options, **{k: v for k, v in options.items() if k in of_schedule and k not in of_sampler}
        },
    )


def _name(choice: str | Callable[..., Tensor]) -> str:
    return choice if isinstance(choice, str) else getattr(choice, "__name__", repr(choice))
