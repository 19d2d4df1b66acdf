"""PathHead: losses against formulas, gradients, learning, sampling, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gense import Sampling, samplers
from gense.backbones import Backbone, UNet
from gense.heads import PathHead
from gense.processes import BridgeVE, LinearFlow, NoisyFlow, OrnsteinUhlenbeck, Precondition
from gense.processes.base import QUANTITIES
from tests.tiny import Oracle, draws


def head(backbone, process=None, **settings) -> PathHead:
    settings = {"predicts": "data", "anchor": "noisy_stft", "condition": ["noisy_stft"], **settings}
    return PathHead(backbone, process or NoisyFlow(), target="stft", **settings)


def test_the_flow_matching_loss_is_the_published_one() -> None:
    """u = (y - x0) + (sigma_max - sigma_min) z at x_t = (1 - t) x0 + t y + sigma_t z (Lee et al. 2025, eqs. 7-9)."""
    data, noisy, noise, answer = draws(4, 2, 1, 4, 5)
    t = torch.tensor([0.3, 0.9])
    oracle = Oracle(answer)
    loss = head(oracle, NoisyFlow(0.1, 0.5), predicts="velocity").loss_at(data, {"noisy_stft": noisy}, t, noise)
    expected = (answer - ((noisy - data) + 0.4 * noise)).abs().square().mean()
    torch.testing.assert_close(loss.total, expected)
    w = t.reshape(2, 1, 1, 1)
    state = (1 - w) * data + w * noisy + ((1 - w) * 0.1 + w * 0.5) * noise
    torch.testing.assert_close(oracle.asked[0][0], state)


def test_the_score_matching_loss_is_the_published_one() -> None:
    """mean |score * std + z|^2 (Richter et al. 2023, eq. 19), up to the factor that a mean has over half a sum."""
    data, noisy, noise, answer = draws(4, 2, 1, 4, 5)
    t = torch.tensor([0.3, 0.9])
    process = OrnsteinUhlenbeck()
    score_head = head(Oracle(answer), process, predicts="score", loss_on="noise")
    loss = score_head.loss_at(data, {"noisy_stft": noisy}, t, noise)
    std = process.coefficients(t).s.reshape(2, 1, 1, 1)
    torch.testing.assert_close(loss.total, (answer * std + noise).abs().square().mean())


@pytest.mark.parametrize("loss_on", QUANTITIES)
@pytest.mark.parametrize("predicts", QUANTITIES)
def test_a_perfect_network_has_no_loss(predicts: str, loss_on: str) -> None:
    data, noisy, noise = draws(3, 2, 1, 4, 5)
    t, process = torch.tensor([0.4, 0.7]), NoisyFlow()
    s = process.coefficients(t).s.reshape(2, 1, 1, 1)
    truth = {"data": data, "noise": noise, "score": -noise / s, "velocity": noisy - data + 0.487 * noise}
    truth["mean"] = NoisyFlow().perturb(data, noisy, 0 * noise, t)
    loss = head(Oracle(truth[predicts]), predicts=predicts, loss_on=loss_on).loss_at(
        data, {"noisy_stft": noisy}, t, noise
    )
    assert loss.total < 1e-8
    torch.testing.assert_close(loss.data, data, rtol=1e-4, atol=1e-4)


EDM = {"c_in": "edm", "c_skip": "edm", "c_out": "edm"}


def test_edm_scalings_are_those_of_its_table() -> None:
    """c_in = 1 / sqrt(s^2 + d^2), c_skip = d^2 / (s^2 + d^2), c_out = s d / sqrt(s^2 + d^2), and the weight is
    1 / c_out^2 (Karras et al. 2022, Table 1 and section 5)."""
    t, process, d = torch.tensor([0.2, 0.7], dtype=torch.float64), OrnsteinUhlenbeck(), 0.3
    s = process.coefficients(t).s
    precondition = Precondition(**EDM, sigma_data=d)
    c_in, c_skip, c_out = precondition.scalings(process, t)
    torch.testing.assert_close(c_in, 1 / (s**2 + d**2).sqrt())
    torch.testing.assert_close(c_skip, d**2 / (s**2 + d**2))
    torch.testing.assert_close(c_out, s * d / (s**2 + d**2).sqrt())
    torch.testing.assert_close(precondition.edm_weight(process, t), c_out**-2)


def test_edm_scalings_keep_inputs_and_goals_at_unit_size() -> None:
    """For data of deviation d under noise the network sees variance 1, and so has what it should answer."""
    t, process, d = torch.tensor([0.15, 0.9]), OrnsteinUhlenbeck(1e-6), 0.3
    generator = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 2, 1, 100, 100, dtype=torch.complex64, generator=generator)
    data = d * data
    x = process.perturb(data, torch.zeros_like(data), noise, t)
    c_in, c_skip, c_out = (c.reshape(-1, 1, 1, 1) for c in Precondition(**EDM, sigma_data=d).scalings(process, t))
    for values in (c_in * x, (data - c_skip * x) / c_out):
        torch.testing.assert_close(values.abs().square().mean(dim=(1, 2, 3)), torch.ones(2), rtol=0.05, atol=0)


def test_the_network_sees_scaled_inputs_and_its_output_is_scaled_and_skipped() -> None:
    data, noisy, noise, answer = draws(4, 2, 1, 4, 5)
    t, process, oracle = torch.tensor([0.3, 0.9]), OrnsteinUhlenbeck(), Oracle(answer)
    precondition = Precondition(c_in="edm", c_skip="edm", c_out="noise", scaling="inverse_time", sigma_data=0.2)
    model = head(oracle, process, precondition=precondition)
    x = process.perturb(data, noisy, noise, t)
    out = model._predict(x, t, {"noisy_stft": noisy})
    s = process.coefficients(t).s.reshape(2, 1, 1, 1)
    seen, _, given = oracle.asked[0]
    torch.testing.assert_close(seen, x / (s**2 + 0.04).sqrt())
    torch.testing.assert_close(given["noisy_stft"], noisy / (s**2 + 0.04).sqrt())
    torch.testing.assert_close(out, 0.04 / (s**2 + 0.04) * x + s / t.reshape(2, 1, 1, 1) * answer)


def test_scalings_hold_while_sampling_too() -> None:
    """A network that is right once scaled generates the data."""
    data, noisy = draws(2, 1, 1, 4, 5)

    process, precondition = BridgeVE(), Precondition(c_in="edm", c_skip="edm", sigma_data=0.4)

    class Scaled(Backbone):
        def forward(self, x, t, cond):
            c_in, c_skip, _ = precondition.scalings(process, t)
            return data - c_skip * x / c_in

    out = head(Scaled(), process, precondition=precondition).generate(
        {"noisy_stft": noisy}, sampling=Sampling("exponential", steps=4), noise=samplers.gaussian(0)
    )
    torch.testing.assert_close(out, data, rtol=1e-4, atol=1e-4)


def test_every_item_has_its_own_weight() -> None:
    data, noisy, noise, answer = draws(4, 3, 1, 4, 5)
    t, process = torch.tensor([0.1, 0.5, 0.9]), OrnsteinUhlenbeck()
    s, d = process.coefficients(t).s, 0.2
    each = (answer - data).abs().square().mean(dim=(1, 2, 3))
    for weight, factors in (("unit", torch.ones(3)), ("variance", s**2), ("edm", (s**2 + d**2) / (s * d) ** 2)):
        model = head(Oracle(answer), process, weight=weight, precondition=Precondition(sigma_data=d))
        loss = model.loss_at(data, {"noisy_stft": noisy}, t, noise)
        torch.testing.assert_close(loss.total, (factors * each).mean())


def test_a_bridge_trains_on_the_very_start_of_its_path() -> None:
    data, noisy = draws(2, 50, 1, 2, 2)
    oracle = Oracle(torch.zeros_like(data))
    loss = head(oracle, BridgeVE(), prior_share=1.0).loss({"stft": data}, {"noisy_stft": noisy})
    torch.testing.assert_close(oracle.asked[0][0], noisy)
    torch.testing.assert_close(loss.total, data.abs().square().mean())


def test_training_times_cover_the_path_and_the_share_at_the_prior() -> None:
    data, noisy = draws(2, 4000, 1, 1, 1)
    oracle = Oracle(torch.zeros_like(data))
    head(oracle, t_eps=0.03, prior_share=0.25).loss({"stft": data}, {"noisy_stft": noisy})
    t = oracle.asked[0][1]
    assert t.min() >= 0.03
    assert t.max() == 1.0
    assert (t == 1.0).float().mean() == pytest.approx(0.25, abs=0.03)
    assert t[t < 1].mean() == pytest.approx(0.515, abs=0.03)


def test_gradient_reaches_every_parameter() -> None:
    net = UNet(channels=(8, 16), blocks=1, time_dim=16)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    data, noisy = draws(2, 2, 1, 8, 8)
    head(net).loss({"stft": data}, {"noisy_stft": noisy}).total.backward()
    dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert not dead


@pytest.mark.parametrize("predicts", ["data", "velocity"])
def test_a_small_network_overfits_one_pair_and_generates_it(predicts: str) -> None:
    torch.manual_seed(0)
    data, noisy = draws(2, 1, 1, 8, 8)
    model = head(UNet(channels=(16, 32), blocks=1, time_dim=16), NoisyFlow(0.0, 0.2), predicts=predicts)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    batch = {"stft": data.expand(4, -1, -1, -1)}, {"noisy_stft": noisy.expand(4, -1, -1, -1)}
    for _ in range(250):
        loss = model.loss(*batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        out = model.generate({"noisy_stft": noisy}, noise=samplers.gaussian(0), sampling=Sampling("euler", steps=8))
    before, after = (noisy - data).abs().square().mean(), (out - data).abs().square().mean()
    assert after < 0.05 * before


def test_the_time_grid_steps_from_the_prior_over_t_eps_to_the_data() -> None:
    """sgmse walks linspace(1, t_eps, N) and then makes a last step of t_eps."""
    model = head(Oracle(draws(1, 1, 1, 2, 2)[0]), t_eps=0.03)
    expected = torch.cat([torch.linspace(1, 0.03, 5, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)])
    torch.testing.assert_close(model.time_grid(Sampling(steps=5)), expected)
    assert model.time_grid(Sampling(steps=1)).tolist() == [1.0, 0.0]
    ends_early = model.time_grid(Sampling(steps=4, schedule_options={"end": 0.2}))
    assert ends_early.tolist() == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
    upwards = head(Oracle(draws(1, 1, 1, 2, 2)[0]), LinearFlow(), anchor=None, t_eps=0.0)
    assert upwards.time_grid(Sampling(steps=2)).tolist() == [0.0, 0.5, 1.0]


def test_generate_is_one_call_a_step_and_ends_on_the_estimate() -> None:
    data, noisy = draws(2, 1, 1, 4, 5)
    oracle, seen = Oracle(data), []
    model = head(oracle)
    out = model.generate(
        {"noisy_stft": noisy}, sampling=Sampling("euler", steps=4), noise=samplers.gaussian(0), callback=seen.append
    )
    assert len(oracle.asked) == len(seen) == 4
    torch.testing.assert_close(out, data, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("sampling", "message"),
    [
        (Sampling("huen"), "'huen' is none of .*nearest: 'heun'"),
        (Sampling("euler", options={"snr": 1}), "unexpected option 'snr': euler takes no options"),
        (Sampling("predictor_corrector", options={"ste": 1}), "option 'ste': predictor_corrector takes .*snr"),
        (Sampling("predictor_corrector", options={"noise": 1}), "unexpected option 'noise'"),
        (Sampling(schedule="unifrom"), "nearest: 'uniform'"),
        (Sampling(schedule_options={"rho": 2}), "unexpected option 'rho': uniform takes start, end, stop"),
        (Sampling(steps=0), "steps=0"),
        (Sampling("no.such.function"), "cannot be imported"),
    ],
)
def test_impossible_samplings_are_refused_with_the_remedy(sampling, message) -> None:
    data, noisy = draws(2, 1, 1, 4, 5)
    with pytest.raises(ValueError, match=message):
        head(Oracle(data)).generate({"noisy_stft": noisy}, sampling=sampling, noise=samplers.gaussian(0))


def test_sampling_without_noise_is_refused() -> None:
    with pytest.raises(ValueError, match="pass noise="):
        head(Oracle(draws(1, 1, 1, 4, 5)[0])).generate({"noisy_stft": draws(1, 1, 1, 4, 5)[0]})


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"predicts": "mask"}, "predicts='mask'"), ({"loss_on": "mask"}, "loss_on='mask'"), ({"t_eps": 1.0}, "t_eps=1.0"),
     ({"weight": "snr"}, "weight='snr': expected one of unit, variance, edm"), ({"weight": "edm"}, "needs a precond")],
)
def test_impossible_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        head(Oracle(draws(1, 1, 1, 2, 2)[0]), **settings)


def test_a_sampler_of_ones_own_is_a_function_or_a_dotted_path() -> None:
    data, noisy = draws(2, 1, 1, 4, 5)
    model = head(Oracle(data))
    cond, noise = {"noisy_stft": noisy}, samplers.gaussian
    by_path = model.generate(cond, sampling=Sampling("gense.samplers.ode.euler", steps=3), noise=noise(0))
    by_function = model.generate(cond, sampling=Sampling(samplers.euler, steps=3), noise=noise(0))
    assert torch.equal(by_path, by_function)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"c_in": "noise"}, "c_in='noise': expected one of unit, edm"), ({"c_skip": "unit"}, "c_skip='unit'"),
        ({"c_out": "none"}, "c_out='none'"), ({"scaling": "t"}, "scaling='t'"), ({"sigma_data": 0.0}, "sigma_data=0.0"),
    ],
)
def test_impossible_scalings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        Precondition(**settings)
