"""Every process: derivatives, end points, conversions; and published values."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from gense import processes
from gense.processes import BridgeVE, BridgeVP, Estimate, LinearFlow, NoisyFlow, OrnsteinUhlenbeck, Process
from gense.processes.base import QUANTITIES
from tests.parity.fixtures import as_complex, load_parity, relative_error

BRIDGES = [BridgeVE(), BridgeVE(10.0, 0.1), BridgeVP(), BridgeVP(1.0, 5.0, 1.0)]
ALL = [
    LinearFlow(), NoisyFlow(), NoisyFlow(0.1, 0.5), OrnsteinUhlenbeck(), OrnsteinUhlenbeck(2.0, 0.1, 1.0), *BRIDGES,
]


def inner(process: Process, count: int = 9) -> Tensor:
    return torch.linspace(0.05, 0.95, count, dtype=torch.float64)


def test_every_exported_process_is_tested() -> None:
    exported = {
        name for name in processes.__all__
        if isinstance(getattr(processes, name), type) and issubclass(getattr(processes, name), Process)
    }
    assert exported - {"Process"} == {type(p).__name__ for p in ALL}


@pytest.mark.parametrize("process", ALL, ids=lambda p: type(p).__name__)
def test_rates_are_the_derivatives(process: Process) -> None:
    t, h = inner(process), 1e-6
    for rate, after, before in zip(
        process.rates(t), process.coefficients(t + h), process.coefficients(t - h), strict=True
    ):
        torch.testing.assert_close(rate, (after - before) / (2 * h), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("process", ALL, ids=lambda p: type(p).__name__)
def test_rates_work_under_inference_mode(process: Process) -> None:
    with torch.inference_mode():
        t = torch.tensor(0.5, dtype=torch.float64)
        rates = process.rates(t)
    torch.testing.assert_close(torch.stack(tuple(rates)), torch.stack(tuple(process.rates(torch.tensor(0.5).double()))))


@pytest.mark.parametrize("process", ALL, ids=lambda p: type(p).__name__)
def test_the_data_end_is_clean_speech_and_the_prior_end_is_not(process: Process) -> None:
    a, b, s = process.coefficients(torch.tensor(process.t_data, dtype=torch.float64))
    assert a == pytest.approx(1.0)
    assert b == pytest.approx(0.0)
    assert s == pytest.approx(getattr(process, "sigma_min", 0.0) if isinstance(process, NoisyFlow) else 0.0)
    end = process.coefficients(torch.tensor(process.t_prior, dtype=torch.float64))
    assert end.a < 0.25
    assert end.s == 0 if process in BRIDGES else end.s > 0.3


@pytest.mark.parametrize("process", ALL, ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("predicts", QUANTITIES)
def test_all_views_of_an_estimate_agree(process: Process, predicts: str) -> None:
    generator = torch.Generator().manual_seed(0)
    data, anchor, noise = torch.randn(3, 2, 1, 4, 5, dtype=torch.complex128, generator=generator)
    if isinstance(process, LinearFlow):
        anchor = None
    t = torch.tensor(0.4, dtype=torch.float64)
    x = process.perturb(data, anchor, noise, t)
    da, db, ds = process.rates(t)
    truth = {
        "data": data, "noise": noise, "score": -noise / process.coefficients(t).s,
        "velocity": da * data + ds * noise + (0 if anchor is None else db * anchor),
        "mean": process.perturb(data, anchor, 0 * noise, t),
    }
    assert set(truth) == set(QUANTITIES)
    estimate = Estimate(process, x, t, anchor, truth[predicts], predicts)
    for name, value in truth.items():
        torch.testing.assert_close(getattr(estimate, name), value, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("process", ALL, ids=lambda p: type(p).__name__)
def test_the_forward_sde_has_the_marginals_of_the_coefficients(process: Process) -> None:
    """Simulate dx = f dt + g dw from the data end; mean and deviation arrive at b anchor + a data and s."""
    generator = torch.Generator().manual_seed(1)
    steps, paths, data, anchor = 400, 20000, 0.7, -0.3
    # LinearFlow's drift diverges where a = 0, so the walk stops before the prior
    stop = process.t_data + 0.8 * (process.t_prior - process.t_data)
    start = process.t_data + 0.05 * (process.t_prior - process.t_data)
    times = torch.linspace(start, stop, steps + 1, dtype=torch.float64)
    a, b, s = process.coefficients(times[0])
    x = a * data + b * anchor + s * torch.randn(paths, dtype=torch.float64, generator=generator)
    for t, following in itertools.pairwise(times):
        dt = following - t
        (a, b, _), (da, db, _) = process.coefficients(t), process.rates(t)
        drift = da / a * x + (db - da / a * b) * anchor
        noise = torch.randn(paths, dtype=torch.float64, generator=generator)
        x = x + drift * dt + process.diffusion(t) * dt.abs().sqrt() * noise
    a, b, s = process.coefficients(times[-1])
    assert x.mean() == pytest.approx(float(a * data + b * anchor), abs=0.02)
    assert x.std() == pytest.approx(float(s), rel=0.03)


@pytest.mark.parametrize("name", ["sgmse_ouve", "sgmse_ouve_48k"])
def test_published_sde_values(name: str) -> None:
    """Marginals, prior, diffusion and reverse drift of the published OUVE SDE, to 1e-6 relative."""
    parity = load_parity(name)
    given = parity.config["sde_kwargs"]
    process = OrnsteinUhlenbeck(given["theta"], given["sigma_min"], given["sigma_max"])
    fixed = {k: as_complex(v) if v.shape[-1:] == (2,) else v for k, v in parity.tensors.items()}
    t, x, clean, noisy, score = (fixed[k] for k in ("t", "x", "x0", "y", "score"))
    a, b, s = process.coefficients(t.double())
    g = process.diffusion(t.double())

    def wide(c: Tensor) -> Tensor:
        return c.reshape(-1, 1, 1, 1)

    def close(actual: Tensor, key: str) -> None:
        assert relative_error(actual, fixed[key]) < 1e-6, key

    close(s, "marginal_std")
    close(wide(a) * clean + wide(b) * noisy, "marginal_mean")
    close(g, "diffusion")
    close(process.prior(noisy, fixed["prior_noise"]), "prior_sample")
    default = Process.diffusion(process, t.double())
    torch.testing.assert_close(default, g, rtol=1e-6, atol=0)
    # Probability flow: the velocity that a score stands for; reverse SDE: drift velocity - g^2 score / 2
    velocity = torch.cat([
        Estimate(process, x[i : i + 1], t[i].double(), noisy[i : i + 1], score[i : i + 1], "score").velocity
        for i in range(len(t))
    ])
    close(velocity, "probability_flow_drift")
    close(velocity - wide(g) ** 2 / 2 * score, "reverse_sde_drift")
    dt = fixed["stepsize"].double()
    close(dt * (velocity - wide(g) ** 2 / 2 * score), "reverse_sde_discretize_f")
    close(g * dt.sqrt(), "reverse_sde_discretize_G")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: OrnsteinUhlenbeck(-1.0), "stiffness=-1.0"),
        (lambda: OrnsteinUhlenbeck(1.5, 0.5, 0.5), "sigma_min < sigma_max"),
        (lambda: NoisyFlow(0.0, 0.0), "need both >= 0 and one > 0"),
        (lambda: BridgeVE(1.0), "k=1.0, c=0.4: need 1 < k"),
        (lambda: BridgeVE(2.6, 0.0), "c > 0"),
        (lambda: BridgeVP(-1.0), "beta_0=-1.0"),
        (lambda: BridgeVP(0.01, 400.0), "their sum <= 300"),
        (lambda: NoisyFlow().field(lambda x, t: x, "guess", None), "expected one of data"),
    ],
)
def test_impossible_parameters_are_refused(build, message) -> None:
    with pytest.raises(ValueError, match=message):
        build()
