"""Straight paths of flow matching."""

from __future__ import annotations

import torch
from torch import Tensor

from gense.processes.base import Coefficients, Process


class LinearFlow(Process):
    """Optimal-transport path from noise at t = 0 to data at t = 1, t clean + (1 - t) noise (Lipman et al. 2023)."""

    t_prior = 0.0
    t_data = 1.0

    def coefficients(self, t: Tensor) -> Coefficients:
        return Coefficients(t, torch.zeros_like(t), 1.0 - t)


class NoisyFlow(Process):
    """Straight path from noisy speech at t = 1 to clean speech at t = 0 (Lee et al. 2025, FlowSE).

    x_t = (1 - t) clean + t anchor + ((1 - t) sigma_min + t sigma_max) noise.

    Args:
        sigma_min: noise scale at the data end, >= 0.
        sigma_max: noise scale at the noisy end, >= 0.

    Raises:
        ValueError: a scale is negative, or both are zero.
    """

    def __init__(self, sigma_min: float = 0.0, sigma_max: float = 0.487):
        if min(sigma_min, sigma_max) < 0 or sigma_min == sigma_max == 0:
            raise ValueError(f"sigma_min={sigma_min}, sigma_max={sigma_max}: need both >= 0 and one > 0")
        self.sigma_min, self.sigma_max = sigma_min, sigma_max

    def coefficients(self, t: Tensor) -> Coefficients:
        return Coefficients(1.0 - t, t + 0.0, (1.0 - t) * self.sigma_min + t * self.sigma_max)
