"""Cascade: conditions from stage to stage, joint and frozen training, options of stages, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gense
from gense import Enhancer, Sampling, samplers
from gense.backbones import Backbone, UNet
from gense.choices import checked_sampling
from gense.heads import Cascade, Head, PathHead, RegressionHead
from gense.processes import OrnsteinUhlenbeck
from gense.representations import CompressedSTFT
from gense.types import Batch, Loss


class Gain(Backbone):
    """Multiplies its input by one number, and remembers what it was asked."""

    def __init__(self, gain: float):
        super().__init__()
        self.gain, self.asked = nn.Parameter(torch.tensor(gain)), []

    def forward(self, x: Tensor, t: Tensor | None, cond: dict[str, Tensor]) -> Tensor:
        self.asked.append((x, t, dict(cond), self.training, torch.is_grad_enabled()))
        return self.gain * x


class Silent(Head):
    """A head that can be trained and used, and has no estimate in training."""

    def __init__(self, target: str = "stft", reads: tuple[str, ...] = ("noisy_stft",)) -> None:
        super().__init__()
        self.reads, self.target, self.sampling = reads, target, None

    def loss(self, clean, cond) -> Loss:
        return Loss(clean[self.target].abs().mean())

    def generate(self, cond, *, sampling=None, noise=None, callback=None) -> Tensor:
        return cond["noisy_stft"]


def draws(count: int, *shape: int) -> Tensor:
    return torch.randn(count, *shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))


def regression(gain: float = 0.5, *condition: str, **settings: Any) -> RegressionHead:
    settings = {"target": "stft", "condition": list(condition) or ["noisy_stft"], **settings}
    return RegressionHead(Gain(gain), **settings)


def path(anchor: str = "denoised", *condition: str, gain: float = 0.9) -> PathHead:
    return PathHead(
        Gain(gain), OrnsteinUhlenbeck(), target="stft", predicts="data", anchor=anchor,
        condition=list(condition) or [anchor], sampling=Sampling("euler_maruyama", steps=3),
    )


def pair(**settings: Any) -> Cascade:
    return Cascade({"denoised": regression(), "out": path("denoised", "noisy_stft", "denoised")}, **settings)


def test_what_it_reads_predicts_and_samples_is_told_from_its_stages() -> None:
    cascade = Cascade({"a": regression(), "b": path("a", "noisy_mel", "a"), "c": regression(1.0, "b", "noisy_stft")})
    assert cascade.reads == ("noisy_stft", "noisy_mel")
    assert cascade.target == "stft"
    assert cascade.targets == ("stft",)
    assert cascade.sampling == Sampling("euler_maruyama", steps=3)
    assert Cascade({"a": regression()}).sampling is None


def test_each_stage_reads_the_output_of_those_before_it() -> None:
    noisy = draws(1, 2, 1, 4, 5)[0]
    cascade = pair()
    cond = {"noisy_stft": noisy}
    out = cascade.generate(cond, noise=samplers.gaussian(0))
    assert list(cond) == ["noisy_stft"], "the caller's conditions are his own"
    second = cascade.stages["out"]
    asked = second.backbone.asked
    assert len(asked) == 3
    assert list(asked[0][2]) == ["noisy_stft", "denoised"]
    torch.testing.assert_close(asked[0][2]["denoised"], 0.5 * noisy)
    # The path starts around the first stage's output, not around the noisy input
    expected = second.generate({"noisy_stft": noisy, "denoised": 0.5 * noisy}, noise=samplers.gaussian(0))
    assert torch.equal(out, expected)


def test_joint_training_sends_the_later_loss_into_the_earlier_stage() -> None:
    clean, noisy = draws(2, 2, 1, 4, 5)
    cascade = Cascade({"a": regression(0.5), "b": regression(2.0, "a")}, weights={"a": 0.3, "b": 0.6})
    loss = cascade.loss({"stft": clean}, {"noisy_stft": noisy})
    first, second = cascade.stages["a"].backbone.gain, cascade.stages["b"].backbone.gain

    def error(estimate: Tensor) -> Tensor:
        return (estimate - clean).abs().square().mean()

    g, h = (torch.tensor(value, requires_grad=True) for value in (0.5, 2.0))
    expected = 0.3 * error(g * noisy) + 0.6 * error(h * g * noisy)
    torch.testing.assert_close(loss.total, expected)
    loss.total.backward()
    expected.backward()
    torch.testing.assert_close((first.grad, second.grad), (g.grad, h.grad))
    torch.testing.assert_close(loss.data, noisy * 1.0)
    torch.testing.assert_close(loss.parts, {
        "a/squared": error(0.5 * noisy), "b/squared": error(noisy),
    })  # fmt: skip


def test_a_frozen_stage_runs_as_in_use_and_without_gradient() -> None:
    clean, noisy = draws(2, 2, 1, 4, 5)
    cascade = pair(train=["out"]).train()
    loss = cascade.loss({"stft": clean}, {"noisy_stft": noisy})
    loss.total.backward()
    first, second = cascade.stages["denoised"].backbone, cascade.stages["out"].backbone
    ((_, _, _, training, recording),) = first.asked
    assert not training
    assert not recording
    assert first.gain.grad is None
    assert not first.gain.requires_grad
    assert second.asked[0][3]
    assert second.gain.grad is not None
    assert loss.parts.keys() == {"out/data"}
    assert cascade.eval().train().stages["out"].training


def test_stages_after_the_last_that_is_trained_do_not_run() -> None:
    clean, noisy = draws(2, 2, 1, 4, 5)
    cascade = pair(train=["denoised"])
    loss = cascade.loss({"stft": clean}, {"noisy_stft": noisy})
    assert cascade.stages["out"].backbone.asked == []
    torch.testing.assert_close(loss.data, 0.5 * noisy)


def test_a_frozen_stage_may_sample() -> None:
    clean, noisy = draws(2, 2, 1, 4, 5)
    cascade = Cascade({"a": path("noisy_stft"), "b": regression(1.0, "a")}, train=["b"])
    loss = cascade.loss({"stft": clean}, {"noisy_stft": noisy})
    assert len(cascade.stages["a"].backbone.asked) == 3
    assert torch.isfinite(loss.total)
    assert torch.isfinite(torch.view_as_real(loss.data)).all()


def test_stages_may_predict_different_representations() -> None:
    """The enhancer computes each target that training reads."""
    wide, narrow = CompressedSTFT(frames_multiple=4), CompressedSTFT(factor=1.0, frames_multiple=4)
    cascade = Cascade({
        "a": regression(target="narrow", condition=["noisy_narrow"]),
        "b": regression(0.5, target="wide", condition=["noisy_wide", "a"]),
    })  # fmt: skip
    assert cascade.targets == ("narrow", "wide")
    model = Enhancer({"wide": wide, "narrow": narrow}, cascade, sample_rate=16000)
    wav = 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    loss = model.loss(Batch(wav, wav))
    # Half of what is to be predicted: a quarter of its mean square, and the factors of the representations
    ratio = loss.parts["a/squared"] / loss.parts["b/squared"]
    assert float(ratio) == pytest.approx((1.0 / 0.15) ** 2, rel=1e-4)
    with pytest.raises(ValueError, match="the head needs representation 'narrow'"):
        Enhancer({"wide": wide}, cascade, sample_rate=16000)


def test_training_through_an_enhancer_reaches_both_stages() -> None:
    torch.manual_seed(0)
    shape = {"channels": (8, 16), "blocks": 1}
    first = RegressionHead(UNet(inputs=1, time_dim=0, **shape), target="stft", condition=["noisy_stft"])
    second = PathHead(
        UNet(inputs=3, time_dim=16, **shape), OrnsteinUhlenbeck(), target="stft", predicts="data", anchor="denoised",
        condition=["noisy_stft", "denoised"],
    )
    for parameter in [*first.parameters(), *second.parameters()]:
        nn.init.normal_(parameter, std=0.1)
    stft = CompressedSTFT(frames_multiple=4, pad_mode="reflect")
    model = Enhancer({"stft": stft}, Cascade({"denoised": first, "out": second}), sample_rate=16000)
    clean, noisy = torch.randn(2, 2, 4000, generator=torch.Generator().manual_seed(0)) * 0.1
    model.loss(Batch(clean, noisy)).total.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_a_small_cascade_overfits_one_pair() -> None:
    torch.manual_seed(0)
    data, noisy = draws(2, 1, 1, 8, 8)
    shape = {"channels": (16, 32), "blocks": 1}
    cascade = Cascade({
        "denoised": RegressionHead(UNet(inputs=1, time_dim=0, **shape), target="stft", condition=["noisy_stft"]),
        "out": PathHead(
            UNet(inputs=3, time_dim=16, **shape), OrnsteinUhlenbeck(), target="stft", predicts="data",
            anchor="denoised", condition=["noisy_stft", "denoised"], sampling=Sampling("exponential", steps=4),
        ),
    })  # fmt: skip
    optimizer = torch.optim.Adam(cascade.parameters(), lr=3e-3)
    batch = {"stft": data.expand(4, -1, -1, -1)}, {"noisy_stft": noisy.expand(4, -1, -1, -1)}
    for _ in range(150):
        loss = cascade.loss(*batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        out = cascade.generate({"noisy_stft": noisy}, noise=samplers.gaussian(0))
    assert (out - data).abs().square().mean() < 0.05 * (noisy - data).abs().square().mean()


# -- options ---------------------------------------------------------------------------------------------------------


def chain() -> Enhancer:
    """Two stages that sample and one that does not."""
    cascade = Cascade({"rough": path("noisy_stft"), "plain": regression(0.5, "rough"), "fine": path("plain")})
    return Enhancer({"stft": CompressedSTFT(frames_multiple=4)}, cascade, sample_rate=16000)


def calls(model: Enhancer, steps: int | None = None, sampler: str | None = None, **options: Any) -> dict[str, int]:
    """Network calls of each stage in a run with the user's choices."""
    stages = model.head.stages
    for stage in stages.values():
        stage.backbone.asked.clear()
    sampling = checked_sampling(model, steps, sampler, None, options)
    model.head.generate({"noisy_stft": draws(1, 1, 1, 4, 5)[0]}, sampling=sampling, noise=samplers.gaussian(0))
    return {name: len(stage.backbone.asked) for name, stage in stages.items()}


