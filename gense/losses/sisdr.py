"""Scale-invariant signal-to-distortion ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from gense.losses.base import WaveLoss


class SISDRLoss(WaveLoss):
    """Negative scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), averaged over the batch.

    Args:
        weight: factor in the sum of losses.
        ceiling: items above this many dB give no more gradient. Targets under -50 dB of full scale, pauses between
            words, are left out.
    """

    def __init__(self, *, weight: float = 0.01, ceiling: float = 30.0):
        super().__init__()
        self.weight, self.ceiling = weight, ceiling

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        estimate = estimate - estimate.mean(dim=-1, keepdim=True)
        clean = clean - clean.mean(dim=-1, keepdim=True)
        energy = clean.square().sum(dim=-1)
        scale = (estimate * clean).sum(dim=-1) / (energy + 1e-8)
        target = scale[:, None] * clean
        noise = (estimate - target).square().sum(dim=-1)
        signal = target.square().sum(dim=-1)
        ratio = 10 * torch.log10((signal + 1e-8) / (noise + 10 ** (-self.ceiling / 10) * signal + 1e-8))
        audible = (energy > 1e-5 * clean.shape[-1]).to(ratio)
        return -(ratio * audible).sum() / audible.sum().clamp(min=1.0)
