"""ODE samplers: they walk dx/dt = field(x, t) along a time grid and return the state at its end.

Any function of (x, t) is a field. x (B, *shape) may be complex and is never changed in place; `times` is a strictly
monotone 1-D grid (see `schedules`); grad mode is the caller's. A bad grid raises ValueError.

`euler`, `heun` and `midpoint` never evaluate the field at the last time. Paths whose noise vanishes there have no
velocity at their end (it is 0/0 when derived from an estimate of the data), and an Euler step into that end lands on
the estimate itself.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from .schedules import intervals
from .types import Callback, Field, report


def euler(field: Field, x: Tensor, times: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Euler's method: first order, one field evaluation per step.

    Args:
        field: (x, t) -> dx/dt.
        x: state at times[0], (B, *shape).
        times: grid, (steps + 1,).
        callback: called with each `Step`.

    Returns:
        The state at times[-1], (B, *shape).
    """
    for index, t, t_next, _ in intervals(times):
        x_next = x + float(t_next - t) * field(x, t)
        report(callback, index, t, t_next, x, x_next, 0.0, x_next)
        x = x_next
    return x


def heun(field: Field, x: Tensor, times: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Heun's method with an Euler step at the end (EDM, Karras et al. 2022, algorithm 1): 2 steps - 1 evaluations.

    The last step keeps clear of the end of the path, as explained above. Its error is of second order in the step, and
    being the only one of its kind it leaves the whole method at second order. For Heun's rule on every step use
    `odeint(solver="heun2")`. Arguments: see `euler`.
    """
    for index, t, t_next, last in intervals(times):
        dt = float(t_next - t)
        slope = field(x, t)
        x_next = x + dt * slope
        if not last:
            x_next = x + dt / 2 * (slope + field(x_next, t_next))
        report(callback, index, t, t_next, x, x_next, 0.0, x_next)
        x = x_next
    return x


def midpoint(field: Field, x: Tensor, times: Tensor, *, callback: Callback | None = None) -> Tensor:
    """Midpoint rule: second order, two evaluations per step, at its beginning and its middle.

    Arguments: see `euler`.
    """
    for index, t, t_next, _ in intervals(times):
        dt = float(t_next - t)
        halfway = x + dt / 2 * field(x, t)
        x_next = x + dt * field(halfway, (t + t_next) / 2)
        report(callback, index, t, t_next, x, x_next, 0.0, x_next)
        x = x_next
    return x


FIXED = ("euler", "midpoint", "heun2", "heun3", "rk4")
"""Methods of `odeint` that take the grid's own steps."""

ADAPTIVE = {
    "dopri5": 6, "dopri8": 13, "bosh3": 3, "adaptive_heun": 1,
    "scipy:RK45": 6, "scipy:RK23": 3, "scipy:DOP853": 12,
}  # fmt: skip
"""Methods of `odeint` that choose their own steps -> most field evaluations per attempted step."""


def odeint(
    field: Field,
    x: Tensor,
    times: Tensor,
    *,
    solver: str = "dopri5",
    rtol: float = 1e-5,
    atol: float = 1e-5,
    step_limit: int = 1000,
    callback: Callback | None = None,
) -> Tensor:
    """Integrate with torchdiffeq, by a Runge-Kutta method of fixed or of adaptive steps.

    Fixed methods take the steps of the grid. Adaptive ones go from times[0] to times[-1] with steps of their own that
    land exactly on times[-1]. Both evaluate the field at the last time (up to one rounding) but never beyond it: let
    the grid end short of a singular end.

    The state is kept in double precision; the field is called in x's own dtype, and with t as every sampler calls it.
    Step control happens on the host, so each evaluation waits for the device; a device without float64 cannot do this.

    The published speech enhancement codes integrate with scipy's RK45. "dopri5" is the same pair of Dormand and Prince
    with another error estimate and other step sizes: both solve to their tolerance, but at rtol = atol = 1e-3 their
    results differ by 3e-3 to 7e-2 (relative L2) on typical paths. "scipy:RK45" calls scipy itself, through torchdiffeq,
    and agrees to rounding; it makes no gradients, keeps the state on the CPU and reports one single `Step`.

    Args:
        field: (x, t) -> dx/dt.
        x: state at times[0], (B, *shape).
        times: grid, (steps + 1,).
        solver: fixed: "euler", "midpoint", "heun2", "heun3", "rk4"; adaptive: "dopri5", "dopri8", "bosh3",
            "adaptive_heun", "scipy:RK45", "scipy:RK23", "scipy:DOP853".
        rtol: relative tolerance of adaptive methods, > 0, on the root mean square over the whole batch.
        atol: absolute tolerance of adaptive methods, > 0.
        step_limit: most steps that an adaptive method may attempt, > 0; it bounds the field evaluations.
        callback: called with each accepted `Step`, when the step after it begins.

    Returns:
        The state at times[-1], (B, *shape).

    Raises:
        ValueError: unknown solver, a tolerance or limit that is not > 0, or a bad grid.
        RuntimeError: the step limit is used up, or the solver gives up because the state or the step is not finite.
    """
    if solver not in FIXED and solver not in ADAPTIVE:
        raise ValueError(f"solver={solver!r}: expected one of {', '.join([*FIXED, *ADAPTIVE])}")
    if not (rtol > 0 and atol > 0 and step_limit > 0):
        raise ValueError(f"rtol={rtol}, atol={atol}, step_limit={step_limit}: need all > 0")
    # not at the top, because it loads scipy, which takes longer than the whole of this library; and outside of
    # inference mode, because its tables of coefficients would stay inference tensors as long as the process lives
    with torch.inference_mode(False):
        import torchdiffeq

    steps = list(intervals(times))
    grid = torch.stack([steps[0][1], *(t_next for _, _, t_next, _ in steps)]).to(x.device)
    calls_per_step = ADAPTIVE.get(solver)
    if calls_per_step is not None:
        grid = grid[[0, -1]]
    # besides its steps a method evaluates the first slope, a probe for the first step size and, last, dense output
    walk = _Walk(field, x, grid, calls_per_step and calls_per_step * step_limit + 5, callback)
    library, _, name = solver.rpartition(":")
    options: dict[str, object] = {}
    if library:
        solver = "scipy_solver"
        options["solver"] = name
        walk.begin(grid[0], x)
    else:
        if calls_per_step is not None:
            options["step_t"] = grid[1:]  # without it the solver steps over the end and interpolates back
        setattr(walk, "callback_step" if calls_per_step is None else "callback_accept_step", walk.begin)
    state = x.to(torch.complex128 if x.is_complex() else torch.float64)
    try:
        with warnings.catch_warnings():
            # torchdiffeq passes min_step to every scipy solver, and these warn that they have none
            warnings.filterwarnings("ignore", message=".*`min_step`", category=UserWarning)
            states = torchdiffeq.odeint(walk, state, grid, rtol=rtol, atol=atol, method=solver, options=options)
    except AssertionError as error:  # torchdiffeq's way to report a state or a step size that is not finite
        raise RuntimeError(f"odeint: {name} failed after {walk.calls} field evaluations") from error
    if len(states) < len(grid):
        raise RuntimeError(f"odeint: {name} gave up after {walk.calls} field evaluations: no step is small enough")
    if not bool(states[-1].isfinite().all()):
        raise RuntimeError(f"odeint: {name} ended in a state that is not finite: end the grid short of a singular end")
    walk.begin(grid[-1], states[-1])
    return states[-1].to(x.dtype)


class _Walk:
    """A field in torchdiffeq's form, t before x, that counts its calls and reports accepted steps.

    Args:
        field: (x, t) -> dx/dt.
        x: the first state; its dtype is the one the field is called in.
        grid: times in double precision, on x's device.
        call_limit: most calls, or None.
        callback: called with each `Step`.
    """

    def __init__(self, field: Field, x: Tensor, grid: Tensor, call_limit: int | None, callback: Callback | None):
        self.field, self.dtype, self.call_limit, self.callback = field, x.dtype, call_limit, callback
        self.low, self.high = float(grid.min()), float(grid.max())
        self.calls = 0
        self.index = -1
        self.previous: tuple[Tensor, Tensor] | None = None

    def __call__(self, t: Tensor, state: Tensor) -> Tensor:
        self.calls += 1
        if self.call_limit is not None and self.calls > self.call_limit:
            raise RuntimeError(
                f"odeint: step_limit used up after {self.call_limit} field evaluations, at t={float(t):.6g}: raise "
                "rtol and atol, raise step_limit, or end the time grid further from a singular end"
            )
        # the probe for the first step size may look past the end, where a path need not exist
        t = t.detach().to("cpu", torch.float64).clamp(self.low, self.high)
        return self.field(state.to(self.dtype), t).to(state.dtype)

    def begin(self, t: Tensor, state: Tensor, dt: Tensor | None = None) -> None:
        """Report the step that ends where this one begins; torchdiffeq calls this before accepted steps."""
        t, state = t.to("cpu", torch.float64), state.to(self.dtype)
        if self.previous is not None:
            report(self.callback, self.index, self.previous[0], t, self.previous[1], state, 0.0, state)
        self.previous = (t, state)
        self.index += 1
