"""Learning rates over a training."""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["cosine", "linear"]


def rate_share(step: int, total: float, *, warmup: int, final: float, decay: Decay = "cosine") -> float:
    """The share of the full learning rate at a step: linear warm-up, then decay to `final` at the last step.

    Args:
        step: from 0.
        total: steps of the whole training; infinity, where nobody knows, decays nothing.
        warmup: steps of warm-up, the last of which has the full rate.
        final: share left at the end; 1 decays nothing.
        decay: the curve, "cosine" or "linear".

    Raises:
        ValueError: an unknown curve.
    """
    if decay not in ("cosine", "linear"):
        raise ValueError(f"decay={decay!r}: expected cosine or linear")
    if step < warmup:
        return (step + 1) / warmup
    if final == 1 or not math.isfinite(total):
        return 1.0
    progress = min(1.0, (step - warmup) / max(1.0, total - warmup))
    left = 1 - progress if decay == "linear" else 0.5 * (1 + math.cos(math.pi * progress))
    return final + (1 - final) * left
