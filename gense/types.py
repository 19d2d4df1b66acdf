"""Small types that cross folders.

Layout everywhere: batch first, time last. Waveforms (B, S) float32; STFT (B, 1, F, T) complex64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

Condition = dict[str, Tensor]
"""Name of a condition -> tensor, in the order in which the head lists them."""


@dataclass
class Batch:
    """A training batch: waveforms (B, S) at the enhancer's sampling rate, sample-aligned."""

    clean: Tensor
    noisy: Tensor
    text: list[str] | None = None


@dataclass
class Loss:
    """A scalar to minimise, its named, detached parts for the log, and the estimate behind it.

    Attributes:
        total: scalar.
        parts: name -> detached scalar.
        data: the estimate of the clean features, (B, *feature, T), with gradient; None for heads without one.
    """

    total: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)
    data: Tensor | None = None


@dataclass(frozen=True)
class Sampling:
    """The complete list of a head's sampling knobs.

    Args:
        sampler: a name in `gense.samplers`, a dotted path, or a function with a sampler's signature.
        steps: number of steps of the time grid, at least 1. Two-call samplers make up to twice as many network calls.
        schedule: a name in `gense.samplers.schedules`, a dotted path, or a function.
        options: keyword arguments of the sampler, checked against its signature.
        schedule_options: keyword arguments of the schedule; `start`, `stop` and `end` override the head's times.
        guidance: how far the estimate is pushed away from the one without conditions (Ho & Salimans 2022), g in
            out + g (out - null). 0 is the plain network, at half the work.
        guidance_interval: the part of the way from the prior (0) to the data (1) on which it is pushed.
    """

    sampler: str | Callable[..., Tensor] = "euler"
    steps: int = 30
    schedule: str | Callable[..., Tensor] = "uniform"
    options: dict[str, Any] = field(default_factory=dict)
    schedule_options: dict[str, Any] = field(default_factory=dict)
    guidance: float = 0.0
    guidance_interval: tuple[float, float] = (0.0, 1.0)
