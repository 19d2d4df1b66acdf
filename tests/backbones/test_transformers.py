"""The transformers on feature frames: shapes, conditions, what is computed once, and their layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gense.backbones import Backbone, DiT, MMDiT, UNetT
from gense.backbones.layers.convnext import ResponseNorm
from gense.backbones.layers.rotary import rotary_table, rotate
from gense.backbones.layers.text_embedding import TextEmbedding, place
from gense.heads import PathHead
from gense.processes import LinearFlow

SMALL = {"features": 6, "dim": 16, "depth": 2, "heads": 2, "head_dim": 8, "vocabulary": 5}
WITH_TEXT = {"text_dim": 4, "text_blocks": 1}
BATCH, FRAMES = 2, 12


def small(kind: type, **settings) -> Backbone:
    torch.manual_seed(0)
    net = kind(**{**SMALL, **({} if kind is MMDiT else WITH_TEXT), **settings})
    for parameter in net.parameters():
        if parameter.ndim > 1 and not parameter.any():  # some layers start at zero
            nn.init.normal_(parameter, std=0.2)
    return net.eval()


def draw(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def inputs() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    text = torch.tensor([[0, 4, 2], [3, -1, -1]])
    return draw(BATCH, 6, FRAMES), torch.tensor([0.2, 0.7]), {"noisy_mel": draw(BATCH, 6, FRAMES, seed=2), "text": text}


kinds = pytest.mark.parametrize("kind", [DiT, UNetT, MMDiT])


@kinds
def test_output_is_shaped_like_the_state_and_everything_matters(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    out = net(x, t, cond)
    assert out.shape == x.shape
    others = [
        net(2 * x, t, cond), net(x, t / 2, cond), net(x, t, cond | {"noisy_mel": 2 * cond["noisy_mel"]}),
        net(x, t, cond | {"text": cond["text"].flip(1)}), net(x, t, {"text": cond["text"]}),
        net(x, t, {"noisy_mel": cond["noisy_mel"]}),
    ]  # fmt: skip
    for other in others:
        assert not torch.allclose(out, other, rtol=1e-3)


@kinds
def test_a_missing_condition_is_zeros_and_padding(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    null = {"noisy_mel": torch.zeros_like(x), "text": torch.full((BATCH, FRAMES), -1)}
    torch.testing.assert_close(net(x, t, {}), net(x, t, null))
    only = {"text": cond["text"]}
    torch.testing.assert_close(net(x, t, only), net(x, t, only | {"noisy_mel": null["noisy_mel"]}))


@kinds
def test_what_is_computed_once_changes_nothing(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    prepared = net.prepare(torch.zeros_like(x), cond)
    for state, time in ((x, t), (2 * x, t / 2)):
        assert torch.equal(net(state, time, prepared), net(state, time, cond))


@kinds
def test_items_do_not_depend_on_their_batch(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    both = net(x, t, cond)
    for item in range(BATCH):
        alone = net(x[item, None], t[item, None], {name: value[item, None] for name, value in cond.items()})
        torch.testing.assert_close(both[item, None], alone)


@kinds
def test_wrong_calls(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    with pytest.raises(ValueError, match=r"got condition noisy_stft; this network reads noisy_mel, text"):
        net(x, t, cond | {"noisy_stft": x})
    with pytest.raises(ValueError, match=r"t is None: this transformer needs the time"):
        net(x, None, cond)


@kinds
def test_gradients_reach_every_parameter(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    net.train()
    for layer in net.modules():
        if isinstance(layer, ResponseNorm):
            nn.init.ones_(layer.gain)
    net(x, t, cond).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None or not p.grad.any()] == []


@kinds
def test_the_reduced_precision_of_autocast_is_close(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    with torch.inference_mode():
        exact = net(x, t, cond)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = net(x, t, cond)
            assert torch.equal(net(x, t, net.prepare(x, cond)), rounded)
    assert rounded.dtype == torch.bfloat16
    torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.1)
    assert not torch.equal(rounded.float(), exact)


@kinds
def test_training_lowers_the_loss(kind, inputs) -> None:
    torch.manual_seed(0)
    net = kind(**SMALL, **({} if kind is MMDiT else WITH_TEXT))
    _, t, cond = inputs
    head = PathHead(
        net, LinearFlow(), target="mel", predicts="velocity", anchor=None, condition=["noisy_mel", "text"], t_eps=0.0
    )
    data, noise = draw(BATCH, 6, FRAMES, seed=3), draw(BATCH, 6, FRAMES, seed=4)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        loss = head.loss_at(data, cond, t, noise).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("kind", [DiT, MMDiT])
def test_diffusion_transformers_start_at_zero(kind, inputs) -> None:
    x, t, cond = inputs
    net = kind(**SMALL, **({} if kind is MMDiT else WITH_TEXT))
    assert not net(x, t, cond).any()


@pytest.mark.parametrize("kind", [DiT, UNetT])
def test_tokens_beyond_the_last_frame_are_not_seen(kind, inputs) -> None:
    net, (x, t, cond) = small(kind), inputs
    long = torch.randint(5, (BATCH, FRAMES + 4), generator=torch.Generator().manual_seed(0))
    out = net(x, t, cond | {"text": long})
    assert torch.equal(net(x, t, cond | {"text": long[:, :FRAMES]}), out)
    assert not torch.allclose(net(x, t, cond | {"text": long[:, : FRAMES - 1]}), out, rtol=1e-3)


@pytest.mark.parametrize("kind", [DiT, UNetT])
def test_conditions_are_chosen_by_name(kind, inputs) -> None:
    """Without tokens, with several conditions, and with none at all."""
    x, t, cond = inputs
    pair = {"noisy_mel": cond["noisy_mel"], "prompt": draw(BATCH, 6, FRAMES, seed=5)}
    net = small(kind, condition=["noisy_mel", "prompt"], tokens=None)
    out = net(x, t, pair)
    assert torch.equal(net(x, t, dict(reversed(pair.items()))), out)
    assert not torch.allclose(net(x, t, {"noisy_mel": pair["prompt"], "prompt": pair["noisy_mel"]}), out, rtol=1e-3)
    with pytest.raises(ValueError, match="got condition text"):
        net(x, t, cond)
    assert small(kind, condition=[], tokens=None)(x, t, {}).shape == x.shape


def test_skip_connections() -> None:
    with pytest.raises(ValueError, match="depth=3: need an even number"):
        UNetT(**SMALL | {"depth": 3})
    with pytest.raises(ValueError, match="skip='sum': expected concat, add or none"):
        UNetT(**SMALL, skip="sum")  # type: ignore[arg-type]
    x, t = draw(1, 6, FRAMES), torch.tensor([0.5])
    outs = [small(UNetT, skip=skip)(x, t, {}) for skip in ("add", "none")]
    assert not torch.allclose(*outs, rtol=1e-3)


def test_attention_with_rotary_positions_sees_distances() -> None:
    """Turning query and key leaves a product that depends on the difference of their positions alone."""
    query, key = (draw(1, 2, 1, 8, seed=seed).expand(1, 2, 20, 8) for seed in (1, 2))
    table = rotary_table(20, 8)
    products = rotate(query, table) @ rotate(key, table).mT
    for offset in (-3, 0, 5):
        along = products.diagonal(offset, dim1=-2, dim2=-1)
        torch.testing.assert_close(along, along[..., :1].expand_as(along))
    assert not torch.allclose(products[..., 0, 0], products[..., 0, 1])


def test_heads_beyond_the_rotary_ones_are_left_alone() -> None:
    x, table = draw(2, 3, 5, 8), rotary_table(5, 8)
    turned, some = rotate(x, table), rotate(x, table, 2)
    assert torch.equal(some[:, :2], turned[:, :2])
    assert torch.equal(some[:, 2:], x[:, 2:])
    assert torch.equal(rotate(x, table, 3), turned)
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1))


def test_response_norm_by_its_formula() -> None:
    x, norm = draw(2, 7, 3), ResponseNorm(3)
    assert torch.equal(norm(x), x)
    nn.init.constant_(norm.gain, 0.5)
    nn.init.constant_(norm.bias, 0.25)
    energy = (x**2).sum(1, keepdim=True).sqrt()
    expected = x + 0.5 * x * energy / energy.mean(-1, keepdim=True) + 0.25
    torch.testing.assert_close(norm(x), expected, rtol=1e-5, atol=1e-5)


def test_tokens_are_laid_along_the_frames() -> None:
    ids = torch.tensor([[3, 4], [2, -1]])
    assert place(ids, draw(2, 6, 4)).tolist() == [[3, 4, -1, -1], [2, -1, -1, -1]]
    assert place(ids, draw(2, 6, 1)).tolist() == [[3], [2]]
    assert place(ids[:, :0], draw(2, 6, 1)).tolist() == [[-1], [-1]]
    assert place(None, draw(2, 6, 1)).tolist() == [[-1], [-1]]


def test_tokens_beyond_the_last_position_share_it() -> None:
    embedding = TextEmbedding(1, 6, blocks=0, positions=4)
    rows = embedding(torch.zeros(1, 6, dtype=torch.int64))[0]
    assert torch.equal(rows[3:], rows[3].expand(3, 6))
    assert not torch.allclose(rows[2], rows[3])
