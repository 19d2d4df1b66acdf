"""RegressionHead: the call of the network, losses against formulas, gradients, learning, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import gense
from gense import Enhancer, Sampling
from gense.backbones import UNet
from gense.heads import RegressionHead
from gense.losses import SISDRLoss
from gense.representations import CompressedSTFT
from gense.types import Batch
from tests.tiny import Oracle, draws


def test_the_first_condition_is_the_input_and_there_is_no_time() -> None:
    answer, noisy, other, text = draws(4, 2, 1, 4, 5)
    oracle = Oracle(answer)
    head = RegressionHead(oracle, target="stft", condition=["noisy_stft", "other"])
    out = head.generate({"text": text, "other": other, "noisy_stft": noisy})
    ((x, t, cond),) = oracle.asked
    assert out is answer
    assert x is noisy
    assert t is None
    assert list(cond) == ["other"]
    assert cond["other"] is other
    assert head.reads == ("noisy_stft", "other")
    assert head.sampling is None


@pytest.mark.parametrize(
    ("criterion", "expected"),
    [("squared", (0.5**2 + 13.0**2) / 2), ("absolute", (0.5 + 13.0) / 2)],
)  # fmt: skip
@pytest.mark.parametrize("numbers", [[0.5j, 5.0 - 12.0j], [0.5, 13.0]], ids=["complex", "real"])
def test_the_loss_is_the_mean_over_the_moduli(criterion: str, expected: float, numbers: list) -> None:
    error = torch.tensor(numbers).reshape(1, 1, 1, 2)
    clean = torch.full_like(error, 2.0)
    head = RegressionHead(Oracle(clean + error), target="stft", condition=["noisy_stft"], criterion=criterion)
    loss = head.loss({"stft": clean}, {"noisy_stft": clean})
    assert float(loss.total) == pytest.approx(expected)
    assert loss.parts.keys() == {criterion}


@pytest.mark.parametrize("criterion", ["squared", "absolute"])
def test_the_gradient_is_finite_where_the_estimate_is_exact(criterion: str) -> None:
    estimate = draws(1, 1, 1, 2, 3)[0].requires_grad_()
    head = RegressionHead(Oracle(estimate), target="stft", condition=["noisy_stft"], criterion=criterion)
    head.loss({"stft": estimate.detach()}, {"noisy_stft": estimate.detach()}).total.backward()
    assert torch.equal(estimate.grad, torch.zeros_like(estimate))


def test_gradient_reaches_every_parameter_and_waveform_losses_work() -> None:
    net = UNet(inputs=1, channels=(8, 16), blocks=1, time_dim=0)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.1)
    stft = CompressedSTFT(frames_multiple=4, pad_mode="reflect")
    model = Enhancer(
        {"stft": stft}, RegressionHead(net, target="stft", condition=["noisy_stft"]), sample_rate=16000,
        wave_losses=[SISDRLoss(weight=0.1)],
    )
    clean, noisy = torch.randn(2, 2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    loss = model.loss(Batch(clean, noisy))
    loss.total.backward()
    assert loss.parts.keys() == {"squared", "SISDRLoss"}
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in net.parameters())


def test_a_small_network_overfits_one_pair() -> None:
    torch.manual_seed(0)
    data, noisy = draws(2, 1, 1, 8, 8)
    head = RegressionHead(
        UNet(inputs=1, channels=(16, 32), blocks=1, time_dim=0), target="stft", condition=["noisy_stft"]
    )
    optimizer = torch.optim.Adam(head.parameters(), lr=3e-3)
    for _ in range(150):
        loss = head.loss({"stft": data}, {"noisy_stft": noisy}).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        out = head.generate({"noisy_stft": noisy})
    assert (out - data).abs().square().mean() < 0.02 * (noisy - data).abs().square().mean()


def test_what_a_deterministic_head_does_not_have_is_refused() -> None:
    head = RegressionHead(Oracle(draws(1, 1, 1, 4, 5)[0]), target="stft", condition=["noisy_stft"])
    with pytest.raises(ValueError, match="deterministic: it takes no sampling"):
        head.generate({"noisy_stft": draws(1, 1, 1, 4, 5)[0]}, sampling=Sampling())
    model = Enhancer({"stft": CompressedSTFT()}, head, sample_rate=16000)
    wav = torch.zeros(1, 1000)
    with pytest.raises(ValueError, match="this method is deterministic"):
        model.enhance(wav, sampling=Sampling())
    for options in ({"steps": 3}, {"sampler": "heun"}, {"snr": 0.3}):
        with pytest.raises(ValueError, match="this method is deterministic"):
            gense.enhance(wav[0], model, **options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"condition": []}, "needs at least one"), ({"criterion": "cubed"}, "criterion='cubed': expected 'squared'")],
)
def test_impossible_settings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RegressionHead(Oracle(draws(1, 1)[0]), **{"target": "stft", "condition": ["noisy_stft"], **settings})


def test_of_several_streams_those_count_that_are_supervised() -> None:
    clean, estimate = draws(2, 2, 3, 4, 5).real
    estimate = estimate.clone().requires_grad_()
    head = RegressionHead(Oracle(estimate), target="ssl", condition=["noisy_wave"], supervised=[0, 2])
    loss = head.loss({"ssl": clean}, {"noisy_wave": clean})
    torch.testing.assert_close(loss.total, (estimate - clean)[:, [0, 2]].square().mean())
    loss.total.backward()
    reached = estimate.grad.abs().sum(dim=(0, 2, 3)) > 0
    assert reached.tolist() == [True, False, True]
    assert loss.data is estimate
    with pytest.raises(ValueError, match=r"supervised=\[\]: no stream counts"):
        RegressionHead(Oracle(clean), target="ssl", condition=["noisy_wave"], supervised=[])
