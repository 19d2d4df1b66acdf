"""Stochastic sampling as a policy: its steps recorded, taken again under other weights, and how likely they were.

A step of a stochastic sampler draws x' ~ N(mean(x), std^2): an action of a policy whose state is (x, t) (Black et al.
2024, DDPO; Liu et al. 2025, Flow-GRPO). Rows (R, *shape) are rollouts, those of one item next to each other.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gense import samplers
from gense.heads.path import PathHead
from gense.heads.resolve import keywords, resolve
from gense.samplers.types import Noise, Step
from gense.types import Condition, Sampling


def group_noise(seed: int, group: int, *, shared_start: bool = False, mirrored: bool = False) -> Noise:
    """Noise for groups of rollouts.

    Args:
        seed: an integer in [0, 2^64).
        group: rollouts per item.
        shared_start: the first draw, of the prior, is the same for all of a group, so that rewards within it differ by
            the actions alone.
        mirrored: of later draws the second half of a group gets the first half's times -1. What a reward owes to the
            size of the noise and not to its direction then falls out of the advantages.

    Raises:
        ValueError: mirrored with an odd group; when drawing: the rows are no whole groups.
    """
    if mirrored and group % 2:
        raise ValueError(f"mirrored with group={group}: need an even number, or mirrored=False")
    draw, first = samplers.gaussian(seed), True

    def noise(like: Tensor) -> Tensor:
        nonlocal first
        if len(like) % group:
            raise ValueError(f"{len(like)} rows are no whole groups of {group}")
        rows = like.reshape(-1, group, *like.shape[1:])
        shared, first = shared_start and first, False
        if shared:
            return draw(rows[:, 0]).repeat_interleave(group, 0)
        if mirrored:
            half = draw(rows[:, : group // 2])
            return torch.cat([half, -half], dim=1).reshape(like.shape)
        return draw(like)

    return noise


@torch.no_grad()
def rollout(head: PathHead, cond: Condition, sampling: Sampling, noise: Noise) -> tuple[Tensor, list[Step]]:
    """Sample, and keep the steps that had a choice.

    Args:
        head: the policy.
        cond: conditions by name, (R, ...) each.
        sampling: of a stochastic sampler.
        noise: source of the choices.

    Returns:
        The generated features (R, *feature, T), and the steps with std > 0.

    Raises:
        ValueError: no step had a choice.
    """
    steps: list[Step] = []
    features = head.generate(cond, sampling=sampling, noise=noise, callback=steps.append)
    chosen = [step for step in steps if step.std > 0]
    if not chosen:
        raise ValueError(
            f"none of the {len(steps)} steps of {sampling.sampler} is stochastic: take at least 2 steps (the last one "
            "never is) of flow_sde with level > 0, exponential with eta > 0, or euler_maruyama"
        )
    return features, chosen


def remake(head: PathHead, cond: Condition, sampling: Sampling, step: Step, rows: Tensor) -> Tensor:
    """The mean of a recorded step under the head's present weights, (len(rows), *shape), with gradient.

    The sampler walks a grid of this one step, of which it returns the mean. That is the mean it reported where a step
    depends on its state and its two times alone; `check_remade` tells where it does not.

    Args:
        head: the policy, or another one.
        cond: conditions of these rows, (len(rows), ...) each.
        sampling: with which the step was recorded.
        step: the recorded step.
        rows: which of its rows, int64.
    """
    sampler = resolve(sampling.sampler, samplers, "field")
    options = dict(sampling.options)
    if "noise" in keywords(sampler):
        options["noise"] = torch.zeros_like
    return sampler(head.field(cond, sampling), step.x[rows], torch.stack([step.t, step.t_next]), **options)


def check_remade(mean: Tensor, step: Step, rows: Tensor, sampler: object) -> None:
    """Refuse a sampler whose step, taken again before any update, is another one.

    Raises:
        ValueError: the means differ by more than half of the step's deviation; rounding under autocast stays below.
    """
    distance = float((mean.detach() - step.mean[rows]).abs().square().mean().sqrt() / step.std)
    if not distance < 0.5:
        raise ValueError(
            f"a step of {sampler} taken again lies {distance:.2g} deviations from the recorded one, so it depends on "
            "more than its state and times (corrections, step_size): take flow_sde, exponential or plain euler_maruyama"
        )


def log_prob(x_next: Tensor, mean: Tensor, std: Tensor | float, frames: int | None = None) -> Tensor:
    """Mean log density per real number of a state, log N(x'; mean, std^2), (R,).

    The mean, not the sum, as in Flow-GRPO: ratios of such densities stay near 1, and the range in which they are
    clipped is accordingly small. A complex element counts as two real numbers of deviation std / sqrt(2).

    Args:
        x_next: states, (R, *shape, T).
        mean: their means, alike.
        std: of the noise, > 0, E|z|^2 = std^2.
        frames: frames that count, from the first; None: all. Those behind them fill up and are cut off in the end.
    """
    error, each = _parts((x_next - mean)[..., :frames], std)
    return -(error.square().flatten(1).mean(1)) / (2 * each**2) - math.log(each) - 0.5 * math.log(2 * math.pi)


def divergence(mean: Tensor, other: Tensor, std: Tensor | float, frames: int | None = None) -> Tensor:
    """Kullback-Leibler divergence per real number of two steps of one deviation, |mean - other|^2 / (2 std^2), (R,).

    This is the exact divergence. The published code of Flow-GRPO leaves the step size out of std, so that its weight of
    the divergence is that times |dt|. Arguments: see `log_prob`.
    """
    error, each = _parts((mean - other)[..., :frames], std)
    return error.square().flatten(1).mean(1) / (2 * each**2)


def _parts(error: Tensor, std: Tensor | float) -> tuple[Tensor, float]:
    """The real numbers of an error, and the deviation of each."""
    if error.is_complex():
        return torch.view_as_real(error), float(std) / math.sqrt(2)
    return error, float(std)
