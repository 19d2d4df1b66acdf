"""The masked token head: what it counts, that its samples are those of a whole distribution, options, refusals."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import gense
from gense import Sampling, samplers
from gense.backbones import Backbone, DiT
from gense.checkpoints.build import build
from gense.heads import Given, MaskedTokenHead
from gense.heads.resolve import changed
from gense.types import Batch
from tests.backbones.test_causal_lm import ids


def head_of(streams: int = 1, size: int = 5, given: int = 1, **settings: Any) -> MaskedTokenHead:
    torch.manual_seed(0)
    network = DiT(
        features=16, dim=32, depth=2, heads=2, head_dim=16, condition=["noisy_codes"], tokens=None, rotary_heads=None,
        dropout=0.0,
    )  # fmt: skip
    return MaskedTokenHead(
        network, target="codes", conditions=[Given("noisy_codes", size=5, streams=given)], size=size, streams=streams,
        features=16, **settings,
    )  # fmt: skip


def shifted(items: int, frames: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Clean tokens are the noisy ones plus 1 or plus 2, the same for a whole item: frames depend on each other."""
    noisy = torch.randint(0, 5, (items, 1, frames))
    return {"codes": (noisy + torch.randint(1, 3, (items, 1, 1))) % 5}, {"noisy_codes": noisy}


def test_step_by_step_it_draws_from_the_joint_distribution_and_at_once_it_cannot() -> None:
    """Both answers are right, mixtures of them are not; at once, all but 2^(1 - frames) of the items are mixtures."""
    head, frames = head_of(), 5
    optimizer = torch.optim.Adam(head.parameters(), 4e-3)
    for _ in range(250):
        loss = head.loss(*shifted(64, frames))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.backbone.blocks.parameters())
    head.eval()
    _, cond = shifted(200, frames)
    whole = {}
    with torch.no_grad():
        for steps in (1, frames):
            sampling = changed(head.sampling, steps=steps)
            out = head.generate(cond, sampling=sampling, noise=samplers.per_item(range(200)))
            shift = (out - cond["noisy_codes"]) % 5
            kinds = [(shift == k).all(dim=-1).float().mean().item() for k in (1, 2)]
            whole[steps] = sum(kinds)
    assert whole[1] < 0.3
    assert whole[frames] > 0.8
    assert min(kinds) > 0.25, "both answers are drawn"


class Fixed(Backbone):
    """Gives nothing, and keeps what it was asked."""

    def forward(self, x, t, cond):
        self.asked = (x, t, cond)
        return torch.zeros_like(x)


