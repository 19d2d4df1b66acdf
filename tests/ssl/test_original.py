"""Checkpoints of the original code: settings, names, files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers", reason="transformers is not installed")

from gense.ssl import (
    config_of_original,
    fresh_network,
    load_network,
    own_network,
    read_original,
    state_of_original,
)
from gense.ssl.original import original_names
from tests.metrics.tiny_speech import save_trunk
from tests.parity.fixtures import load_parity
from tests.ssl.tiny import KINDS, STYLES, tiny, wave


@pytest.fixture
def checkpoint() -> dict:
    """A checkpoint as the original code writes it, base style, which is the smaller."""
    fixture = load_parity("wavlm_base_style_small")
    return {"cfg": fixture.config["original_cfg"], "model": fixture.weights()}


@pytest.mark.parametrize("name", ["wavlm_small", "wavlm_base_style_small"])
def test_settings_and_names_are_the_verified_ones(name: str) -> None:
    fixture = load_parity(name)
    config = config_of_original(fixture.config["original_cfg"])
    known = {key: value for key, value in fixture.config["hf_config"].items() if key in config}
    assert len(known) >= 16
    assert {key: config[key] for key in known} == known
    verified = json.loads((fixture.folder / "key_map.json").read_text())
    assert verified.pop("mask_emb") == "masked_spec_embed"  # of pre-training alone, left out
    assert dict(original_names(config)) == verified


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("biased", [False, True])
def test_names_cover_every_weight_of_each_kind(kind: str, style: str, biased: bool) -> None:
    config = tiny(kind, style, conv_bias=biased, num_feat_extract_layers=7)
    weights = fresh_network(config).model.state_dict()
    published = {old: weights[new] for old, new in original_names(config)}
    extra = {"final_proj.weight": torch.zeros(1), "quantizer.vars": torch.zeros(1)}
    assert state_of_original({**published, **extra}, config).keys() == weights.keys()


def test_missing_and_unknown_weights_are_told(checkpoint: dict) -> None:
    config = config_of_original(checkpoint["cfg"])
    state = checkpoint["model"]
    state["encoder.layers.7.fc1.bias"] = state.pop("encoder.layers.1.fc1.bias")
    del state["layer_norm.weight"]
    with pytest.raises(ValueError, match=r"wavlm: 2 missing \(encoder.layers.1.fc1.bias, layer_norm.weight\); 1 unkn"):
        state_of_original(state, config)


def test_a_file_gives_the_recorded_states_and_is_loaded_once(checkpoint: dict, tmp_path: Path) -> None:
    fixture, path = load_parity("wavlm_base_style_small"), str(tmp_path / "WavLM.pt")
    torch.save(checkpoint, path)
    network = load_network(path)
    assert load_network(path) is network
    assert not any(parameter.requires_grad for parameter in network.parameters())
    with torch.no_grad():
        assert (network(fixture.tensors["wav"], [3])[0].mT - fixture.tensors["layer_3"]).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv_feature_layers": "__import__('os').getcwd()"}, r"expected \[\(channels, kernel, stride\)\]"),
        ({"conv_feature_layers": "[(24,10)]"}, r"expected \[\(channels, kernel, stride\)\]"),
        ({"extractor_mode": "batch"}, "extractor_mode='batch': expected 'layer_norm'"),
        ({"gru_rel_pos": False}, "gru_rel_pos=False"),
        ({"max_distance": None}, "cfg lacks max_distance"),
    ],
)
def test_settings_that_nobody_published_are_refused(checkpoint: dict, change: dict, message: str) -> None:
    cfg = {key: value for key, value in {**checkpoint["cfg"], **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        config_of_original(cfg)


def test_other_files_are_refused(checkpoint: dict, tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"model": checkpoint["model"]}, path)
    with pytest.raises(ValueError, match="a dict with 'cfg' and 'model'"):
        read_original(path)
    torch.save({**checkpoint, "args": Path("x")}, path)
    with pytest.raises(ValueError, match="more than tensors and settings"):
        read_original(path)
    path.write_text("nothing")
    with pytest.raises(ValueError, match="no checkpoint"):
        read_original(path)
    del checkpoint["model"]["encoder.layer_norm.bias"]
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"other.pt: .* 1 missing \(encoder.layer_norm.bias\)"):
        read_original(path)
    checkpoint["model"]["encoder.layer_norm.bias"] = torch.zeros(7)
    torch.save(checkpoint, path)
    with pytest.raises(ValueError, match=r"size mismatch for encoder\.layer_norm\.bias"):
        read_original(path)


def test_a_network_of_ones_own_begins_with_the_published_weights(tmp_path: Path) -> None:
    folder = str(save_trunk(tmp_path / "trunk"))
    shared, own = load_network(folder), own_network(folder).train()
    wav = wave(1, 16000)
    with torch.no_grad():
        before = shared(wav, [3])[0]
        assert torch.equal(own(wav, [3])[0], before)  # in training, too: no dropout, no masking
        for parameter in own.parameters():
            parameter.mul_(0.5)
        assert torch.equal(load_network(folder)(wav, [3])[0], before)
    assert all(parameter.requires_grad for parameter in own.parameters())
