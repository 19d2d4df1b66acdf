"""What a user may choose for a run, checked before any work begins."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gense.enhancer import Enhancer
from gense.heads.resolve import changed
from gense.limits import Limits
from gense.types import Sampling


def checked_seed(seed: int) -> int:
    """Return the seed, or raise ValueError."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed!r}: need a whole number, at least 0 and below 2^64")
    return int(seed)


def checked_samples(samples: int, seed: int, enhancer: Enhancer) -> list[int]:
    """Return the seed of each sample, or raise ValueError."""
    if not isinstance(samples, (int, np.integer)) or isinstance(samples, bool) or samples < 1:
        raise ValueError(f"samples={samples!r}: need a whole number, at least 1")
    if samples > 1 and enhancer.head.sampling is None:
        raise ValueError(f"samples={samples}: this method is deterministic, all samples would be the same; leave it 1")
    checked_seed(seed + int(samples) - 1)
    return list(range(seed, seed + int(samples)))


def checked_rate(rate: int) -> int:
    """Return the sampling rate in Hz, or raise ValueError."""
    limits = Limits.from_environment()
    low, high = limits.min_rate, limits.max_rate
    if not isinstance(rate, (int, np.integer)) or isinstance(rate, bool) or not low <= rate <= high:
        raise ValueError(f"sample_rate={rate!r}: expected whole Hz between {low} and {high}")
    return int(rate)


def checked_device(name: str | None) -> torch.device:
    """The device of a name, None for CUDA where there is one; raises ValueError for one that cannot be used."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).split("\n", 1)[0]
        raise ValueError(f"device={name!r} cannot be used: {reason}") from error
    return device


def checked_dtype(name: str) -> torch.dtype | None:
    """The dtype for autocast that a name stands for, None for float32; raises ValueError for others."""
    known = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}
    if name not in known:
        raise ValueError(f"dtype={name!r}: expected one of {', '.join(known)}")
    return known[name]


def checked_sampling(
    enhancer: Enhancer,
    steps: int | None,
    sampler: str | Callable[..., Tensor] | None,
    schedule: str | Callable[..., Tensor] | None,
    options: dict[str, Any],
) -> Sampling | None:
    """The head's sampling with the user's changes; None where nothing is changed.

    Raises:
        ValueError: impossible steps, an unknown sampler or schedule, or an option that nothing takes.
    """
    if steps is None and sampler is None and schedule is None and not options:
        return None
    own = enhancer.head.sampling
    if own is None:
        raise ValueError("this method is deterministic: it takes no steps, sampler, schedule or options")
    return enhancer.head.chosen(changed(own, steps=steps, sampler=sampler, schedule=schedule), options)
