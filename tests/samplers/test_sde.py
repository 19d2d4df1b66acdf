"""SDE samplers: the law of what they draw on exact Gaussian problems, and the published step rules by hand."""

from __future__ import annotations

import math

import pytest
import torch

from gense.samplers import (
    annealed_langevin,
    euler,
    euler_maruyama,
    gaussian,
    langevin,
    langevin_batch,
    predictor_corrector,
    replay,
)
from tests.samplers.gaussian import (
    BRIDGE,
    LINEAR_FLOW,
    MEAN,
    NOISY_FLOW,
    ORNSTEIN_UHLENBECK,
    PATHS,
    VARIANCE,
    GaussianField,
    draw,
    drawn_variance,
    grid,
    moments,
)

SAMPLES = (1, 200, 100)


def law(result):
    """Mean and variance (in total for complex values) of all elements."""
    mean = result.mean()
    return complex(mean).real, float((result - mean).abs().square().mean())


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("churn", [0.3, 1.0])
def test_euler_maruyama_draws_the_data(path, dtype, churn):
    """The law is right whatever the churn, within the bias of 100 steps and 5 deviations of 20000 samples."""
    times = grid(path, 100, start=0.05, stop=0.005)
    x = draw(path, times[0], SAMPLES, dtype)
    mean, variance = law(euler_maruyama(GaussianField(path, x), x, times, noise=gaussian(1), churn=churn))
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert variance == pytest.approx(VARIANCE, rel=0.06)


@pytest.mark.parametrize("path", [ORNSTEIN_UHLENBECK, BRIDGE], ids=["ornstein_uhlenbeck", "bridge"])
@pytest.mark.parametrize("churn", [0.5, 1.0])
def test_euler_maruyama_is_of_weak_order_1(path, churn):
    errors = []
    for steps in (40, 80):
        times = grid(path, steps, start=0.1, end=0.1)
        variance = drawn_variance(euler_maruyama, path, times, noise=torch.zeros_like, churn=churn)
        # the last step returns its mean; what its noise would have added is g^2 dt
        variance += churn * float(path.diffusion(times[-2])) ** 2 * 0.8 / steps
        errors.append(abs(variance - float(moments(path, times[-1])[1])))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(1, abs=0.2), errors


@pytest.mark.parametrize("correct", ["annealed_langevin", "langevin", "langevin_batch", annealed_langevin])
def test_predictor_corrector_draws_the_data(correct):
    path = ORNSTEIN_UHLENBECK
    times = grid(path, 100, stop=0.005)
    x = draw(path, times[0], SAMPLES, torch.complex64)
    field = GaussianField(path, x)
    # a correction of finite size widens the marginal by a share of about snr^2 / 2
    sampler_options = {"noise": gaussian(1), "snr": 0.15, "correct": correct}
    mean, variance = law(predictor_corrector(field, x, times, **sampler_options))
    assert mean == pytest.approx(MEAN, abs=0.02)
    assert variance == pytest.approx(VARIANCE, rel=0.05)
    assert field.calls == 200


def test_corrections_pull_a_wrong_state_to_the_marginal():
    """Corrections alone, at one time: Langevin dynamics forgets where it started."""
    path, t = ORNSTEIN_UHLENBECK, torch.tensor([0.5, 0.49], dtype=torch.float64)
    x = torch.zeros(SAMPLES, dtype=torch.complex64)
    result = predictor_corrector(
        GaussianField(path, x), x, t, noise=gaussian(1), snr=0.2, corrector_steps=150, predict=False
    )
    mean, variance = law(result)
    expected_mean, expected_variance = moments(path, t[0])
    assert mean == pytest.approx(float(expected_mean), abs=0.02)
    assert variance == pytest.approx(float(expected_variance), rel=0.05)


