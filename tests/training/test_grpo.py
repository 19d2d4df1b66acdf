"""The mathematics of GRPO on flows: parity with the published step, densities, advantages, ratios, recorded steps."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning", reason="needs gense[train]")

from gense.processes import LinearFlow
from gense.samplers import flow_sde, gaussian, replay
from gense.training.grpo import advantages, clipped_objective
from gense.training.policy import check_remade, divergence, group_noise, log_prob, remake, rollout
from gense.types import Sampling
from tests.parity.fixtures import load_parity
from tests.tiny import tiny_flow

PARITY = load_parity("flow_grpo_step")


def close(actual: Tensor, expected: Tensor) -> None:
    """To float32 rounding: 1e-5, as the recording allows."""
    torch.testing.assert_close(actual.to(expected), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("k", range(8))
def test_a_step_and_its_density_are_the_published_ones(k: int) -> None:
    """Published: sigma = 1 - t from 1 (noise) to 0, v = noise - data = -velocity, the last step keeps its noise."""
    given, expected = PARITY.inputs, PARITY.outputs
    times = (1 - given["sigmas"]).double()
    field = LinearFlow().field(lambda x, t: -given[f"v.{k}"], "velocity", None)
    steps: list = []
    last = k == 7
    mean = flow_sde(
        field, given[f"x.{k}"], times[k : k + (2 if last else 3)], noise=replay([given[f"noise.{k}"]] * 2),
        level=PARITY.config["noise_level"], callback=steps.append,
    )
    step = steps[0]
    close(step.mean, expected[f"mean.{k}"])
    std = expected[f"std_dev.{k}"][0, 0, 0, 0] * float(times[k + 1] - times[k]) ** 0.5
    if last:  # ours ends in its mean
        assert float(step.std) == 0.0
        close(mean, expected[f"mean.{k}"])
    else:
        assert float(step.std) == pytest.approx(float(std), rel=1e-6)
        close(step.x_next, expected[f"next.{k}"])
    close(log_prob(expected[f"next.{k}"], step.mean, std), expected[f"log_prob.{k}"])
    close(log_prob(given[f"other_next.{k}"], step.mean, std), expected[f"log_prob_other.{k}"])


@pytest.mark.parametrize(("spread", "recorded"), [("group", "group_std"), ("batch", "global_std")])
def test_advantages_are_the_published_ones(spread: str, recorded: str) -> None:
    groups = PARITY.config["groups"]
    order = torch.tensor(sorted(range(9), key=lambda i: (groups[i], i)))
    rewards = PARITY.inputs["rewards"][order].reshape(3, 3, 1)
    expected = PARITY.outputs[f"advantages_{recorded}"][order]
    torch.testing.assert_close(advantages(rewards, spread=spread).flatten(), expected, atol=1e-9, rtol=0)


def test_densities_and_divergences_are_those_of_torch() -> None:
    torch.manual_seed(0)
    x, mean, other = torch.randn(3, 2, 4, 5).unbind()
    normal, second = torch.distributions.Normal(mean, 0.3), torch.distributions.Normal(other, 0.3)
    torch.testing.assert_close(log_prob(x, mean, 0.3), normal.log_prob(x).flatten(1).mean(1))
    expected = torch.distributions.kl_divergence(normal, second).flatten(1).mean(1)
    torch.testing.assert_close(divergence(mean, other, 0.3), expected)
    # a complex element is two real numbers that share the variance
    z, centre, beside = torch.randn(3, 2, 4, 5, dtype=torch.complex64).unbind()
    normal, second = (
        torch.distributions.Normal(torch.view_as_real(m), 0.3 / math.sqrt(2)) for m in (centre, beside)
    )
    expected = normal.log_prob(torch.view_as_real(z)).flatten(1).mean(1)
    torch.testing.assert_close(log_prob(z, centre, torch.tensor(0.3)), expected)
    expected = torch.distributions.kl_divergence(normal, second).flatten(1).mean(1)
    torch.testing.assert_close(divergence(centre, beside, 0.3), expected)


def test_frames_that_fill_up_do_not_count() -> None:
    torch.manual_seed(0)
    x, mean = torch.randn(2, 3, 2, 4, 8).unbind()
    changed = mean.clone()
    changed[..., 5:] += 7
    assert torch.equal(log_prob(x, mean, 0.5, 5), log_prob(x, changed, 0.5, 5))
    assert torch.equal(divergence(mean, changed, 0.5, 5), torch.zeros(3))
    assert (divergence(mean, changed, 0.5) > 1).all()


def test_advantages_do_not_change_with_an_offset_and_are_0_where_rewards_are_equal() -> None:
    torch.manual_seed(0)
    rewards = torch.rand(4, 6, 2, dtype=torch.float64)
    plain = advantages(rewards)
    torch.testing.assert_close(advantages(rewards + torch.rand(4, 1, 2)), plain)
    torch.testing.assert_close(plain.mean(1), torch.zeros(4, dtype=torch.float64))
    rewards[1] = 0.7
    assert not advantages(rewards)[1].any()
    assert not advantages(rewards, combine="standard")[1].any()
    assert advantages(torch.tensor([[[1e3]] + [[0.0]] * 99]), limit=2.0).max() == 2.0


def test_standardised_rewards_count_by_their_weights_and_not_by_their_range() -> None:
    torch.manual_seed(0)
    rewards, scale = torch.rand(4, 6, 2, dtype=torch.float64), torch.tensor([1.0, 100.0], dtype=torch.float64)
    weights = torch.tensor([2.0, 1.0])
    plain = advantages(rewards, weights, combine="standard", floor=1e-12)
    torch.testing.assert_close(advantages(rewards * scale, weights, combine="standard", floor=1e-12), plain)
    assert not torch.allclose(advantages(rewards * scale, weights), advantages(rewards, weights), atol=0.1)
    alone = advantages(rewards, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(alone, advantages(rewards[..., :1]))


@pytest.mark.parametrize(
    ("rewards", "weights", "message"),
    [
        (torch.zeros(2, 1, 3), None, "rollouts >= 2"),
        (torch.zeros(2, 4), None, "rollouts >= 2"),
        (torch.full((2, 4, 1), math.nan), None, "NaN"),
        (torch.zeros(2, 4, 2), torch.ones(3), "need one each"),
    ],
)
def test_impossible_rewards_are_refused(rewards: Tensor, weights: Tensor | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        advantages(rewards, weights)


def test_at_ratio_1_the_gradient_is_reinforce_and_beyond_the_clip_there_is_none() -> None:
    old, advantage = torch.tensor([-1.0, 0.5, 0.2, -0.3]), torch.tensor([2.0, -1.0, 0.5, -3.0])
    now = old.clone().requires_grad_()
    loss, ratio = clipped_objective(now, old, advantage, 1e-4)
    assert torch.equal(ratio, torch.ones(4))
    (gradient,) = torch.autograd.grad(loss.sum(), now)
    torch.testing.assert_close(gradient, -advantage)
    # A good action made likelier, a bad one made less likely: enough. The other way round the pull stays
    now = (old + torch.tensor([0.1, -0.1, -0.1, 0.1])).requires_grad_()
    loss, ratio = clipped_objective(now, old, advantage, 1e-2)
    (gradient,) = torch.autograd.grad(loss.sum(), now)
    torch.testing.assert_close(gradient, torch.tensor([0.0, 0.0, -0.5, 3.0]) * ratio.detach())


def test_noise_of_groups_is_shared_and_mirrored() -> None:
    like = torch.zeros(8, 2, 3, dtype=torch.complex64)
    noise = group_noise(3, 4, shared_start=True, mirrored=True)
    first, second = (noise(like).unflatten(0, (2, 4)) for _ in range(2))
    assert torch.equal(first, first[:, :1].expand_as(first))
    assert not torch.equal(first[0], first[1])
    assert torch.equal(second[:, :2], -second[:, 2:])
    assert not torch.equal(second[:, 0], second[:, 1])
    assert torch.equal(group_noise(3, 4)(like), gaussian(3)(like))
    assert float(noise(torch.zeros(400, 50, dtype=torch.complex64)).abs().square().mean()) == pytest.approx(1, rel=0.05)
    with pytest.raises(ValueError, match="mirrored with group=3: need an even number"):
        group_noise(0, 3, mirrored=True)
    with pytest.raises(ValueError, match="no whole groups"):
        noise(like[:3])


STOCHASTIC = [
    Sampling("flow_sde", steps=3, options={"level": 0.5}),
    Sampling("exponential", steps=3, options={"eta": 0.6}),
    Sampling("euler_maruyama", steps=3, options={"churn": 0.4}, schedule_options={"start": 0.9}),
]


def rolled(sampling: Sampling, rows: int = 4):
    head = tiny_flow().head
    cond = {"noisy_stft": torch.randn(rows, 1, 256, 8, dtype=torch.complex64)}
    return head, cond, *rollout(head, cond, sampling, gaussian(1))


@pytest.mark.parametrize("sampling", STOCHASTIC, ids=lambda s: s.sampler)
def test_a_recorded_step_taken_again_is_the_same_with_a_gradient(sampling: Sampling) -> None:
    head, cond, features, steps = rolled(sampling)
    assert len(steps) == 2  # the last of three has no choice
    assert not features.requires_grad
    rows = torch.tensor([2, 0])
    for step in steps:
        mean = remake(head, {k: v[rows] for k, v in cond.items()}, sampling, step, rows)
        torch.testing.assert_close(mean.detach(), step.mean[rows], atol=1e-5, rtol=1e-4)
        check_remade(mean, step, rows, sampling.sampler)
        new, old = (log_prob(step.x_next[rows], m, step.std) for m in (mean, step.mean[rows]))
        torch.testing.assert_close((new - old).exp().detach(), torch.ones(2), atol=1e-5, rtol=0)
        # The gradient of the density of a drawn state is (x' - mean) / std^2, here of the mean over real numbers
        (gradient,) = torch.autograd.grad(new.sum(), mean, retain_graph=True)
        expected = 2 * (step.x_next - step.mean)[rows] / step.std**2 / (2 * mean[0].numel())
        torch.testing.assert_close(gradient, expected.to(gradient), atol=1e-5, rtol=1e-3)
        new.sum().backward()
    assert any(p.grad.any() for p in head.backbone.parameters())


def test_samplers_that_no_policy_can_be_made_of_are_refused() -> None:
    with pytest.raises(ValueError, match="none of the 3 steps of euler is stochastic"):
        rolled(Sampling("euler", steps=3))
    with pytest.raises(ValueError, match="none of the 1 steps of flow_sde is stochastic"):
        rolled(Sampling("flow_sde", steps=1))
    corrected = Sampling("predictor_corrector", steps=3, schedule_options={"start": 0.9})
    head, cond, _, steps = rolled(corrected)
    rows = torch.arange(4)
    with pytest.raises(ValueError, match="depends on more than its state and times"):
        check_remade(remake(head, cond, corrected, steps[0], rows), steps[0], rows, "predictor_corrector")
