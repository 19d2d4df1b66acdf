"""MeanFlowHead: the identity of the average velocity, its loss, learning to sample in one step, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from gense import Enhancer, Sampling, samplers
from gense.backbones import Backbone, UNet
from gense.heads import MeanFlowHead, PathHead
from gense.losses import SpectralLoss
from gense.processes import LinearFlow, NoisyFlow, OrnsteinUhlenbeck
from gense.processes.base import Estimate, expand
from gense.representations import CompressedSTFT
from gense.types import Batch

MEAN, VARIANCE, ANCHOR = 0.8, 0.25, -0.5
PATHS = {"falling": NoisyFlow(0.0, 0.487), "falling to noise": NoisyFlow(0.1, 0.5), "rising": LinearFlow()}
every_path = pytest.mark.parametrize("process", PATHS.values(), ids=PATHS)


def exact_average(process, x: Tensor, t: Tensor, r: Tensor) -> Tensor:
    """u of data ~ N(MEAN, VARIANCE): the flow keeps the standard score. Where r = t, its limit by a tiny step."""
    r = torch.where(r == t, t + 1e-7, r)

    def moments(time):
        a, b, s = (expand(c, x) for c in process.coefficients(time))
        return a * MEAN + b * ANCHOR, (a**2 * VARIANCE + s**2).sqrt()

    (mean, scale), (mean_end, scale_end) = moments(t), moments(r)
    return (mean_end + scale_end / scale * (x - mean) - x) / expand(r - t, x)


class Exact(Backbone):
    """Answers with the exact average velocity, or with the data estimate that stands for it."""

    def __init__(self, process, predicts: str):
        super().__init__()
        self.process, self.predicts, self.calls = process, predicts, 0

    def forward(self, x, t, cond):
        self.calls += 1
        u = exact_average(self.process, x, *t.unbind(1))
        anchor = torch.full_like(x, ANCHOR)
        return getattr(Estimate(self.process, x, t[:, 0], anchor, u, "velocity"), self.predicts)


class Perceptron(Backbone):
    """A network on the points of a line."""

    def __init__(self, times: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1 + times, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))

    def forward(self, x, t, cond):
        return self.layers(torch.cat([x, t.reshape(len(t), -1)], dim=1))


def head(backbone, process=None, **settings) -> MeanFlowHead:
    settings = {"predicts": "data", "anchor": "noisy_stft", "condition": ["noisy_stft"], **settings}
    return MeanFlowHead(backbone, process or NoisyFlow(), target="stft", **settings)


def unet(**settings) -> UNet:
    net = UNet(channels=(8, 16), blocks=1, time_dim=16, times=2, time_scale=30.0, **settings)
    for parameter in net.parameters():  # several layers start at zero
        nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(parameter.numel()))
    return net


def spectra(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))


def consistent_pair(process, t: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Data, anchor and noise such that the data are their own mean given x_t: the pair moves as the flow does."""
    noise = torch.randn(len(t), size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    a, _, s = (expand(c, noise) for c in process.coefficients(t))
    return MEAN + a * VARIANCE * noise / s, torch.full_like(noise, ANCHOR), noise


TIMES = torch.tensor([[0.8, 0.2], [0.5, 0.4], [0.3, 0.3], [0.8, 0.0], [0.3, 0.9], [0.6, 1.0]], dtype=torch.float64)


@every_path
def test_the_closed_form_obeys_the_identity(process) -> None:
    """u = v - (t - r) du/dt in float64, the derivative taken along the way; the formula for the tests below."""
    t, r = TIMES[TIMES[:, 0] != TIMES[:, 1]].unbind(1)
    data, anchor, noise = consistent_pair(process, t, 7)
    x = process.perturb(data, anchor, noise, t)
    v = Estimate(process, x, t, anchor, data, "data").velocity
    torch.testing.assert_close(exact_average(process, x, t, t), v, rtol=1e-5, atol=1e-5)
    with forward_ad.dual_level():
        dual = exact_average(process, forward_ad.make_dual(x, v), forward_ad.make_dual(t, torch.ones_like(t)), r)
        u, slope = forward_ad.unpack_dual(dual)
    torch.testing.assert_close(u, v - expand(t - r, x) * slope, rtol=1e-10, atol=1e-10)
    assert slope.abs().min() > 1e-3, "a constant would prove nothing"


@every_path
@pytest.mark.parametrize("derivative", ["exact", "difference"])
@pytest.mark.parametrize("loss_on", ["velocity", "data"])
@pytest.mark.parametrize("predicts", ["velocity", "data"])
def test_the_exact_average_has_no_loss_and_the_velocity_has(process, predicts, loss_on, derivative) -> None:
    times = TIMES if derivative == "difference" else TIMES[TIMES[:, 0] != TIMES[:, 1]]
    data, anchor, noise = consistent_pair(process, times[:, 0], 5)
    settings = {"predicts": predicts, "loss_on": loss_on, "derivative": derivative, "power": 0.0}
    model = head(Exact(process, predicts), process, **settings)
    assert model.loss_at(data, {"noisy_stft": anchor}, times, noise).total < 1e-10

    class Instantaneous(Exact):
        def forward(self, x, t, cond):
            return super().forward(x, t[:, :1].expand(-1, 2), cond)

    model = head(Instantaneous(process, predicts), process, **settings)
    assert model.loss_at(data, {"noisy_stft": anchor}, times, noise).total > 1e-4


@every_path
def test_where_the_times_are_equal_it_is_flow_matching(process) -> None:
    data, noisy, noise = spectra(3, 2, 1, 8, 8)
    t, net = torch.tensor([0.3, 0.9]), unet()

    class AtOneTime(Backbone):
        def forward(self, x, t, cond):
            return net(x, torch.stack([t, t], dim=1), cond)

    plain = PathHead(
        AtOneTime(), process, target="stft", predicts="data", loss_on="velocity", anchor="noisy_stft",
        condition=["noisy_stft"],
    ).loss_at(data, {"noisy_stft": noisy}, t, noise)  # fmt: skip
    mean = head(net, process, loss_on="velocity", power=0.0)
    for times in (t, torch.stack([t, t], dim=1)):
        loss = mean.loss_at(data, {"noisy_stft": noisy}, times, noise)
        torch.testing.assert_close(loss.total, plain.total)
        torch.testing.assert_close(loss.data, plain.data)


def test_the_weight_is_the_published_one() -> None:
    """(|error|^2 + c)^-p without gradient: p = 1 makes items of any error weigh the same."""
    data, noisy, noise = spectra(3, 2, 1, 8, 8)
    times, net = torch.tensor([[0.3, 0.3], [0.9, 0.1]]), unet()
    errors = [
        head(net, power=0.0).loss_at(data[i : i + 1], {"noisy_stft": noisy[i : i + 1]}, times[i : i + 1],
                                     noise[i : i + 1]).total.detach() for i in range(2)
    ]  # fmt: skip
    for power, floor in ((1.0, 1e-3), (0.5, 0.1)):
        model = head(net, power=power, floor=floor)
        loss = model.loss_at(data, {"noisy_stft": noisy}, times, noise)
        expected = sum(e / (e + floor) ** power for e in errors) / 2
        torch.testing.assert_close(loss.total.detach(), expected)
        torch.testing.assert_close(loss.parts["data"], sum(errors) / 2)
    (flat,) = torch.autograd.grad(head(net, power=1.0, floor=1e-9).loss_at(
        data, {"noisy_stft": noisy}, times, noise).total, [net.head.bias])  # fmt: skip
    assert flat.abs().max() > 1e-3, "with a gradient through the weight this loss would be constant"


@pytest.mark.parametrize("predicts", ["velocity", "data"])
def test_the_difference_is_near_the_exact_derivative(predicts) -> None:
    """In float32, for a network on complex spectra with attention; the loss is nearly the same, too."""
    data, noisy, noise = spectra(3, 4, 1, 16, 16)
    times, net = torch.tensor([[0.9, 0.2], [0.5, 0.4], [1.0, 0.0], [0.031, 0.0]]), unet()
    slopes, losses = [], []
    for derivative in ("exact", "difference"):
        model = head(net, predicts=predicts, derivative=derivative)
        x = model.process.perturb(data, noisy, noise, times[:, 0])
        slopes.append(model._slope(x, *times.unbind(1), noisy - data, {"noisy_stft": noisy}))
        losses.append(model.loss_at(data, {"noisy_stft": noisy}, times, noise).total)
    for exact, difference in zip(*slopes, strict=True):
        assert (exact - difference).norm() / exact.norm() < 5e-3
    torch.testing.assert_close(losses[1], losses[0], rtol=5e-3, atol=0)


def test_the_derivative_is_taken_in_float32_and_without_gradient() -> None:
    modes = []

    class Asked(Backbone):
        def forward(self, x, t, cond):
            modes.append((torch.is_autocast_enabled("cpu"), torch.is_grad_enabled(), len(x)))
            return x * t[:, :1, None, None]

    data, noisy, noise = spectra(3, 2, 1, 8, 8)
    for derivative, calls in (("exact", 1), ("difference", 2)):
        modes.clear()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            head(Asked(), derivative=derivative).loss_at(
                data, {"noisy_stft": noisy}, torch.tensor([[0.5, 0.5], [0.9, 0.1]]), noise
            )
        assert modes == [(True, True, 2), *[(False, False, 1)] * calls]


@every_path
def test_times_are_drawn_as_said(process) -> None:
    told = []

    class Asked(Backbone):
        def forward(self, x, t, cond):
            told.append(t)
            return x

    data, noisy = spectra(2, 8000, 1, 1, 1)
    model = head(Asked(), process, t_eps=0.1, prior_share=0.25, equal_share=0.5, derivative="difference")
    torch.manual_seed(0)
    model.loss({"stft": data}, {"noisy_stft": noisy})
    towards = 1.0 if process.t_data > process.t_prior else -1.0
    t, r = ((time - process.t_prior) * towards for time in told[0].unbind(1))  # progress from prior (0) to data (1)
    jump = (t == 0) & (r == 1)
    equal = t == r
    assert jump.float().mean() == pytest.approx(0.25, abs=0.02)
    assert equal.float().mean() == pytest.approx(0.375, abs=0.02)
    assert bool((t <= r).all())
    assert float(t.max()) <= 0.9 + 1e-6
    assert t[equal].mean() == pytest.approx(0.45, abs=0.02)  # uniform
    onward = ~jump & ~equal
    assert t[onward].mean() == pytest.approx(0.3, abs=0.02)  # the lesser of two
    assert r[onward].mean() == pytest.approx(2 / 3, abs=0.02)  # the greater of two
    assert torch.stack([t[onward], r[onward]]).unique().numel() > 1000


@every_path
@pytest.mark.parametrize("steps", [1, 3])
def test_the_exact_average_generates_the_solution_of_the_flow(process, steps) -> None:
    """At the prior end a = 0, so the standard score of the state is the noise itself, and the flow keeps it."""
    net = Exact(process, "velocity")
    model = head(net, process, predicts="velocity", anchor=None if process.t_data == 1 else "noisy_stft")
    cond = {"noisy_stft": torch.full((2, 9), ANCHOR, dtype=torch.float64)}
    noise = torch.randn(2, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    seen = []
    out = model.generate(
        cond, sampling=Sampling("average", steps=steps), noise=samplers.replay([noise]), callback=seen.append
    )
    assert net.calls == len(seen) == steps
    s = float(process.coefficients(torch.tensor(process.t_data)).s)
    torch.testing.assert_close(out, MEAN + (VARIANCE + s**2) ** 0.5 * noise, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_ode_samplers_walk_the_velocity(sampler) -> None:
    process = LinearFlow()
    model = head(Exact(process, "velocity"), process, predicts="velocity", anchor=None)
    cond = {"noisy_stft": torch.zeros(2, 9, dtype=torch.float64)}
    ways = [
        model.generate(cond, sampling=Sampling(name, steps=steps), noise=samplers.gaussian(0))
        for name, steps in (("average", 1), (sampler, 100))
    ]
    torch.testing.assert_close(*ways, rtol=0, atol=0.03 if sampler == "euler" else 4e-3)


def test_one_step_is_the_networks_own_estimate() -> None:
    net, (noisy,) = unet(), spectra(1, 2, 1, 8, 8)
    drawn = spectra(2, 2, 1, 8, 8)[1]
    model, cond = head(net), {"noisy_stft": noisy}
    with torch.no_grad():
        out = model.generate(cond, noise=samplers.replay([drawn]))
        estimate = net(noisy + 0.487 * drawn, torch.tensor([[1.0, 0.0]]).expand(2, 2), cond)
    torch.testing.assert_close(out, estimate, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("derivative", ["exact", "difference"])
def test_gradient_reaches_every_parameter_and_seeds_repeat(derivative) -> None:
    data, noisy = spectra(2, 4, 1, 8, 8)
    losses = []
    for _ in range(2):
        net = unet()
        model = head(net, derivative=derivative, equal_share=0.25, prior_share=0.25)
        torch.manual_seed(5)
        loss = model.loss({"stft": data}, {"noisy_stft": noisy})
        loss.total.backward()
        losses.append(loss.total.detach())
    assert torch.equal(*losses)
    dead = [name for name, p in net.named_parameters() if p.grad is None or not p.grad.abs().any()]
    assert not dead
    with torch.no_grad():
        ways = [model.generate({"noisy_stft": noisy}, noise=samplers.by_frame(1)) for _ in range(2)]
    assert torch.equal(*ways)


def test_losses_on_waveforms_train_the_estimate() -> None:
    net = unet()
    stft = CompressedSTFT(frames_multiple=4, pad_mode="reflect")
    model = head(net, prior_share=1.0, power=0.0)
    plain, heard = (
        Enhancer({"stft": stft}, model, sample_rate=16000, wave_losses=losses) for losses in ([], [SpectralLoss()])
    )
    wav = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    gradients = []
    for enhancer in (plain, heard):
        torch.manual_seed(0)
        loss = enhancer.loss(Batch(clean=wav, noisy=wav.flip(1)))
        gradients.append(torch.autograd.grad(loss.total, [net.stem.weight])[0])
    assert "SpectralLoss" in loss.parts
    assert (gradients[1] - gradients[0]).norm() > 1e-3 * gradients[0].norm()


def train(model, steps: int) -> None:
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    decay = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    for _ in range(steps):
        data = torch.randint(0, 2, (256, 1), generator=generator) * 2.0 - 1.0
        optimizer.zero_grad()
        model.loss({"stft": data}, {"noisy_stft": torch.zeros_like(data)}).total.backward()
        optimizer.step()
        decay.step()


def spread(model, sampler: str) -> tuple[float, float, float]:
    """Mean and standard deviation of one-step samples, and their mean distance from the nearer of the points +-1."""
    cond = {"noisy_stft": torch.zeros(4000, 1)}
    with torch.no_grad():
        out = model.generate(cond, sampling=Sampling(sampler, steps=1), noise=samplers.gaussian(0))
    return float(out.mean()), float(out.std()), float((out.abs() - 1).abs().mean())


def test_one_step_draws_two_points_where_flow_matching_draws_their_mean() -> None:
    torch.manual_seed(0)
    settings = {"target": "stft", "predicts": "velocity", "anchor": None, "condition": ["noisy_stft"]}
    plain = PathHead(Perceptron(1), LinearFlow(), t_eps=0.0, **settings)
    mean = MeanFlowHead(Perceptron(2), LinearFlow(), t_eps=0.0, equal_share=0.5, **settings)
    for model in (plain, mean):
        train(model, 700)
    of_plain, of_mean = spread(plain, "euler"), spread(mean, "average")
    assert abs(of_mean[0]) + abs(of_mean[1] - 1) < 0.5 * (abs(of_plain[0]) + abs(of_plain[1] - 1))
    assert of_mean[2] < 0.4 * of_plain[2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"predicts": "noise"}, "predicts='noise'.*expected velocity or data"),
        ({"loss_on": "score"}, "loss_on='score'.*expected velocity or data"),
        ({"derivative": "jvp"}, "derivative='jvp': expected exact or difference"),
        ({"equal_share": 1.5}, "equal_share=1.5"),
        ({"power": -1.0}, "power=-1.0"),
        ({"floor": 0.0}, r"floor=0.0"),
        ({"t_eps": 1.0}, "t_eps=1.0"),
        ({"process": OrnsteinUhlenbeck()}, "OrnsteinUhlenbeck is curved"),
    ],
)
def test_impossible_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        head(unet(), **settings)


def test_a_network_of_one_time_and_a_head_without_average_are_refused() -> None:
    (noisy,) = spectra(1, 1, 1, 8, 8)
    one_time = UNet(channels=(8, 16), blocks=1, time_dim=16)
    with pytest.raises(ValueError, match="times=1"):
        head(one_time).generate({"noisy_stft": noisy}, noise=samplers.gaussian(0))
    plain = PathHead(
        one_time, NoisyFlow(), target="stft", predicts="data", anchor="noisy_stft", condition=["noisy_stft"]
    )
    with pytest.raises(ValueError, match="no average velocity"):
        plain.generate({"noisy_stft": noisy}, sampling=Sampling("average"), noise=samplers.gaussian(0))
