"""Group-relative policy optimisation: advantages within groups, and the clipped objective.

Shao et al. 2024 (DeepSeekMath, arXiv 2402.03300) for the method, Liu et al. 2025 (Flow-GRPO, arXiv 2505.05470) for
flows; Wang et al. 2026 (arXiv 2601.16483) brought it to speech enhancement.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Combine = Literal["sum", "standard"]
Spread = Literal["group", "batch"]


def advantages(
    rewards: Tensor,
    weights: Tensor | None = None,
    *,
    combine: Combine = "sum",
    spread: Spread = "group",
    limit: float = 5.0,
    floor: float = 1e-4,
) -> Tensor:
    """How much better each rollout is than the others of its group, in deviations, (B, G).

    (R - mean of the group) / (deviation + floor), clipped to +-limit.

    Args:
        rewards: by item, rollout and metric, (B, G, M).
        weights: of the metrics, (M,); None: 1 each.
        combine: "sum": R is the weighted sum of the rewards. "standard": each reward is first brought to mean 0 and
            deviation 1 in its group, so that the weights say how much each counts, whatever its range.
        spread: whose deviation, without Bessel's correction: that of R in the group, or over all groups together.
        limit: > 0.
        floor: > 0, keeps groups of equal rewards at 0.

    Raises:
        ValueError: rewards that are not (B, G, M) with G >= 2 or not finite, or weights that do not fit.
    """
    if rewards.ndim != 3 or rewards.shape[1] < 2:
        raise ValueError(f"rewards have shape {tuple(rewards.shape)}: expected (items, rollouts >= 2, metrics)")
    if not rewards.isfinite().all():
        raise ValueError("rewards hold NaN or infinity: give scores that are undefined a value")
    weights = torch.ones(rewards.shape[2]) if weights is None else weights
    if weights.shape != rewards.shape[2:]:
        raise ValueError(f"weights have shape {tuple(weights.shape)} for {rewards.shape[2]} metrics: need one each")
    scaled = rewards
    if combine == "standard":
        scaled = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, correction=0, keepdim=True) + floor)
    total = scaled @ weights.to(rewards)
    deviation = total.std(1, correction=0, keepdim=True) if spread == "group" else total.std(correction=0)
    # Exactly 0 where a mean of equal numbers, rounded, is not one of them
    alike = (rewards == rewards[:, :1]).all(dim=2).all(dim=1, keepdim=True)
    return ((total - total.mean(1, keepdim=True)) / (deviation + floor)).clamp(-limit, limit).masked_fill(alike, 0.0)


def clipped_objective(log_prob: Tensor, old: Tensor, advantage: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """The loss max(-A r, -A clip(r, 1 - clip, 1 + clip)) of each rollout, and the ratio r = exp(log_prob - old), (R,).

    PPO's surrogate (Schulman et al. 2017, eq. 7). At r = 1 its gradient is that of REINFORCE, -A grad log_prob.

    Args:
        log_prob: of the recorded action under the present policy, (R,), with gradient.
        old: under the policy that took it, (R,).
        advantage: A, (R,).
        clip: how far a ratio may go before it earns nothing more, > 0.
    """
    ratio = (log_prob - old).exp()
    return torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - clip, 1 + clip)), ratio