def test_hidden_tokens_alone_count_and_the_network_hears_their_share() -> None:
    network = Fixed()
    given = [Given("noisy_codes", size=7), Given("noisy_mel", channels=3)]
    head = MaskedTokenHead(network, target="codes", conditions=given, size=7, streams=2, features=4)
    with torch.no_grad():
        head.out.bias.zero_()
    clean, mel = {"codes": ids(6, 2, 10, high=7)}, torch.rand(6, 3, 10)
    cond = {"noisy_codes": ids(6, 1, 10, high=7), "noisy_mel": mel}
    loss = head.loss(clean, cond)
    assert loss.total.item() == pytest.approx(math.log(7))
    x, share, given = network.asked
    table = head.embedding.table.weight.unflatten(0, (2, 8))
    tokens = clean["codes"]
    for item in range(6):
        # Each stream of a frame is its token or the hidden id; one of the four sums it is
        sums = [
            [table[0, a] + table[1, b] for a in (tokens[item, 0, n], 7) for b in (tokens[item, 1, n], 7)]
            for n in range(10)
        ]
        with torch.no_grad():
            found = [min(range(4), key=lambda k: float((x[item, :, n] - sums[n][k]).abs().sum())) for n in range(10)]
        hidden = sum(k // 2 + k % 2 for k in found)
        assert hidden >= 1
        assert share[item].item() == pytest.approx(hidden / 20)
    torch.testing.assert_close(given["noisy_codes"], head.given["noisy_codes"].table(cond["noisy_codes"][:, 0]).mT)
    weight, bias = head.given["noisy_mel"].weight[:, :, 0], head.given["noisy_mel"].bias
    torch.testing.assert_close(given["noisy_mel"], weight @ mel + bias[:, None])


@torch.no_grad()
def test_an_item_does_not_depend_on_its_neighbours() -> None:
    head, cond = head_of(2, given=2).eval(), {"noisy_codes": ids(3, 2, 6, high=5)}
    torch.nn.init.normal_(head.backbone.output.weight)
    together = head.generate(cond, noise=samplers.per_item([1, 2, 3]))
    assert together.shape == (3, 2, 6)
    assert 0 <= together.min() <= together.max() < 5
    for item in range(3):
        one = {"noisy_codes": cond["noisy_codes"][item : item + 1]}
        alone = head.generate(one, noise=samplers.per_item([1 + item]))
        assert torch.equal(alone[0], together[item])


def test_options_go_to_the_sampler_the_rule_and_the_schedule() -> None:
    head = head_of()
    made = head.chosen(head.sampling, {"temperature": 0.5, "randomness": 2.0, "coefficient": 0.0})
    assert made.options == {"temperature": 0.5, "randomness": 2.0}
    assert made.schedule_options == {"coefficient": 0.0}
    steps: list[Any] = []
    cond = {"noisy_codes": ids(2, 1, 8, high=5)}
    sampling = head.chosen(changed(head.sampling, steps=4), {"choose": "greedy", "coefficient": 0.0})
    with torch.no_grad():
        head.generate(cond, sampling=sampling, callback=steps.append)
    left = [int((step.tokens == head.mask).sum(dim=-1).max()) for step in steps]
    assert left == [6, 4, 2, 0]


@pytest.mark.parametrize(
    ("sampling", "options", "message"),
    [
        (Sampling("maskgit", schedule="sway"), {"temprature": 1.0}, "unexpected option 'temprature': expected choose"),
        (Sampling("maskgit", schedule="sway"), {"mask": 3}, "unexpected option 'mask'"),
        (Sampling("euler"), {}, "'euler' is none of maskgit"),
        (Sampling("maskgit", guidance=1.0), {}, "no guidance"),
    ],
)
def test_what_nobody_takes_is_refused(sampling: Sampling, options: dict[str, Any], message: str) -> None:
    head = head_of()
    with pytest.raises(ValueError, match=message):
        head.chosen(sampling, options)


def test_tokens_that_do_not_fit_are_refused() -> None:
    head = head_of()
    for wrong in (ids(2, 2, 4, high=5), torch.rand(2, 1, 4), ids(2, 4, high=5)):
        with pytest.raises(ValueError, match=r"'noisy_codes' is .*: expected int64 ids \(B, 1, T\)"):
            head.generate({"noisy_codes": wrong})
    with pytest.raises(ValueError, match="as many frames as"):
        head.loss({"codes": ids(2, 1, 5, high=5)}, {"noisy_codes": ids(2, 1, 4, high=5)})
    with pytest.raises(ValueError, match="size=0"):
        head_of(size=0)
    with pytest.raises(ValueError, match="name at least one"):
        MaskedTokenHead(Fixed(), target="codes", conditions=[], size=5)
    for numbers in ({}, {"size": 5, "channels": 4}):
        with pytest.raises(ValueError, match="need one of them"):
            Given("noisy_codes", **numbers)
    with pytest.raises(ValueError, match="numbers >= 1"):
        Given("noisy_mel", channels=0)
    two = [Given("noisy_codes", size=5), Given("noisy_mel", channels=3)]
    head = MaskedTokenHead(Fixed(), target="codes", conditions=two, size=5)
    with pytest.raises(ValueError, match="different numbers of frames: 'noisy_codes' 4, 'noisy_mel' 5"):
        head.generate({"noisy_codes": ids(2, 1, 4, high=5), "noisy_mel": torch.rand(2, 3, 5)})


def test_a_whole_method_of_it_comes_from_a_configuration(clip) -> None:
    """A codec, the masked model over its codes, and the options of `gense.enhance`."""
    mel = {"sample_rate": 16000, "n_fft": 640, "hop_length": 320, "bands": 20, "padding": "same"}
    codec = {"mel": mel, "dim": 8, "width": 16, "hidden": 16, "encoder_blocks": 1, "decoder_blocks": 1, "codes": 16,
             "levels": 2, "samples_multiple": 320}  # fmt: skip
    network = {"features": 16, "dim": 32, "depth": 1, "heads": 2, "head_dim": 16, "condition": ["noisy_codes"],
               "tokens": None}  # fmt: skip
    head = {
        "target": "codes", "size": 16, "streams": 2, "features": 16,
        "conditions": [{"read": "noisy_codes", "size": 16, "streams": 2}],
        "backbone": {"class_path": "gense.backbones.DiT", "init_args": network},
    }  # fmt: skip
    enhancer = build({
        "class_path": "gense.Enhancer",
        "init_args": {
            "sample_rate": 16000, "chunking": {"seconds": 1.0, "overlap": 0.2},
            "representations": {"codes": {"class_path": "gense.vocoders.SpectralCodec", "init_args": codec}},
            "head": {"class_path": "gense.heads.MaskedTokenHead", "init_args": head},
        },
    }).eval()  # fmt: skip
    wav = clip.noisy[:24000]
    out = gense.enhance(wav, enhancer, sample_rate=16000, steps=3, temperature=0.7)
    assert out.shape == wav.shape
    assert out.any()
    with pytest.raises(ValueError, match="unexpected option 'top_q'"):
        gense.enhance(wav, enhancer, sample_rate=16000, top_q=3)
    batch = Batch(*torch.from_numpy(wav.copy())[None, None, :6400].expand(2, 2, -1))
    loss = enhancer.loss(batch)
    assert loss.total.item() == pytest.approx(math.log(16), rel=0.3)
