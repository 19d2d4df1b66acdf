"""Samplers, time grids and noise: audio-free numerics on torch and torchdiffeq.

A sampler is a function (field, x, times, *, options) -> x, listed below by being here. Times come from `schedules`,
randomness from a `noise` argument.
"""

from . import schedules
from .average import average
from .bridge import bridge_ode
from .exponential import exponential
from .noise import by_frame, gaussian, per_item, replay
from .ode import euler, heun, midpoint, odeint
from .sde import annealed_langevin, euler_maruyama, langevin, langevin_batch, predictor_corrector
from .types import AverageField, Bridge, Callback, Corrector, Estimate, Field, Noise, Path, PathField, Step

__all__ = [
    "AverageField",
    "Bridge",
    "Callback",
    "Corrector",
    "Estimate",
    "Field",
    "Noise",
    "Path",
    "PathField",
    "Step",
    "annealed_langevin",
    "average",
    "bridge_ode",
    "by_frame",
    "euler",
    "euler_maruyama",
    "exponential",
    "gaussian",
    "heun",
    "langevin",
    "langevin_batch",
    "midpoint",
    "odeint",
    "per_item",
    "predictor_corrector",
    "replay",
    "schedules",
]