def test_steps_by_hand():
    """The published rules in their own terms: drift f = x's and the anchor's pull, f - g^2 score, corrector first."""
    path = ORNSTEIN_UHLENBECK
    times = torch.tensor([1.0, 0.4, 0.0], dtype=torch.float64)
    x0 = draw(path, times[0], (2, 3, 4), torch.complex128)
    tape = [torch.randn(2, 3, 4, dtype=torch.complex128, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    field = GaussianField(path, x0)
    x = x0
    for i, (t, step) in enumerate([(times[0], 0.6), (times[1], 0.4)]):
        s, g = path.coefficients(t)[2], 0.05 * 10**t * math.sqrt(2 * math.log(10))
        size = 2 * (0.5 * s) ** 2
        x = x + size * field.estimate(x, t).score + (2 * size).sqrt() * tape[2 * i]
        drift = 1.5 * (field.anchor - x) - g**2 * field.estimate(x, t).score
        mean = x - drift * step
        x = mean + g * math.sqrt(step) * tape[2 * i + 1]
    draws = replay(tape)
    result = predictor_corrector(field, x0, times, noise=draws)
    torch.testing.assert_close(result, mean, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="draw 5"):  # all were used, the last one too
        draws(x0)


@pytest.mark.parametrize(("correct", "shared"), [("langevin", False), ("langevin_batch", True)])
def test_langevin_norms(correct, shared):
    """Of each item, or as published averaged over the batch."""
    path, t = ORNSTEIN_UHLENBECK, torch.tensor(0.5, dtype=torch.float64)
    x, z = torch.randn(2, 3, 4, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0)).unbind()
    field = GaussianField(path, x)
    score = field.estimate(x, t).score
    norms = [torch.stack([item.norm() for item in batch]) for batch in (z, score)]
    ratio = norms[0].mean() / norms[1].mean() if shared else (norms[0] / norms[1])[:, None, None]
    step = 2 * (0.3 * ratio) ** 2
    expected = x + step * score + (2 * step).sqrt() * z
    function = langevin_batch if shared else langevin
    torch.testing.assert_close(function(field, x, t, noise=replay([z]), snr=0.3), expected)
    times = torch.tensor([0.5, 0.4], dtype=torch.float64)
    result = predictor_corrector(field, x, times, noise=replay([z]), snr=0.3, correct=correct, predict=False)
    torch.testing.assert_close(result, expected)


def test_churn_0_is_euler_and_needs_neither_noise_nor_a_path():
    times = grid(NOISY_FLOW, 6)
    x = draw(NOISY_FLOW, times[0], (2, 3, 4), torch.complex64)
    expected = euler(GaussianField(NOISY_FLOW, x), x, times)
    result = euler_maruyama(GaussianField(NOISY_FLOW, x), x, times, noise=replay([]), churn=0.0)
    assert torch.equal(result, expected)
    decayed = euler_maruyama(lambda x, t: -x, x, times, noise=replay([]), churn=0.0)
    assert torch.equal(decayed, euler(lambda x, t: -x, x, times))


@pytest.mark.parametrize("options", [{}, {"step_size": 0.1}])
def test_no_corrections_is_euler_maruyama(options):
    times = grid(ORNSTEIN_UHLENBECK, 6, stop=0.03)
    x = draw(ORNSTEIN_UHLENBECK, times[0], (2, 3, 4), torch.complex64)
    field = GaussianField(ORNSTEIN_UHLENBECK, x)
    expected = euler_maruyama(field, x, times, noise=gaussian(2), **options)
    result = predictor_corrector(field, x, times, noise=gaussian(2), corrector_steps=0, **options)
    assert torch.equal(result, expected)


@pytest.mark.parametrize("path", [ORNSTEIN_UHLENBECK, LINEAR_FLOW], ids=["down", "up"])
def test_step_size_replaces_the_gaps_but_not_the_times(path):
    times, nominal = grid(path, 4, start=0.05, stop=0.03), 0.2
    x = draw(path, times[0], (2, 3, 4), torch.complex128)
    field, steps = GaussianField(path, x), []
    euler_maruyama(field, x, times, noise=gaussian(0), step_size=nominal, callback=steps.append)
    assert field.times == times[:-1].tolist()
    for step in steps[:-1]:
        assert float(step.std) == pytest.approx(float(path.diffusion(step.t)) * math.sqrt(nominal))
        estimate = field.estimate(step.x, step.t)
        sign = 1 if path.data > path.prior else -1
        mean = step.x + nominal * (sign * estimate.velocity + path.diffusion(step.t) ** 2 / 2 * estimate.score)
        torch.testing.assert_close(step.mean, mean)


@pytest.mark.parametrize("path", [ORNSTEIN_UHLENBECK, LINEAR_FLOW], ids=["down", "up"])
@pytest.mark.parametrize("sampler", [euler_maruyama, predictor_corrector])
def test_even_steps_share_the_span_of_the_grid(path, sampler):
    times = grid(path, 4, start=0.05, stop=0.03)
    x = draw(path, times[0], (2, 3, 4), torch.complex64)
    even, given = (
        sampler(GaussianField(path, x), x, times, noise=gaussian(0), step_size=size)
        for size in ("even", abs(float(times[-1] - times[0])) / 4)
    )
    assert torch.equal(even, given)
    assert not torch.equal(even, sampler(GaussianField(path, x), x, times, noise=gaussian(0)))


def test_steps_carry_mean_and_std():
    """What policy gradients need: x_next - mean is std times the noise, and the last step has none."""
    times = grid(ORNSTEIN_UHLENBECK, 5, stop=0.03)
    x = draw(ORNSTEIN_UHLENBECK, times[0], (2, 3, 4), torch.complex64)
    tape, steps = [torch.randn_like(x) for _ in range(5)], []
    result = euler_maruyama(GaussianField(ORNSTEIN_UHLENBECK, x), x, times, noise=replay(tape), callback=steps.append)
    for step, z in zip(steps[:-1], tape, strict=False):
        torch.testing.assert_close(step.x_next, step.mean + step.std * z)
        assert step.std > 0
    assert steps[-1].std == 0
    assert torch.equal(steps[-1].x_next, result)
    assert torch.equal(steps[-1].mean, result)


@pytest.mark.parametrize("sampler", [euler_maruyama, predictor_corrector])
@pytest.mark.parametrize(
    ("path", "start", "complaint"),
    [(LINEAR_FLOW, 0.0, "diffusion is inf"), (NOISY_FLOW, 0.0, "diffusion is inf"), (BRIDGE, 0.0, "no noise")],
    ids=["linear", "noisy", "bridge"],
)
def test_a_singular_start_is_an_error_not_nan(sampler, path, start, complaint):
    x = torch.ones(1, 2, 3)
    with pytest.raises(ValueError, match=complaint):
        sampler(GaussianField(path, x), x, grid(path, 5, start=start), noise=gaussian(0))


@pytest.mark.parametrize(
    ("sampler", "options", "complaint"),
    [
        (euler_maruyama, {"churn": -0.1}, "churn=-0.1"),
        (euler_maruyama, {"churn": float("nan")}, "churn=nan"),
        (euler_maruyama, {"step_size": 0.0}, "step_size=0.0"),
        (predictor_corrector, {"step_size": -1.0}, "step_size=-1.0"),
        (euler_maruyama, {"step_size": "evn"}, "step_size='evn': need a number > 0, 'even'"),
        (predictor_corrector, {"snr": 0.0}, "snr=0.0"),
        (predictor_corrector, {"corrector_steps": -1}, "corrector_steps=-1"),
        (predictor_corrector, {"corrector_steps": 0, "predict": False}, "predict=False: need at least 1"),
        (predictor_corrector, {"correct": "ald"}, "correct='ald': expected one of annealed_langevin"),
    ],
)
def test_bad_arguments(sampler, options, complaint):
    x = torch.ones(1, 2, 3)
    with pytest.raises(ValueError, match=complaint):
        sampler(GaussianField(ORNSTEIN_UHLENBECK, x), x, grid(ORNSTEIN_UHLENBECK, 5), noise=gaussian(0), **options)