def test_steps_and_sampler_go_to_the_last_stage_that_samples() -> None:
    model = chain()
    assert calls(model) == {"rough": 3, "plain": 1, "fine": 3}
    assert calls(model, 5) == {"rough": 3, "plain": 1, "fine": 5}
    assert calls(model, 2, "midpoint") == {"rough": 3, "plain": 1, "fine": 4}


def test_other_stages_are_reached_by_name() -> None:
    model = chain()
    assert calls(model, 5, **{"rough.steps": 2}) == {"rough": 2, "plain": 1, "fine": 5}
    assert calls(model, **{"rough.sampler": "midpoint"}) == {"rough": 6, "plain": 1, "fine": 3}
    seen = model.head.stages["rough"].backbone.asked
    calls(model, **{"rough.stop": 0.2})  # an option of its schedule
    assert float(seen[-1][1][0]) == pytest.approx(0.2)
    assert calls(model, **{"fine.steps": 7}) == {"rough": 3, "plain": 1, "fine": 7}
    churned = checked_sampling(model, None, None, None, {"rough.churn": 0.0, "churn": 0.0})
    noisy = draws(1, 1, 1, 4, 5)[0]
    # Without churn no stage draws more than its prior
    model.head.generate({"noisy_stft": noisy}, sampling=churned, noise=samplers.replay(list(draws(2, 1, 1, 4, 5))))


