"""A sampler for fields whose average velocity over a whole step is known."""

from __future__ import annotations

from torch import Tensor

from .schedules import intervals
from .types import AverageField, Callback, report


def average(field: AverageField, x: Tensor, times: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Steps x + (t_next - t) u(x, t, t_next) with the average velocity u, one call each (Geng et al. 2025).

    With the exact average velocity every grid gives the exact solution, a single step too. With a learned one, more
    steps trust it over shorter ways.

    Args:
        field: a field with an average velocity.
        x: state at times[0], (B, *shape).
        times: grid, (steps + 1,).
        callback: called with each `Step`.

    Returns:
        The state at times[-1], (B, *shape).

    Raises:
        ValueError: the field has no average velocity, or a bad grid.
    """
    velocity = getattr(field, "average", None)
    if velocity is None:
        raise ValueError(
            "this field has no average velocity, which a network must be trained for: sample it with euler or heun"
        )
    for index, t, t_next, _ in intervals(times):
        x_next = x + float(t_next - t) * velocity(x, t, t_next)
        report(callback, index, t, t_next, x, x_next, 0.0, x_next)
        x = x_next
    return x
