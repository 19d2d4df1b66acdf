"""Samplers, time grids and noise: audio-free numerics on torch and torchdiffeq.

A sampler is a function (field, x, times, *, options) -> x, listed below by being here. Times come from `schedules`,
randomness from a `noise` argument. Tokens have samplers of their own: `autoregressive` (logits, prefix, steps, *,
options) and `maskgit` (predict, tokens, shares, *, options).
"""

from . import schedules
from .average import average
from .bridge import bridge_ode
from .exponential import exponential
from .flow_sde import flow_sde
from .noise import by_frame, gaussian, per_item, replay
from .ode import euler, heun, midpoint, odeint
from .sde import annealed_langevin, euler_maruyama, langevin, langevin_batch, predictor_corrector
from .tokens import TokenStep, autoregressive, greedy, maskgit, multinomial
from .types import AverageField, Bridge, Callback, Corrector, Estimate, Field, Noise, Path, PathField, RatedPath, Step

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
    "RatedPath",
    "Step",
    "TokenStep",
    "annealed_langevin",
    "autoregressive",
    "average",
    "bridge_ode",
    "by_frame",
    "euler",
    "euler_maruyama",
    "exponential",
    "flow_sde",
    "gaussian",
    "greedy",
    "heun",
    "langevin",
    "langevin_batch",
    "maskgit",
    "midpoint",
    "multinomial",
    "odeint",
    "per_item",
    "predictor_corrector",
    "replay",
    "schedules",
]