def test_one_stage_alone() -> None:
    model = chain()
    assert calls(model, until="plain") == {"rough": 3, "plain": 1, "fine": 0}
    assert calls(model, until="fine") == calls(model)
    assert calls(model, until="rough", **{"rough.steps": 4}) == {"rough": 4, "plain": 0, "fine": 0}
    wav = 0.1 * torch.randn(4000, generator=torch.Generator().manual_seed(0))
    gense.enhance(wav, model, until="plain")
    counts = {name: len(stage.backbone.asked) for name, stage in model.head.stages.items()}
    assert counts == {"rough": 4 + 3, "plain": 1, "fine": 0}


def test_a_default_may_stop_early() -> None:
    model = chain()
    model.head.sampling = Sampling(steps=2, options={"until": "rough"})
    assert calls(model) == {"rough": 3, "plain": 0, "fine": 0}
    assert calls(model, until="fine", churn=0.0, sampler="euler_maruyama") == {"rough": 3, "plain": 1, "fine": 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"until": "ruogh"}, "until='ruogh': expected one of the stages rough, plain, fine"),
        ({"until": ["rough"]}, "until="),
        ({"ruogh.churn": 1}, "option 'ruogh.churn': there is no stage 'ruogh'; there are rough, plain, fine"),
        ({"plain.churn": 1}, "option 'plain.churn': stage 'plain' is deterministic"),
        ({"rough.chrun": 1}, "stage 'rough': unexpected option 'chrun': sampler euler_maruyama takes churn"),
        ({"rough.steps": 0}, "stage 'rough': steps=0"),
        ({"rough.sampler": "huen"}, "stage 'rough': .*nearest: 'heun'"),
        ({"untl": "rough"}, "unexpected option 'untl': .*; the cascade takes until and <stage>.<option>"),
    ],
)
def test_impossible_options_are_refused_at_the_door(options: dict, message: str) -> None:
    model = chain()
    wav = torch.zeros(4000)
    with pytest.raises(ValueError, match=message):
        gense.enhance(wav, model, **options)
    assert not any(stage.backbone.asked for stage in model.head.stages.values())


