"""Scalings around a network, which keep its inputs and outputs near unit size."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from gense.processes.base import Process


class Scalings(NamedTuple):
    """The numbers in c_skip x + c_out network(c_in x, t, c_in conditions), each shaped like t."""

    c_in: Tensor
    c_skip: Tensor
    c_out: Tensor


class Precondition:
    """Input, skip and output scaling of a network as functions of the noise s(t) (Karras et al. 2022, Table 1).

    The choices are those of Richter et al. (2025), "Investigating training objectives for generative speech
    enhancement". With the deviation d of the data, "edm" is c_in = 1 / sqrt(s^2 + d^2), c_skip = d^2 / (s^2 + d^2) and
    c_out = s d / sqrt(s^2 + d^2).

    Args:
        c_in: "unit" (1) or "edm"; it scales the state and every condition alike.
        c_skip: "none" (0) or "edm".
        c_out: "unit" (1), "noise" (s), "inverse_noise" (1 / s) or "edm".
        scaling: another factor of c_out: "unit" (1), "inverse_noise" (1 / s) or "inverse_time" (1 / |t - t_data|).
        sigma_data: deviation d of the data, > 0.

    Raises:
        ValueError: an unknown choice, or sigma_data <= 0.
    """

    def __init__(
        self,
        *,
        c_in: Literal["unit", "edm"] = "unit",
        c_skip: Literal["none", "edm"] = "none",
        c_out: Literal["unit", "noise", "inverse_noise", "edm"] = "unit",
        scaling: Literal["unit", "inverse_noise", "inverse_time"] = "unit",
        sigma_data: float = 0.1,
    ):
        for name, value, known in (
            ("c_in", c_in, ("unit", "edm")),
            ("c_skip", c_skip, ("none", "edm")),
            ("c_out", c_out, ("unit", "noise", "inverse_noise", "edm")),
            ("scaling", scaling, ("unit", "inverse_noise", "inverse_time")),
        ):
            if value not in known:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(known)}")
        if not 0 < sigma_data < math.inf:
            raise ValueError(f"sigma_data={sigma_data}: need a number > 0")
        self.c_in, self.c_skip, self.c_out, self.scaling = c_in, c_skip, c_out, scaling
        self.sigma_data = sigma_data

    def scalings(self, process: Process, t: Tensor) -> Scalings:
        """The scalings on a path at times t."""
        s, d = process.coefficients(t).s, self.sigma_data
        one, root = torch.ones_like(s), (s.square() + d**2).sqrt()
        out = {"unit": one, "noise": s, "inverse_noise": 1 / s, "edm": s * d / root}[self.c_out]
        factor = {"unit": one, "inverse_noise": 1 / s, "inverse_time": 1 / (t - process.t_data).abs()}[self.scaling]
        return Scalings(
            c_in=1 / root if self.c_in == "edm" else one,
            c_skip=d**2 / root.square() if self.c_skip == "edm" else torch.zeros_like(s),
            c_out=out * factor,
        )

    def edm_weight(self, process: Process, t: Tensor) -> Tensor:
        """The loss weight (s^2 + d^2) / (s d)^2 that makes the loss on the network's raw output uniform, like t."""
        s, d = process.coefficients(t).s, self.sigma_data
        return (s.square() + d**2) / (s * d).square()
