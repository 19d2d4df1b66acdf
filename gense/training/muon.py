"""An optimiser for transformers: orthogonal updates of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_RMS = 0.2


class Muon(Optimizer):
    """Muon (Jordan et al. 2024) for weights of linear layers, AdamW (Loshchilov & Hutter 2019) for all others.

    The momentum of a matrix is brought near the closest orthogonal one by five Newton-Schulz iterations, so that all
    its directions move alike, and scaled by 0.2 sqrt(larger side), at which its elements move as those of AdamW do (Liu
    et al. 2025): one learning rate and one weight decay hold for both. A matrix of three times as many rows as columns,
    query, key and value in one, counts as three.

    Args:
        params: what is trained.
        lr: learning rate.
        weight_decay: decoupled decay, >= 0.
        momentum: of Muon, Nesterov's, in [0, 1).
        betas: of AdamW.
        least: matrices with a side shorter than this are left to AdamW, as are tensors of other dimensions.

    Raises:
        ValueError: nothing to train, or a number out of its range.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        weight_decay: float = 0.01,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        least: int = 64,
    ):
        params = list(params)
        if not (lr >= 0 and weight_decay >= 0 and all(0 <= share < 1 for share in (momentum, *betas))):
            raise ValueError(
                f"lr={lr}, weight_decay={weight_decay}, momentum={momentum}, betas={betas}: need rates >= 0, and "
                "momentum and betas in [0, 1)"
            )
        matrices = [p for p in params if p.ndim == 2 and min(p.shape) >= least]
        chosen = {id(p) for p in matrices}
        groups = [
            {"params": group, "orthogonal": orthogonal}
            for group, orthogonal in ((matrices, True), ([p for p in params if id(p) not in chosen], False))
            if group
        ]
        if not groups:
            raise ValueError("params is empty: there is nothing to train")
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "betas": tuple(betas)})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient; return what `closure`, evaluated before, returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = _muon if group["orthogonal"] else _adam
            for p in group["params"]:
                if p.grad is not None:
                    p.mul_(1 - group["lr"] * group["weight_decay"])
                    p.sub_(group["lr"] * update(p.grad, self.state[p], group))
        return loss


def _muon(grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
    """Direction for a matrix, (N, M)."""
    if not state:
        state["average"] = torch.zeros_like(grad)
    average = state["average"].lerp_(grad, 1 - group["momentum"])
    rows, columns = grad.shape
    pieces = grad.lerp(average, group["momentum"]).unflatten(0, (3 if rows == 3 * columns else 1, -1))
    return orthogonal(pieces).flatten(0, 1) * _RMS * max(pieces.shape[1:]) ** 0.5


def _adam(grad: Tensor, state: dict[str, Tensor], group: dict[str, Any]) -> Tensor:
    """Direction for a tensor of any shape."""
    first, second = group["betas"]
    if not state:
        state.update(step=torch.zeros(()), average=torch.zeros_like(grad), square=torch.zeros_like(grad))
    step = state["step"].add_(1)
    average = state["average"].lerp_(grad, 1 - first)
    square = state["square"].mul_(second).addcmul_(grad, grad, value=1 - second)
    return average / (1 - first**step) / ((square / (1 - second**step)).sqrt() + 1e-8)


def orthogonal(x: Tensor) -> Tensor:
    """Matrices (B, N, M) with singular vectors like x and singular values between 0.7 and 1.2, where x has any."""
    a, b, c = _NEWTON_SCHULZ
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(5):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x
