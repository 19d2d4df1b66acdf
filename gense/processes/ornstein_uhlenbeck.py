"""The SDE of SGMSE+: exponential drift towards the noisy anchor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gense.processes.base import Coefficients, Process


class OrnsteinUhlenbeck(Process):
    """Ornstein-Uhlenbeck process with exploding variance (Richter et al. 2023, eqs. 8-13).

    dx = stiffness (anchor - x) dt + g(t) dw with g(t) = sigma_min (sigma_max / sigma_min)^t sqrt(2 L),
    L = log(sigma_max / sigma_min), so a = exp(-stiffness t), b = 1 - a and
    s^2 = sigma_min^2 L (exp(2 L t) - exp(-2 stiffness t)) / (stiffness + L).

    Args:
        stiffness: the paper's gamma (theta in the published code), > 0.
        sigma_min: scale of the diffusion at t = 0, > 0.
        sigma_max: scale of the diffusion at t = 1, > sigma_min.

    Raises:
        ValueError: a parameter is out of its range.
    """

    def __init__(self, stiffness: float = 1.5, sigma_min: float = 0.05, sigma_max: float = 0.5):
        if not (stiffness > 0 and 0 < sigma_min < sigma_max):
            raise ValueError(
                f"stiffness={stiffness}, sigma_min={sigma_min}, sigma_max={sigma_max}: "
                "need stiffness > 0 and 0 < sigma_min < sigma_max"
            )
        self.stiffness, self.sigma_min, self.sigma_max = stiffness, sigma_min, sigma_max

    def coefficients(self, t: Tensor) -> Coefficients:
        growth = math.log(self.sigma_max / self.sigma_min)
        a = torch.exp(-self.stiffness * t)
        # expm1 of the combined exponent keeps full precision near t = 0, where the two exponentials cancel
        rise = torch.expm1(2 * (growth + self.stiffness) * t)
        variance = self.sigma_min**2 * growth / (self.stiffness + growth) * rise
        return Coefficients(a, -torch.expm1(-self.stiffness * t), a * variance.sqrt())

    def diffusion(self, t: Tensor) -> Tensor:
        growth = math.log(self.sigma_max / self.sigma_min)
        return self.sigma_min * torch.exp(growth * t) * math.sqrt(2 * growth)
