"""Time grids. A sampler walks the grid it is given, so any monotone 1-D tensor will do in place of these.

Each schedule returns `steps + 1` times from `start` to `end`, both hit exactly, float64 on the CPU. Time may run either
way. With `stop`, the last step begins there: `steps - 1` intervals of the schedule lead from `start` to `stop`, and one
more step goes to `end`. Score models are walked so, linspace(1, 0.03, N) and then 0, because nearer to the end their
estimates are no longer trained (Song et al. 2021, appendix C). A single step has no interior point: its grid is
[start, end], whatever `stop` says.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

__all__ = ["cosine", "karras", "sway", "uniform"]


def uniform(steps: int, *, start: float = 1.0, end: float = 0.0, stop: float | None = None) -> Tensor:
    """Return equally spaced times, (steps + 1,).

    Args:
        steps: number of steps, >= 1.
        start: first time.
        end: last time, above or below `start`.
        stop: time at which the last step begins, strictly between start and end; None spaces all steps alike.

    Raises:
        ValueError: steps < 1, a time is not finite, start equals end, or stop does not lie between them.
    """
    return _grid(steps, start, end, stop, lambda u: u)


def cosine(steps: int, *, start: float = 1.0, end: float = 0.0, stop: float | None = None) -> Tensor:
    """Return times that are dense at both ends, (steps + 1,): progress (1 - cos(pi u)) / 2 for u uniform in [0, 1].

    A grid dense at the start alone, 1 - cos(pi u / 2), is `sway` with coefficient -1. Arguments, errors: see `uniform`.
    """
    return _grid(steps, start, end, stop, lambda u: (1 - torch.cos(math.pi * u)) / 2)


def sway(
    steps: int, *, start: float = 1.0, end: float = 0.0, stop: float | None = None, coefficient: float = -1.0
) -> Tensor:
    """Return times swayed towards one end, (steps + 1,) (F5-TTS, Chen et al. 2024, eq. 7).

    Progress u + coefficient (cos(pi u / 2) - 1 + u) for u uniform in [0, 1], counted from `start`.

    Args:
        steps: see `uniform`.
        start: see `uniform`.
        end: see `uniform`.
        stop: see `uniform`.
        coefficient: < 0 crowds the steps at the start, > 0 at the end, 0 is uniform. In [-1, 2 / (pi - 2)], outside of
            which the grid would turn back.

    Raises:
        ValueError: as `uniform`, or the coefficient is out of its range.
    """
    limit = 2 / (math.pi - 2)
    if not -1 <= coefficient <= limit:
        raise ValueError(f"coefficient={coefficient}: need -1 <= coefficient <= {limit:.4f}, or time runs backwards")
    return _grid(steps, start, end, stop, lambda u: u + coefficient * (torch.cos(math.pi / 2 * u) - 1 + u))


def karras(
    steps: int,
    *,
    start: float = 1.0,
    end: float = 0.0,
    stop: float | None = None,
    rho: float = 7.0,
    smallest: float = 0.01,
) -> Tensor:
    """Return times whose distance to the end shrinks as a power, (steps + 1,) (EDM, Karras et al. 2022, eq. 5).

    The distance d = |t - end| takes the part of EDM's noise level: for i = 0 ... N - 1, N = steps,
    d_i = (d_0^(1/rho) + i / (N - 1) (d_stop^(1/rho) - d_0^(1/rho)))^rho, and d_N = 0. With end = 0 this is eq. 5 with
    sigma_max = start and sigma_min = stop; with time running upwards it is the mirror image.

    Args:
        steps: see `uniform`.
        start: see `uniform`.
        end: see `uniform`.
        stop: see `uniform`, but eq. 5 needs one: None chooses it by `smallest`.
        rho: > 0; 1 is uniform, larger crowds the steps at the end (EDM: 7).
        smallest: length of the last step as a share of the whole interval where `stop` is None, in (0, 1).

    Raises:
        ValueError: as `uniform`, or rho or smallest is out of its range.
    """
    if not (rho > 0 and math.isfinite(rho)):
        raise ValueError(f"rho={rho}: need a finite number > 0")
    if not 0 < smallest < 1:
        raise ValueError(f"smallest={smallest}: need a share of the interval in (0, 1)")
    _check(steps, start, end, stop)
    if stop is None:
        stop = end + smallest * (start - end)
    longest, shortest = abs(start - end), abs(stop - end)

    def progress(u: Tensor) -> Tensor:
        distance = (longest ** (1 / rho) + u * (shortest ** (1 / rho) - longest ** (1 / rho))) ** rho
        return (longest - distance) / (longest - shortest)

    return _grid(steps, start, end, stop, progress)


def intervals(times: Tensor) -> Iterator[tuple[int, Tensor, Tensor, bool]]:
    """Walk a grid: yield (index, t, t_next, last) per step, the times as float64 CPU scalars.

    Args:
        times: strictly monotone grid, (steps + 1,), any floating dtype and device.

    Raises:
        ValueError: the grid is not 1-D with at least two finite, strictly rising or strictly falling times.
    """
    if times.ndim != 1 or len(times) < 2:
        raise ValueError(f"times has shape {tuple(times.shape)}: need a 1-D grid with at least two times")
    times = times.detach().to("cpu", torch.float64)
    gaps = times.diff()
    if not (bool(times.isfinite().all()) and (bool((gaps > 0).all()) or bool((gaps < 0).all()))):
        raise ValueError(f"times={times.tolist()}: need finite times that strictly rise or strictly fall")
    count = len(gaps)
    return ((index, times[index], times[index + 1], index == count - 1) for index in range(count))


def _check(steps: int, start: float, end: float, stop: float | None) -> None:
    if operator.index(steps) < 1:
        raise ValueError(f"steps={steps}: need at least 1")
    if not (math.isfinite(start) and math.isfinite(end) and start != end):
        raise ValueError(f"start={start}, end={end}: need two different finite times")
    if stop is not None and not min(start, end) < stop < max(start, end):
        raise ValueError(f"stop={stop}: need a time strictly between start={start} and end={end}, or None")


def _grid(steps: int, start: float, end: float, stop: float | None, progress: Callable[[Tensor], Tensor]) -> Tensor:
    """Map uniform u in [0, 1] through `progress` (0 -> 0, 1 -> 1, increasing) onto the times from start to end."""
    _check(steps, start, end, stop)
    ends = [end] if stop is None or steps == 1 else [stop, end]
    u = torch.linspace(0, 1, steps + 2 - len(ends), dtype=torch.float64)
    inner = start + (ends[0] - start) * progress(u)[1:-1]
    # the ends are copied, not computed: rounding must not move a path past its singular end
    return torch.cat([inner.new_tensor([start]), inner, inner.new_tensor(ends)])
