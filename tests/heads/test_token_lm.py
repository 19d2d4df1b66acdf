"""TokenLMHead: the sequence it builds, losses, options, refusals, and stages of it in a row."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from gense import Sampling, samplers
from gense.backbones import CausalLM
from gense.checkpoints.build import build_as
from gense.heads import Cascade, Head, Segment, TokenLMHead
from gense.heads.resolve import changed
from gense.samplers import TokenStep
from tests.backbones.test_causal_lm import ids, small

PROMPT = [Segment("noisy_tokens", offset=3), Segment(token=1)]


def head_of(streams: int = 1, **settings: Any) -> TokenLMHead:
    settings = {
        "target": "tokens", "prompt": PROMPT, "size": 8, "offset": 3, "frames": "noisy_tokens", "position": 0,
        **settings,
    }  # fmt: skip
    return TokenLMHead(small(streams=streams), **settings).eval()


def noisy(items: int = 3, streams: int = 1, frames: int = 7) -> dict[str, Tensor]:
    return {"noisy_tokens": ids(items, streams, frames, high=8)}


def greedy(**options: Any) -> Sampling:
    return Sampling("autoregressive", options={"choose": "greedy", **options})


def test_what_it_reads_and_predicts() -> None:
    head = head_of(prompt=[Segment("semantic"), *PROMPT], frames="noisy_codec")
    assert head.reads == ("semantic", "noisy_tokens", "noisy_codec")
    assert head.targets == ("tokens",)
    assert head.sampling.sampler == "autoregressive"


@pytest.mark.parametrize("streams", [1, 2])
@torch.no_grad()
def test_ids_shape_and_what_may_be_written(streams: int) -> None:
    """Only ids of the target, also if the model prefers others; every one of them comes up."""
    head = head_of(streams, size=5, offset=4)
    out = head.generate(noisy(40, streams), noise=samplers.gaussian(0))
    assert out.shape == (40, streams, 7)
    assert out.dtype == torch.int64
    assert set(out.flatten().tolist()) == set(range(5))


@torch.no_grad()
def test_the_loss_is_the_likelihood_of_what_is_generated() -> None:
    """Written tokens, given back as clean ones, cost what their logits said when they were written, -log p."""
    head, cond, steps = head_of(2), noisy(3, 2), []
    out = head.generate(cond, noise=samplers.gaussian(0), callback=steps.append)
    logits = torch.stack([step.logits for step in steps], dim=2)
    expected = -logits.log_softmax(-1).gather(-1, out[..., None] + head.offset).mean()
    loss = head.loss({"tokens": out}, cond)
    assert loss.total == pytest.approx(float(expected), rel=1e-5)
    assert loss.parts["cross_entropy"] == loss.total
    assert loss.data is None
    best = head.generate(cond, sampling=greedy())
    assert head.loss({"tokens": best}, cond).parts["accuracy"] == 1.0


@torch.no_grad()
def test_a_token_of_the_future_costs_nothing_before() -> None:
    """The loss is teacher forced: changing the last clean token changes only the terms of that token."""
    head, cond = head_of(), noisy(1)
    clean = ids(1, 1, 7, high=8)
    costs = []
    for token in range(8):
        clean[..., -1] = token
        costs.append(7 * float(head.loss({"tokens": clean}, cond).total))
    first = costs[0] + F.log_softmax(torch.tensor([-cost for cost in costs]), 0)[0].item()
    others = 6 * float(head.loss({"tokens": clean[..., :-1]}, cond).total)
    assert first == pytest.approx(others, rel=1e-4)  # the terms of the last token are a whole distribution


@torch.no_grad()
def test_an_item_does_not_depend_on_its_neighbours() -> None:
    head, cond = head_of(), noisy(3)
    together = head.generate(cond, noise=samplers.per_item([1, 2, 3]))
    for i in range(3):
        alone = head.generate({"noisy_tokens": cond["noisy_tokens"][i : i + 1]}, noise=samplers.per_item([1 + i]))
        assert torch.equal(together[i : i + 1], alone)


@torch.no_grad()
def test_streams_that_a_condition_lacks_are_padded() -> None:
    head, cond = head_of(2, pad=2), noisy(2, 1, 4)
    tokens, positions = head._prompt(cond, 3)
    assert torch.equal(tokens[:, :1, :4], cond["noisy_tokens"] + 3)
    assert (tokens[:, 1, :4] == 2).all()
    assert (tokens[:, :, 4] == 1).all()
    assert positions.tolist() == [0, 1, 2, 3, 4, 0, 1, 2]


@torch.no_grad()
def test_positions_count_on_unless_they_restart() -> None:
    parts = [Segment("a"), Segment(token=1), Segment("b", position=5), Segment("a")]
    head = head_of(prompt=parts, frames="b", position=None)
    cond = {"a": ids(1, 1, 2), "b": ids(1, 1, 3)}
    assert head._prompt(cond, 2)[1].tolist() == [0, 1, 2, 5, 6, 7, 8, 9, 10, 11]


@torch.no_grad()
def test_an_answer_may_stop() -> None:
    """Frames after the stop are -1; the model pays for its stop, and one that must not stop has none."""
    head, cond = head_of(stop=2), noisy(30)
    out = head.generate(cond, noise=samplers.gaussian(1))
    assert out.shape == (30, 1, 7)
    ended = out == -1
    assert ended.any()
    assert not ended.all()
    assert torch.equal(ended, ended.cumsum(-1) > 0)
    # the loss counts the stop as one more token, at the end of the clean ones
    clean, cond = ids(1, 1, 7, high=8), noisy(1)
    tokens, positions = head._prompt(cond, 8)
    line = torch.cat([tokens, clean + 3, torch.full((1, 1, 1), 2)], dim=-1)
    allowed = torch.zeros(11).index_fill(0, torch.tensor([2, *range(3, 11)]), 1.0).log()
    logits = (head.lm(line, positions) + allowed)[0, 0, len(positions) - 9 : -1]
    expected = F.cross_entropy(logits, line[0, 0, -8:])
    assert float(head.loss({"tokens": clean}, cond).total) == pytest.approx(float(expected), rel=1e-5)


def test_it_learns_a_rule() -> None:
    """Clean = noisy + 1: after some steps the likeliest tokens are right, and gradients reached every weight in use."""
    head = TokenLMHead(
        CausalLM(vocabulary=7, dim=32, depth=2, heads=4, positions=16, dropout=0.0), target="tokens", prompt=PROMPT,
        size=4, offset=3, frames="noisy_tokens", position=0,
    )  # fmt: skip
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in head.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.1, generator=generator)
    cond = {"noisy_tokens": ids(16, 1, 6, high=3)}
    clean = {"tokens": cond["noisy_tokens"] + 1}
    optimizer = torch.optim.Adam(head.parameters(), 1e-2)
    first = float(head.loss(clean, cond).total.detach())
    for _ in range(60):
        optimizer.zero_grad()
        head.loss(clean, cond).total.backward()
        optimizer.step()
    assert all(parameter.grad.abs().max() > 0 for parameter in head.parameters())
    with torch.no_grad():
        assert float(head.loss(clean, cond).total) < 0.2 * first
        out = head.generate(cond, sampling=greedy())
    assert (out == clean["tokens"]).float().mean() > 0.9


def test_options_go_to_the_rule_and_to_the_sampler() -> None:
    head = head_of(sampling=Sampling("autoregressive", options={"temperature": 0.5}))
    assert head.chosen(head.sampling, {"top_k": 3}).options == {"temperature": 0.5, "top_k": 3}
    assert head.chosen(head.sampling, {"choose": "greedy"}).options == {"choose": "greedy"}
    narrow = head.chosen(head.sampling, {"top_k": 1})
    with torch.no_grad():
        one = head.generate(noisy(), sampling=narrow, noise=samplers.gaussian(0))
        assert torch.equal(one, head.generate(noisy(), sampling=greedy()))


def test_another_sampler_gets_what_it_takes() -> None:
    def first_token(logits, prefix: Tensor, steps: int, *, choose, twice: bool = False) -> Tensor:
        token = choose(logits(prefix, None)[0], None) + int(twice)
        return token[..., None].expand(*prefix.shape[:-1], steps)

    head = head_of(sampling=greedy())
    sampling = changed(head.sampling, sampler=first_token)
    sampling = head.chosen(sampling, {"choose": "greedy"})
    with torch.no_grad():
        out = head.generate(noisy(), sampling=sampling)
        assert torch.equal(out, head.generate(noisy(), sampling=greedy())[..., :1].expand(-1, -1, 7))
        assert torch.equal(head.generate(noisy(), sampling=head.chosen(sampling, {"twice": True})), out + 1)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"temprature": 1.0}, "unexpected option 'temprature': expected choose, temperature, top_k, top_p"),
        ({"choose": "greedy", "top_k": 3}, "unexpected option 'top_k': expected choose$"),
        ({"choose": "beam"}, "choose='beam': expected greedy, multinomial"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"stop": 3}, "unexpected option 'stop'"),
        ({"guidance": 1.0}, "unexpected option 'guidance'"),
    ],
)
def test_options_that_nobody_takes_are_refused(options: dict, match: str) -> None:
    head = head_of()
    with pytest.raises(ValueError, match=match):
        head.chosen(head.sampling, options)


@pytest.mark.parametrize("change", [{"steps": 3}, {"schedule": "cosine"}, {"guidance": 1.0}])
def test_settings_that_would_say_nothing_are_refused(change: dict) -> None:
    head = head_of()
    sampling = Sampling(**{"sampler": "autoregressive", **change})
    with pytest.raises(ValueError, match="one step per frame"):
        head.chosen(sampling, {})
    with pytest.raises(ValueError, match="one step per frame"):
        head.generate(noisy(), sampling=sampling)
    with pytest.raises(ValueError, match="'euler' is none of autoregressive"):
        head.generate(noisy(), sampling=Sampling("euler"))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"prompt": []}, "at least one token"),
        ({"size": 9}, "largest id 11"),
        ({"size": 0}, "size=0"),
        ({"stop": 11}, "largest id 11"),
        ({"prompt": [Segment(token=50)]}, "largest id 50"),
        ({"sampling": Sampling("autoregressive", options={"top_q": 1})}, "top_q"),
    ],
)
def test_impossible_heads_are_refused(settings: dict, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        head_of(**settings)


@pytest.mark.parametrize("segment", [{}, {"read": "a", "token": 1}, {"read": "a", "offset": -1}, {"token": -1}])
def test_impossible_segments_are_refused(segment: dict) -> None:
    with pytest.raises(ValueError, match="need"):
        Segment(**segment)


@torch.no_grad()
def test_inputs_that_do_not_fit_are_refused() -> None:
    head = head_of()
    with pytest.raises(ValueError, match="pass noise="):
        head.generate(noisy())
    with pytest.raises(ValueError, match="reach position 40, but the model has 40: cut the input"):
        head.generate(noisy(frames=40), sampling=greedy())
    with pytest.raises(ValueError, match="K at most 1"):
        head.generate(noisy(streams=2), sampling=greedy())
    with pytest.raises(ValueError, match="float32"):
        head.generate({"noisy_tokens": torch.zeros(1, 1, 4)}, sampling=greedy())
    with pytest.raises(ValueError, match="target 'tokens' is"):
        head.loss({"tokens": ids(3, 2, 7, high=8)}, noisy())


def cascade(**settings: Any) -> Cascade:
    words = head_of(target="words", frames="noisy_words", prompt=[Segment("noisy_words", offset=3), Segment(token=1)])
    sounds = head_of(prompt=[Segment("words", offset=3), *PROMPT], position=30)
    return Cascade({"words": words, "sounds": sounds}, **settings)


def both() -> dict[str, Tensor]:
    return {"noisy_words": ids(2, 1, 4, high=8), "noisy_tokens": ids(2, 1, 8, high=8)}


@torch.no_grad()
def test_stages_of_tokens_follow_each_other_and_have_their_options() -> None:
    model, cond = cascade(), both()
    assert model.reads == ("noisy_words", "noisy_tokens")
    sampling = model.chosen(model.sampling, {"words.choose": "greedy", "top_k": 1})
    steps: list[TokenStep] = []
    out = model.generate(cond, sampling=sampling, noise=samplers.gaussian(0), callback=steps.append)
    words = model.stages["words"].generate(cond, sampling=greedy())
    assert torch.equal(out, model.stages["sounds"].generate({**cond, "words": words}, sampling=greedy()))
    assert [step.index for step in steps] == [*range(4), *range(8)]
    with pytest.raises(ValueError, match="stage 'words': unexpected option 'top_q'"):
        model.chosen(model.sampling, {"words.top_q": 2})


@pytest.mark.parametrize("train", [None, ["words"], ["sounds"]])
def test_stages_are_trained_on_the_clean_tokens_of_those_before(train: list[str] | None) -> None:
    model, cond = cascade(teacher_forcing=True, train=train), both()
    clean = {"words": ids(2, 1, 4, high=8), "tokens": ids(2, 1, 8, high=8)}
    assert set(model.targets) == ({"words"} if train == ["words"] else {"words", "tokens"})
    parts = {
        "words": model.stages["words"].loss(clean, cond).total,
        "sounds": model.stages["sounds"].loss(clean, {**cond, "words": clean["words"]}).total,
    }
    expected = sum(parts[name] for name in train or parts)
    loss = model.loss({name: clean[name] for name in model.targets}, cond)
    assert loss.total.item() == pytest.approx(expected.item(), rel=1e-6)
    assert loss.data is None


def test_without_teacher_forcing_stages_are_trained_on_what_those_before_write() -> None:
    model, cond = cascade(), both()
    for name in model.stages:
        model.stages[name].sampling = greedy()
    clean = {"words": ids(2, 1, 4, high=8), "tokens": ids(2, 1, 8, high=8)}
    loss = model.loss(clean, cond)
    with torch.no_grad():
        words = model.stages["words"].generate(cond)
    first = model.stages["words"].loss(clean, cond).total
    second = model.stages["sounds"].loss(clean, {**cond, "words": words}).total
    assert loss.total.item() == pytest.approx((first + second).item(), rel=1e-6)
    loss.total.backward()
    assert all(p.grad is not None for p in model.stages["words"].lm.blocks.parameters())


def test_it_is_built_from_a_configuration_without_memory() -> None:
    config = {
        "class_path": "gense.heads.TokenLMHead",
        "init_args": {
            "lm": {"class_path": "gense.backbones.CausalLM", "init_args": {"vocabulary": 20, "dim": 8, "depth": 1}},
            "target": "acoustic", "size": 9, "offset": 11, "position": 1000, "frames": "noisy_acoustic",
            "prompt": [
                {"read": "noisy_semantic", "offset": 3}, {"token": 1},
                {"read": "noisy_acoustic", "offset": 11, "position": 0},
            ],
            "sampling": {"sampler": "autoregressive", "options": {"temperature": 0.8, "top_k": 20}},
        },
    }  # fmt: skip
    with torch.device("meta"):
        head = build_as(Head, config, "head", "the head")
    assert head.prompt == (
        Segment("noisy_semantic", offset=3), Segment(token=1), Segment("noisy_acoustic", offset=11, position=0)
    )  # fmt: skip
    assert head.sampling.options == {"temperature": 0.8, "top_k": 20}
    config["init_args"]["prompt"][0]["offest"] = 1
    with pytest.raises(ValueError, match="offest"):
        build_as(Head, config, "head", "the head")
