"""The codec of one token stream: shapes, what quantisation must do, and a codec that learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gense.representations.convolutional import Stages
from gense.representations.nearest import nearest
from gense.representations.quantiser import ResidualQuantiser
from gense.representations.simcodec import SimCodec

STAGES = Stages(rates=[4, 2], kernels=[8, 4], block_kernels=[3, 5], block_dilations=[[1, 3], [1, 2]])


def codec(**changed: Any) -> SimCodec:
    sizes = {"encoder_width": 4, "decoder_width": 4, "dim": 8, "levels": 2, "groups": 2, "codes": 16, **changed}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SimCodec(STAGES, **sizes)
        torch.nn.init.normal_(made.quantiser.codebooks, std=0.3)
    return made.eval()


def waves(samples: int, items: int = 2) -> Tensor:
    return 0.1 * torch.randn(items, samples, generator=torch.Generator().manual_seed(1))


CASES = [(80, 1, 10), (87, 1, 10), (87, 8, 11), (87, 16, 12), (3, 1, 1)]


@pytest.mark.parametrize(("samples", "multiple", "frames"), CASES)
def test_a_frame_a_hop_and_a_wave_of_the_length_asked_for(samples: int, multiple: int, frames: int) -> None:
    model = codec(samples_multiple=multiple)
    codes = model.encode(waves(samples))
    assert (codes.shape, codes.dtype) == ((2, 4, frames), torch.int64)
    assert model.codebooks == 4
    assert 0 <= codes.min() <= codes.max() < model.vocabulary == 16
    wav = model.decode(codes, samples)
    assert wav.shape == (2, samples)
    assert wav.abs().max() < 1
    covered = frames * model.hop_length
    longer = model.decode(codes, covered + 5)
    assert torch.equal(longer[:, : min(samples, covered)], wav[:, :covered])
    assert (longer[:, covered:] == 0).all()


def test_items_of_a_batch_do_not_see_each_other() -> None:
    model, wav = codec(), waves(160)
    codes = model.encode(wav)
    for item in range(2):
        assert torch.equal(model.encode(wav[item : item + 1])[0], codes[item])
        one = model.decode(codes[item : item + 1], 160)[0]
        torch.testing.assert_close(one, model.decode(codes, 160)[item], rtol=0, atol=1e-6)


def test_codes_outside_the_codebooks_are_refused() -> None:
    model = codec()
    with pytest.raises(ValueError, match=r"expected \(batch, 4, frames\)"):
        model.decode(torch.zeros(1, 3, 5, dtype=torch.int64), 40)
    for wrong in (-1, 16):
        with pytest.raises(ValueError, match="there are 0 to 15"):
            model.decode(torch.full((1, 4, 5), wrong), 40)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kernels": [8]}, "rates has 2 entries, kernels 1"),
        ({"kernels": [7, 4]}, "rate 4 with kernel 7"),
        ({"block_kernels": [3, 4]}, "odd kernel"),
        ({"block_dilations": [[1], []]}, "odd kernel"),
        ({"rates": [], "kernels": []}, "0 entries"),
    ],
)
def test_stages_without_a_whole_ratio_are_refused(changed: dict[str, Any], message: str) -> None:
    usual = {"rates": [4, 2], "kernels": [8, 4], "block_kernels": [3, 5], "block_dilations": [[1, 3], [1, 2]]}
    with pytest.raises(ValueError, match=message):
        Stages(**{**usual, **changed})


def test_sizes_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="groups a divisor of dim"):
        codec(groups=3)
    with pytest.raises(ValueError, match="samples_multiple=0"):
        codec(samples_multiple=0)


def test_the_nearest_point_is_that_of_the_definition_and_the_first_of_equals() -> None:
    g = torch.Generator().manual_seed(2)
    x, points = torch.randn(3, 50, 6, generator=g), torch.randn(20, 6, generator=g)
    assert torch.equal(nearest(x, points), torch.cdist(x.double(), points.double()).argmin(dim=-1))
    assert nearest(torch.zeros(1, 2), torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])).item() == 0


def quantiser(levels: int, groups: int) -> ResidualQuantiser:
    made = ResidualQuantiser(6, levels=levels, groups=groups, codes=32)
    g = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for level in range(levels):
            made.codebooks[level] = torch.randn(groups, 32, 6 // groups, generator=g) * 0.5**level
            made.codebooks[level, :, 0] = 0.0  # nothing to add is a choice, too
    return made


def test_every_level_brings_the_vectors_nearer() -> None:
    z = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(4))
    errors = []
    for levels in (1, 2, 3):
        q = quantiser(levels, 2)
        codes = q.encode(z)
        assert codes.shape == (2, 2 * levels, 40)
        errors.append((z - q.decode(codes)).square().sum(dim=1))
    assert (errors[1] <= errors[0] + 1e-6).all()
    assert (errors[2] <= errors[1] + 1e-6).all()
    assert errors[2].mean() < 0.5 * errors[0].mean()


def test_codes_come_level_by_level_and_group_by_group() -> None:
    q = quantiser(2, 3)
    codes = torch.randint(0, 32, (1, 6, 1), generator=torch.Generator().manual_seed(5))
    books = q.codebooks.detach()
    by_hand = [sum(books[level, group, codes[0, 3 * level + group, 0]] for level in range(2)) for group in range(3)]
    torch.testing.assert_close(q.decode(codes)[0, :, 0], torch.cat(by_hand))


def test_losses_move_codes_and_vectors_and_the_gradient_passes_straight_through() -> None:
    q = quantiser(2, 2)
    z = torch.randn(1, 6, 10, generator=torch.Generator().manual_seed(6)).requires_grad_()
    out = q(z)
    assert torch.equal(out.codes, q.encode(z))
    torch.testing.assert_close(out.data, q.decode(out.codes), rtol=0, atol=1e-6)
    (straight,) = torch.autograd.grad(out.data.sum(), z, retain_graph=True)
    assert torch.equal(straight, torch.ones_like(z))
    of_z, of_books = torch.autograd.grad(out.losses["codebook"], [z, q.codebooks], retain_graph=True, allow_unused=True)
    assert of_z is None
    used = torch.nn.functional.one_hot(out.codes.unflatten(1, (2, 2))[0], 32).sum(dim=2) > 0
    assert (of_books.abs().sum(dim=-1)[~used] == 0).all()
    assert of_books.abs().sum() > 0
    of_z, of_books = torch.autograd.grad(
        out.losses["commitment"], [z, q.codebooks], retain_graph=True, allow_unused=True
    )
    assert of_books is None
    assert of_z.abs().sum() > 0
    one_level = quantiser(1, 1)
    error = (z - one_level.decode(one_level.encode(z))).square().mean()
    losses = one_level(z).losses
    torch.testing.assert_close(losses["codebook"], error)
    torch.testing.assert_close(losses["commitment"], error)


def test_spread_is_least_when_codes_point_apart() -> None:
    q = ResidualQuantiser(8, levels=1, groups=1, codes=8)
    with torch.no_grad():
        q.codebooks.copy_(torch.ones(8, 8))
    same = q(torch.zeros(1, 8, 2)).losses["spread"]
    assert same.item() == pytest.approx(torch.log(torch.tensor(8.0)).item())
    with torch.no_grad():
        q.codebooks.copy_(4 * torch.eye(8))
    assert q(torch.zeros(1, 8, 2)).losses["spread"] < 1e-6


def test_a_codec_learns_to_reconstruct_and_a_frozen_one_has_nothing_to_train() -> None:
    assert not any(p.requires_grad for p in codec().parameters())
    model = codec(frozen=False, encoder_width=8, decoder_width=8)
    t = torch.arange(800) / 16000
    wav = torch.stack([0.4 * torch.sin(2 * torch.pi * f * t) for f in (300.0, 700.0)])
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    errors = []
    for _ in range(60):
        made = model.reconstruct(wav)
        error = (made.wav - wav).square().mean()
        optimizer.zero_grad()
        (error + 0.1 * sum(made.losses.values())).backward()
        if not errors:
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-5:]) / 5 < 0.4 * errors[0]
    torch.testing.assert_close(model.decode(model.encode(wav), 800), model.reconstruct(wav).wav, rtol=0, atol=1e-5)


def test_the_weights_of_the_quantiser_s_losses_are_those_given() -> None:
    """One of weight 0 is not there; without quantisation none is, and the decoder hears the vectors themselves."""
    model = codec(codebook_weight=2.0, commitment_weight=3.0, spread_weight=0.0)
    made = model.reconstruct(waves(160))
    plain = model.quantiser(model.vectors(waves(160))).losses
    assert set(made.losses) == {"codebook", "commitment"}
    torch.testing.assert_close(made.losses["codebook"], 2 * plain["codebook"])
    torch.testing.assert_close(made.losses["commitment"], 3 * plain["commitment"])
    plain = model.reconstruct(waves(160), quantise=False)
    assert (plain.codes, plain.losses) == (None, {})
    torch.testing.assert_close(plain.wav, model.decoder(plain.vectors))
    with pytest.raises(ValueError, match="no weight under 0"):
        codec(spread_weight=-1.0)


def test_codes_fitted_to_vectors_are_all_in_use_and_every_level_leaves_less() -> None:
    z = torch.randn(3, 6, 60, generator=torch.Generator().manual_seed(7))
    made = ResidualQuantiser(6, levels=2, groups=2, codes=16)
    made.fit(z)
    counts = torch.nn.functional.one_hot(made.encode(z), 16).sum(dim=(0, 2))
    assert (counts > 0).all()
    one = ResidualQuantiser(6, levels=1, groups=2, codes=16)
    one.fit(z)
    errors = [(z - q.decode(q.encode(z))).square().mean() for q in (one, made)]
    assert errors[1] < 0.6 * errors[0] < 0.6 * z.square().mean()
    with pytest.raises(ValueError, match="N >= clusters"):
        made.fit(z[:1, :, :10])


def test_dead_codes_move_to_vectors_and_the_others_stay() -> None:
    z = torch.randn(2, 6, 40, generator=torch.Generator().manual_seed(8))
    made = quantiser(2, 2)
    with torch.no_grad():
        made.codebooks[:, :, 5:9] = 50.0  # far from everything
    before = made.codebooks.detach().clone()
    dead = torch.zeros(4, 32, dtype=torch.bool)
    dead[:, 5:9] = True
    made.reseed(z, dead)
    moved = (made.codebooks != before).any(dim=-1).flatten(0, 1)
    assert torch.equal(moved, dead)
    first = ResidualQuantiser(6, levels=1, groups=2, codes=32)
    with torch.no_grad():
        first.codebooks.copy_(made.codebooks[:1])
    left = z - first.decode(first.encode(z))
    for level, rest in enumerate((z, left)):
        for group, points in enumerate(rest.mT.flatten(0, 1).chunk(2, dim=-1)):
            near = (made.codebooks[level, group, 5:9, None] - points).abs().amax(dim=-1)
            assert (near.amin(dim=-1) < 1e-6).all(), "each is one of what its level gets"
    counts = torch.nn.functional.one_hot(made.encode(z), 32).sum(dim=(0, 2))
    assert (counts[:2, 5:9].sum(dim=1) > 0).all()
