"""States of the layers: against recordings, against transformers, alone and together, in threads."""

from __future__ import annotations

import copy
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from tests.parity.fixtures import load_parity
from tests.ssl.tiny import KINDS, STYLES, recorded, tiny, tiny_network, wave

pytest.importorskip("transformers", reason="transformers is not installed")

from gense.ssl import fresh_network


@pytest.mark.parametrize("name", ["wavlm_small", "wavlm_base_style_small"])
def test_every_layer_is_that_of_the_original_wavlm(name: str) -> None:
    """Largest difference from the recorded states of the original code, all of which have a scale of about 1 to 2."""
    fixture = load_parity(name)
    network = recorded(fixture)
    layers = list(range(network.layers + 1))
    with torch.no_grad():
        states = network(fixture.tensors["wav"], layers)
    for layer, state in zip(layers, states, strict=True):
        assert (state.mT - fixture.tensors[f"layer_{layer}"]).abs().max() < 1e-5
    if "final_x" in fixture.tensors:  # what lies behind the normalisation that follows the last layer is something else
        assert (states[-1].mT - fixture.tensors["final_x"]).abs().max() > 1


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
def test_states_are_read_before_the_last_normalisation(kind: str, style: str) -> None:
    """`last_hidden_state` is behind it in every version of transformers, `hidden_states[-1]` in some."""
    network, wav = tiny_network(kind, style), wave(2, 4000)
    with torch.no_grad():
        made = network.model(wav, output_hidden_states=True)
        states = network(wav, [0, 1, 2, 3])
        after = network.model.encoder.layer_norm(states[3].mT) if style == "norm first" else states[3].mT
    for layer in range(3):
        torch.testing.assert_close(states[layer].mT, made.hidden_states[layer], atol=1e-5, rtol=0)
    torch.testing.assert_close(after, made.last_hidden_state, atol=1e-5, rtol=0)


def test_nothing_behind_the_last_wanted_layer_is_computed() -> None:
    network, wav, ran = tiny_network(), wave(1, 4000), []
    for index, block in enumerate(network.model.encoder.layers, start=1):
        block.register_forward_pre_hook(lambda block, args, index=index: ran.append(index))
    with torch.no_grad():
        both = network(wav, [2, 1])
        assert ran == [1, 2]
        all_of_them = network(wav, [1, 2, 3])
    assert torch.equal(both[0], all_of_them[1])
    assert torch.equal(both[1], all_of_them[0])
    assert (both[0] - both[1]).abs().max() > 0.1


@pytest.mark.parametrize("last", [0, 1, 3])
@pytest.mark.parametrize("style", STYLES)
def test_what_is_called_unread_gets_no_gradient_and_the_rest_does(style: str, last: int) -> None:
    network = tiny_network(style=style).train()
    generator = torch.Generator().manual_seed(0)
    state = network(wave(1, 4000), [last])[0]
    (state * torch.randn(state.shape, generator=generator)).sum().backward()
    untouched = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # The bias of the keys changes all scores of a query alike, which their softmax does not see, but for rounding
    known = {name for name in untouched if name.endswith("k_proj.bias")}
    assert untouched - known == set(network.unread([last])) - known


def test_threads_that_share_a_network_see_their_own_layers() -> None:
    network, wavs = tiny_network(), [wave(1, 4000, seed=seed) for seed in range(8)]

    def read(index: int) -> torch.Tensor:
        with torch.no_grad():
            return network(wavs[index], [index % 4])[0]

    alone = [read(index) for index in range(8)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(read, range(8)))
    assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_a_copy_is_a_network_of_its_own() -> None:
    network, wav = tiny_network(), wave(1, 4000)
    twin = copy.deepcopy(network)
    torch.nn.init.zeros_(network.model.encoder.layers[0].feed_forward.output_dense.weight)
    with torch.no_grad():
        assert (network(wav, [1])[0] - twin(wav, [1])[0]).abs().max() > 0.1


def test_dropout_and_masking_are_off_unless_asked_for() -> None:
    wav = wave(1, 16000)
    for kind in KINDS:
        network = tiny_network(kind).train()
        with torch.no_grad():
            assert torch.equal(network(wav, [3])[0], network(wav, [3])[0])
    dropping = fresh_network(tiny(hidden_dropout=0.5)).train()
    with torch.no_grad():
        assert not torch.equal(dropping(wav, [3])[0], dropping(wav, [3])[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": None}, "model_type=None: expected a type of transformers"),
        ({"model_type": "wavelm"}, "'wavelm': the installed transformers has no such type"),
        ({"model_type": "bert"}, "bert has no field 'conv_dim'"),
        ({"num_hidden_layer": 3}, "no field 'num_hidden_layer'; nearest: 'num_hidden_layers'"),
        ({"conv_kernel": [10, 3]}, "wavlm cannot have these values"),
        ({"apply_spec_augment": True}, "masking is not supported"),
    ],
)
def test_impossible_configurations_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fresh_network(tiny() | change)


def test_models_without_a_convolutional_front_end_are_refused() -> None:
    with pytest.raises(ValueError, match="is of type 'bert': expected WavLM, HuBERT"):
        fresh_network({"model_type": "bert"})


def test_layers_that_are_not_there_are_refused() -> None:
    network = tiny_network()
    for layers in ([4], [1, -1]):
        with pytest.raises(ValueError, match=r"wavlm has layers 0 \(the input\) to 3"):
            network.check(layers)


def test_without_transformers_the_message_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install gense\[hub\]"):
        fresh_network(tiny())