def test_a_stage_in_another_representation_cannot_be_the_last() -> None:
    other = path("noisy_mel")
    other.target = "mel"
    cascade = Cascade({"rough": other, "fine": path("noisy_stft", "rough")})
    with pytest.raises(ValueError, match="until='rough': this stage predicts 'mel', and only 'stft' is turned"):
        cascade.chosen(cascade.sampling, {"until": "rough"})


def test_a_deterministic_cascade_takes_no_sampling() -> None:
    cascade = Cascade({"a": regression(), "b": regression(1.0, "a")})
    noisy = draws(1, 1, 1, 4, 5)[0]
    torch.testing.assert_close(cascade.generate({"noisy_stft": noisy}), 0.5 * noisy)
    with pytest.raises(ValueError, match="no stage of this head samples"):
        cascade.generate({"noisy_stft": noisy}, sampling=Sampling())


# -- construction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stages", "settings", "message"),
    [
        ({}, {}, "need at least one"),
        ({"a": regression(0.5, "b"), "b": regression()}, {}, "stage 'a' reads 'b', which is not made before it"),
        ({"a": regression(0.5, "a")}, {}, "stage 'a' reads 'a'"),
        ({"noisy_stft": regression()}, {}, "stage 'noisy_stft': need a plain word"),
        ({"a.b": regression()}, {}, "stage 'a.b': need a plain word"),
        ({"items": regression()}, {}, "stage 'items': need a plain word that is not taken"),
        ({"a": regression()}, {"train": ["b"]}, "train names 'b'; expected some of a"),
        ({"a": regression()}, {"train": []}, "name at least one stage"),
        ({"a": regression()}, {"weights": {"b": 1.0}}, "weights names 'b'"),
        (
            {"a": regression(), "b": regression(1.0, "a")}, {"train": ["b"], "weights": {"a": 1.0}},
            "weights names 'a'; expected some of b",
        ),
        ({"a": regression()}, {"weights": {"a": -1.0}}, "need numbers >= 0"),
    ],
)  # fmt: skip
def test_impossible_cascades_are_refused(stages: dict, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cascade(stages, **settings)


def test_a_stage_without_estimate_runs_for_a_later_one_in_training_and_is_not_trained_by_it() -> None:
    clean, noisy = draws(2, 1, 1, 4, 5)
    batch = {"stft": clean}, {"noisy_stft": noisy}
    both = Cascade({"a": Silent(), "b": regression(1.0, "a")})
    loss = both.loss(*batch)
    torch.testing.assert_close(loss.data, noisy)
    alone = Cascade({"a": Silent(), "b": regression(1.0, "a")}, train=["b"]).loss(*batch)
    torch.testing.assert_close(loss.total, clean.abs().mean() + alone.total)
    unread = Cascade({"a": Silent(), "b": regression()}).loss(*batch)
    assert torch.isfinite(unread.total)
    torch.testing.assert_close(alone.data, noisy)
