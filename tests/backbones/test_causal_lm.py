"""CausalLM: causality, the memory, positions, streams, and agreement with GPT-2."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gense.backbones.causal_lm import Cache, CausalLM
from gense.checkpoints.gpt2_keys import convert_gpt2

SIZE = {"vocabulary": 11, "dim": 16, "depth": 2, "heads": 4, "positions": 40}


def small(seed: int = 0, **changes: int) -> CausalLM:
    """A small model in use, with weights large enough that everything matters."""
    model = CausalLM(**{**SIZE, **changes}).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + ("norm.weight" in name))
    return model


def ids(*shape: int, high: int = 11) -> Tensor:
    return torch.randint(high, shape, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_a_token_changes_what_follows_and_nothing_before() -> None:
    model, tokens = small(), ids(2, 1, 9)
    changed = tokens.clone()
    changed[:, :, 4] = (changed[:, :, 4] + 1) % 11
    a, b = model(tokens), model(changed)
    assert a.shape == (2, 1, 9, 11)
    assert torch.equal(a[:, :, :4], b[:, :, :4])
    assert (a[:, :, 4:] - b[:, :, 4:]).abs().amax((0, 1, 3)).min() > 1e-3


@pytest.mark.parametrize("parts", [[9], [1] * 9, [5, 1, 1, 1, 1], [3, 4, 2], [1, 8]])
@pytest.mark.parametrize("streams", [1, 3])
@torch.no_grad()
def test_with_a_memory_nothing_changes(parts: list[int], streams: int) -> None:
    model, tokens = small(streams=streams), ids(2, streams, 9)
    cache = Cache(9)
    pieces = [model(piece, cache=cache) for piece in tokens.split(parts, dim=-1)]
    assert cache.length == 9
    assert (torch.cat(pieces, dim=2) - model(tokens)).abs().max() < 1e-5


@torch.no_grad()
def test_positions_are_the_callers() -> None:
    model, tokens = small(), ids(2, 1, 6)
    assert torch.equal(model(tokens), model(tokens, torch.arange(6)))
    positions = torch.tensor([0, 1, 2, 0, 1, 30])
    once = model(tokens, positions)
    assert torch.equal(once[:, :, :3], model(tokens)[:, :, :3])
    assert (once[:, :, 3:] - model(tokens)[:, :, 3:]).abs().amax((0, 1, 3)).min() > 1e-3
    each = model(tokens, torch.stack([positions, torch.arange(6)]))
    assert torch.equal(each[0], once[0])
    assert torch.allclose(each[1], model(tokens)[1], atol=1e-6)
    cache = Cache(6)
    model(tokens[..., :3], positions[:3], cache)
    assert torch.allclose(model(tokens[..., 3:], positions[3:], cache), once[:, :, 3:], atol=1e-5)


@torch.no_grad()
def test_streams_have_embeddings_of_their_own_and_add_up() -> None:
    model = small(streams=2)
    tokens = ids(1, 2, 5)
    one = CausalLM(**{**SIZE, "vocabulary": 22}).eval()
    one.load_state_dict(model.state_dict())
    expected = one.token_embedding(tokens[:, 0]) + one.token_embedding(11 + tokens[:, 1])
    fed = []
    model.blocks[0].register_forward_pre_hook(lambda module, given: fed.append(given[0]))
    logits = model(tokens)
    assert torch.allclose(fed[0], expected + one.position_embedding(torch.arange(5)), atol=1e-6)
    assert logits.shape == (1, 2, 5, 11)
    flat = model.hidden(tokens) @ model.token_embedding.weight.T
    assert torch.allclose(torch.cat([logits[:, 0], logits[:, 1]], -1), flat, atol=1e-5)
    assert not torch.allclose(model(tokens.flip(1)), logits.flip(1), atol=1e-3)


def test_every_weight_learns() -> None:
    model = CausalLM(**SIZE)
    model(ids(2, 1, 40)).square().mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())


def test_a_fresh_model_knows_nothing() -> None:
    """Its distribution is nearly uniform, whatever it reads: what is next costs log 11 = 2.4, give or take 0.3."""
    with torch.no_grad():
        logits = CausalLM(**SIZE).eval()(ids(2, 1, 40))
    cost = -logits.log_softmax(-1)[:, 0, :-1].gather(-1, ids(2, 1, 40)[:, 0, 1:, None])
    assert abs(cost.mean() - math.log(11)) < 0.3


def test_dropout_acts_in_training_alone() -> None:
    model, tokens = CausalLM(**SIZE, dropout=0.5), ids(1, 1, 8)
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    assert torch.equal(model(tokens), model(tokens))


@torch.no_grad()
def test_half_precision_and_its_memory() -> None:
    model, tokens, cache = small(), ids(1, 1, 8), Cache(8)
    with torch.autocast("cpu", torch.bfloat16):
        pieces = [model(piece, cache=cache) for piece in tokens.split([5, 1, 1, 1], dim=-1)]
    assert cache.layers[0][0].dtype == torch.bfloat16
    assert (torch.cat(pieces, 2).float() - model(tokens)).abs().max() < 0.5


def test_refusals() -> None:
    with pytest.raises(ValueError, match="heads=5"):
        CausalLM(**{**SIZE, "heads": 5})
    cache = Cache(4)
    with pytest.raises(ValueError, match="5 tokens for a cache with room for 4"), torch.no_grad():
        small()(ids(1, 1, 5), cache=cache)


@torch.no_grad()
def test_it_is_gpt2() -> None:
    """The same weights in `transformers` give the same logits to 1e-5, with positions that restart."""
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=11, n_embd=16, n_layer=2, n_head=4, n_positions=40)
    theirs = transformers.GPT2LMHeadModel(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in theirs.parameters():
        parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    ours = CausalLM(**SIZE).eval()
    ours.load_state_dict(convert_gpt2({f"lm.{name}": value for name, value in theirs.state_dict().items()}))
    tokens, positions = ids(2, 1, 9), torch.tensor([0, 1, 2, 3, 0, 1, 2, 20, 21])
    expected = theirs(input_ids=tokens[:, 0], position_ids=positions.expand(2, -1)).logits
    assert (ours(tokens, positions)[:, 0] - expected).abs().max() < 1e-5


def test_what_is_no_gpt2_is_refused() -> None:
    table = torch.zeros(3, 4)
    with pytest.raises(ValueError, match="no weight of a GPT-2"):
        convert_gpt2({"lm.transformer.wte.weight": table, "lm.transformer.h.0.gate.weight": table})
    with pytest.raises(ValueError, match="not the weights"):
        convert_gpt2({"transformer.wte.weight": table})
    with pytest.raises(ValueError, match="share its memory"):
        convert_gpt2({"lm.transformer.wte.weight": table, "lm.lm_head.weight": table + 1})
    kept = convert_gpt2({"lm.transformer.wte.weight": table, "lm.transformer.h.0.attn.bias": table, "km.x": table})
    assert list(kept) == ["token_embedding.weight"]
