"""The chains that end in the compact token methods, rehearsed at tiny sizes: speech model, codec, features, models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gense
from gense.checkpoints.build import read_config
from gense.checkpoints.folder import WEIGHTS, read_state, write_folder
from gense.ssl import load_network
from gense.types import Batch
from tests.training.test_token_recipes import CONFIGS, folder, recipe, rehearse, tiny_method
from tests.training.test_vocoder_fit import JUDGES

__all__ = ["folder"]

TRUNK = {
    "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8] * 7,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
}  # fmt: skip
VOCODER = {"channels": 16, "dim": 32, "hidden": 32, "blocks": 1}
CODEC = {"width": 16, "hidden": 16, "encoder_blocks": 1, "decoder_blocks": 1, "codes": 8, "levels": 2, "dim": 8}


def hubert(name: str) -> dict[str, Any]:
    """The speech model of a shipped method, made small."""
    def find(part: Any) -> dict[str, Any] | None:
        if isinstance(part, dict):
            if "model_type" in part:
                return part
            part = list(part.values())
        return next((found for item in part if (found := find(item))), None) if isinstance(part, list) else None

    found = find(yaml.safe_load((CONFIGS / name).read_text()))
    assert found is not None
    return {**found, **TRUNK}


@pytest.fixture(scope="module")
def speech_model(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = recipe("ssl-compact", folder, steps=2, seconds=0.64)
    config["trainer"]["logger"] = True
    settings = config["model"]["init_args"]
    settings["encoder"]["init_args"]["model"].update(TRUNK)
    settings["targets"]["init_args"]["clusters"] = 4
    settings["fit_batches"] = 2
    root = tmp_path_factory.mktemp("speech-model")
    rehearse(config, root)
    (config_file,) = root.rglob("model/config.json")
    return config_file.parent


def test_all_of_them_name_one_speech_model() -> None:
    whole = hubert("train/ssl-compact.yaml")
    assert hubert("method/pase-compact.yaml") == whole
    assert {**hubert("method/gense-compact.yaml"), "num_hidden_layers": 4} == whole, "it reads the second layer alone"


def test_pase_begins_from_the_speech_model_and_its_vocoder_hears_what_it_makes(
    folder: Path, speech_model: Path, tmp_path: Path, clip: Any
) -> None:
    config = recipe("pase-compact", folder, steps=2)
    config["model"].update(
        warmup_steps=1, speech_models={"head.backbone": str(speech_model)},
        enhancer=tiny_method(
            "pase-compact",
            {
                "representations.ssl": {"model": str(speech_model)},
                "head.backbone": {"model": hubert("method/pase-compact.yaml")},
                "vocoder": VOCODER,
            },
            tmp_path,
        ),
    )  # fmt: skip
    method = rehearse(config, tmp_path / "method")
    with pytest.raises(ValueError, match="pass trust=True"):
        gense.load(method, device="cpu")
    enhancer = gense.load(method, device="cpu", trust=True)
    given = load_network(str(speech_model)).state_dict()
    own = enhancer.head.backbone.network.state_dict()
    name = "model.encoder.layers.0.attention.q_proj.weight"
    assert 0 < float((own[name] - given[name]).norm()) < 0.1 * float(given[name].norm())
    config = recipe("pase-compact-vocoder", folder, steps=4)
    settings = config["model"]["init_args"]
    settings["vocoder"]["init_args"].update(VOCODER)
    settings["discriminators"]["init_args"].update(JUDGES)
    settings["features"]["init_args"].update(method=str(method), trust=True)
    settings.update(metrics=[], warmup_steps=1, adversarial_from=2)
    vocoder = gense.vocoders.load(rehearse(config, tmp_path / "vocoder"))
    enhancer.vocoder = vocoder
    out = gense.enhance(clip.noisy[:8000], enhancer, sample_rate=16000)
    assert out.shape == (8000,)
    assert out.any()


def test_gense_learns_on_the_codes_and_clusters_of_what_was_trained_before(
    folder: Path, speech_model: Path, tmp_path: Path, clip: Any
) -> None:
    shipped = read_config(CONFIGS / "method/gense-compact.yaml")["init_args"]["representations"]["codes"]
    assert shipped == read_config(CONFIGS / "codec/spectral-compact.yaml"), "the codec that codec-compact.yaml trains"
    config = recipe("codec-compact", folder, steps=4)
    settings = config["model"]["init_args"]
    settings["codec"] = {**shipped, "init_args": {**shipped["init_args"], **CODEC}}
    settings["discriminators"]["init_args"].update(JUDGES)
    settings.update(metrics=[], warmup_steps=1, adversarial_from=2)
    settings["guard"]["plain_batches"] = 1
    codec = rehearse(config, tmp_path / "codec")
    config = recipe("gense-compact", folder, steps=2, seconds=0.64)
    network = {"features": 16, "dim": 16, "depth": 1, "heads": 2, "head_dim": 8}
    config["model"].update(
        warmup_steps=1, codecs={"codes": str(codec)},
        speech_models={"representations.semantic.features": str(speech_model)},
        enhancer=tiny_method(
            "gense-compact",
            {
                "representations.semantic": {"clusters": 8, "dim": 16},
                "representations.semantic.features": {"model": hubert("method/gense-compact.yaml")},
                "representations.codes": CODEC,
                "head.stages.semantic": {"size": 8, "features": 16},
                "head.stages.semantic.backbone": network,
                "head.stages.acoustic": {
                    "size": 8, "streams": 2, "features": 16,
                    "conditions": [{"read": "semantic", "size": 8}, {"read": "noisy_mel", "channels": 80}],
                },
                "head.stages.acoustic.backbone": network,
            },
            tmp_path,
        ),
    )  # fmt: skip
    method = rehearse(config, tmp_path / "method")
    enhancer = gense.load(method, device="cpu")
    given = load_network(str(speech_model)).state_dict()
    own = enhancer.representations["semantic"].features.network.state_dict()
    left = {name for name in given if "encoder.layers.2." in name or "encoder.layers.3." in name}
    assert left
    torch.testing.assert_close(own, {name: value for name, value in given.items() if name not in left})
    out = gense.enhance(clip.noisy[:8000], enhancer, sample_rate=16000)
    assert out.shape == (8000,)
    torch.testing.assert_close(out, gense.enhance(clip.noisy[:8000], enhancer, sample_rate=16000))

    config = read_config(method / "method.yaml")
    del config["init_args"]["representations"]["semantic"]
    kept = {k: v for k, v in read_state(method / WEIGHTS).items() if not k.startswith("representations.semantic.")}
    (tmp_path / "small").mkdir()
    small = gense.load(write_folder(tmp_path / "small", config, kept), device="cpu")
    torch.testing.assert_close(out, gense.enhance(clip.noisy[:8000], small, sample_rate=16000))
    with pytest.raises(ValueError, match="no representation 'semantic': build the method from its YAML"):
        small.loss(Batch(torch.rand(1, 6400), torch.rand(1, 6400)))
