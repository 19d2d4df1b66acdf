"""Schroedinger bridges between clean and noisy speech (Jukic et al. 2024, Table 1 and eqs. 9-11).

Both start from a diffusion dx = f x dt + g dw of clean speech with alpha = exp(int f) and sigma^2 = int g^2 / alpha^2,
and condition it to end in the anchor. With alpha_1, sigma_1 those at t = 1 the marginals are a = alpha (1 - r),
b = alpha / alpha_1 r, s^2 = alpha^2 sigma^2 (1 - r), where r = sigma^2 / sigma_1^2. At both ends s = 0: a path starts
in the anchor itself, without noise. There ds/dt is infinite, and at t = 1 a is 0, so that neither a velocity nor a
score exists: `exponential` starts there, other samplers need a grid that starts beside it (start=0.98). Those of the
SDE may start so from the anchor, too, which their noise makes them forget; those of the ODE then miss the data.

Every difference of exponentials is written with expm1 or sinh of the time to one end, so that a, b and s keep their
relative precision up to both ends, in float32 too, and are exactly 0 and 1 there.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gense.processes.base import Coefficients, Process


class BridgeVE(Process):
    """Bridge with exploding variance: f = 0, g^2 = c k^(2 t), sigma^2 = c (k^(2 t) - 1) / (2 log k), alpha = 1.

    Args:
        k: growth of the diffusion, > 1.
        c: scale of the squared diffusion, > 0.

    Raises:
        ValueError: a parameter is out of its range.
    """

    def __init__(self, k: float = 2.6, c: float = 0.4):
        if not (1 < k < 1e6 and 0 < c < math.inf):
            raise ValueError(f"k={k}, c={c}: need 1 < k < 1e6 and c > 0")
        self.k, self.c = k, c

    def coefficients(self, t: Tensor) -> Coefficients:
        growth = 2 * math.log(self.k)
        rise = torch.expm1(growth * t)
        whole = torch.expm1(growth * torch.ones_like(t))
        a = torch.exp(growth * t) * torch.expm1(growth * (1 - t)) / whole
        return Coefficients(a, rise / whole, (self.c / growth * rise * a).sqrt())

    def diffusion(self, t: Tensor) -> Tensor:
        return math.sqrt(self.c) * torch.exp(math.log(self.k) * t)

    def spread(self, t: Tensor) -> Tensor:
        """Return sigma of the unconditioned diffusion, like t in shape and precision; see `samplers.types.Bridge`."""
        # As a power less one and in t's own precision, because the weights that published codes make of it in single
        # precision stand for what is left of differences of numbers in the thousands
        log = torch.tensor(self.k, dtype=t.dtype, device=t.device).log()
        return (self.c * (self.k ** (2 * t) - 1.0) / (2 * log)).sqrt()


class BridgeVP(Process):
    """Bridge that preserves variance: f = -beta / 2, g^2 = c beta with beta = beta_0 + (beta_1 - beta_0) t.

    With B = int beta, alpha = exp(-B / 2) and sigma^2 = c (exp(B) - 1), which makes it symmetric in time:
    a = sinh((B_1 - B) / 2) / sinh(B_1 / 2), b = sinh(B / 2) / sinh(B_1 / 2), s^2 = 2 c a b sinh(B_1 / 2).

    Args:
        beta_0: rate at t = 0, >= 0.
        beta_1: rate at t = 1, > 0.
        c: scale of the squared diffusion, > 0.

    Raises:
        ValueError: a parameter is out of its range.
    """

    def __init__(self, beta_0: float = 0.01, beta_1: float = 20.0, c: float = 0.3):
        # beyond this sum sinh overflows in float32
        if not (beta_0 >= 0 and beta_1 > 0 and beta_0 + beta_1 <= 300 and 0 < c < math.inf):
            raise ValueError(
                f"beta_0={beta_0}, beta_1={beta_1}, c={c}: need beta_0 >= 0, beta_1 > 0, their sum <= 300, c > 0"
            )
        self.beta_0, self.beta_1, self.c = beta_0, beta_1, c

    def coefficients(self, t: Tensor) -> Coefficients:
        slope = (self.beta_1 - self.beta_0) / 2
        half = t * (self.beta_0 + slope * t) / 2
        remaining = (1 - t) * (self.beta_0 + slope * (1 + t)) / 2
        whole = torch.sinh((self.beta_0 + slope * torch.ones_like(t)) / 2)
        a, b = torch.sinh(remaining) / whole, torch.sinh(half) / whole
        return Coefficients(a, b, (2 * self.c * torch.sinh(half) * a).sqrt())

    def diffusion(self, t: Tensor) -> Tensor:
        return (self.c * (self.beta_0 + (self.beta_1 - self.beta_0) * t)).sqrt()
