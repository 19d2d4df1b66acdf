"""Vocoders by folder, files, hub repository and name: what loads is the published model, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from gense import vocoders
from gense.checkpoints import vocoder as loading
from gense.checkpoints.folder import write_state
from gense.vocoders import Vocos
from tests.parity.fixtures import load_parity
from tests.vocoders.published import configuration, state_dict, write

SMALL = {"dim": 8, "hidden": 8, "blocks": 1}


@pytest.fixture(scope="module")
def fixture():
    return load_parity("vocos_small_same_padding")


@pytest.fixture
def folder(fixture, tmp_path) -> Path:
    return write(fixture, tmp_path / "published")


def check(fixture, vocoder) -> None:
    expected = fixture.tensors["decode"]
    assert not vocoder.training
    with torch.inference_mode():
        torch.testing.assert_close(vocoder(fixture.tensors["mel"], expected.shape[-1]), expected, rtol=0, atol=2e-5)


def test_the_published_files_load_in_every_way(fixture, folder, tmp_path, monkeypatch) -> None:
    check(fixture, vocoders.load(folder))
    check(fixture, vocoders.load(str(folder / "config.yaml")))
    check(fixture, vocoders.load(folder / "pytorch_model.bin"))
    monkeypatch.setattr(loading, "from_hub", lambda repository, name: folder / name)
    check(fixture, vocoders.load("charactr/vocos-mel-24khz"))
    elsewhere = (folder / "pytorch_model.bin").rename(tmp_path / "weights.bin")
    check(fixture, vocoders.load(folder / "config.yaml", elsewhere))
    with pytest.raises(FileNotFoundError, match=r"no pytorch_model\.bin or model\.safetensors beside config\.yaml"):
        vocoders.load(folder)


def test_our_own_folder_loads(tmp_path) -> None:
    torch.manual_seed(0)
    own = Vocos(**SMALL).eval()
    config = {"class_path": "gense.vocoders.Vocos", "init_args": {**SMALL, "mel": {"floor": 1e-5}}}
    (tmp_path / "vocoder.yaml").write_text(yaml.safe_dump(config))
    write_state(own.state_dict(), tmp_path / "model.safetensors")
    loaded = vocoders.load(tmp_path)
    assert loaded.mel.floor == 1e-5
    mel = torch.randn(1, 100, 4)
    assert torch.equal(loaded(mel, 1000), own(mel, 1000))
    with pytest.raises(ValueError, match="it says itself on which mel spectrogram"):
        vocoders.load(tmp_path, mel={"bands": 80})
    config["class_path"] = "torch.nn.Linear"
    (tmp_path / "vocoder.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ValueError, match=r"'torch\.nn\.Linear' lies outside gense and was not imported"):
        vocoders.load(tmp_path)


def test_missing_and_extra_weights_are_named_as_they_are_published(fixture, folder) -> None:
    state = state_dict(fixture)
    state["backbone.convnext.2.gamma"] = state.pop("backbone.convnext.1.gamma")
    torch.save(state, folder / "pytorch_model.bin")
    said = r"1 missing \(backbone\.convnext\.1\.gamma\); 1 extra \(backbone\.convnext\.2\.gamma\)"
    with pytest.raises(ValueError, match=said):
        vocoders.load(folder)
    state = state_dict(fixture)
    state["head.out.bias"] = torch.zeros(3)
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"out\.bias is \(3,\), expected \(1026,\)"):
        vocoders.load(folder)


def changed(fixture, part: str, **settings) -> dict:
    config = {name: dict(node) for name, node in configuration(fixture).items()}
    node = config[part]
    if "class_path" in settings:
        node["class_path"] = settings.pop("class_path")
    node["init_args"] = {k: v for k, v in {**node["init_args"], **settings}.items() if v != "remove"}
    return config


@pytest.mark.parametrize(
    ("part", "settings", "said"),
    [
        ("backbone", {"adanorm_num_embeddings": 4}, "the variant for EnCodec tokens, is not supported"),
        ("backbone", {"class_path": "vocos.models.VocosResNetBackbone"}, "'vocos.models.VocosResNetBackbone' is not"),
        ("head", {"class_path": "os.system"}, "head: 'os.system' is not supported, only 'vocos.heads.ISTFTHead'"),
        ("feature_extractor", {"class_path": "vocos.feature_extractors.EncodecFeatures"}, "EncodecFeatures' is not"),
        ("feature_extractor", {"mels": 80}, "feature_extractor: unknown settings mels"),
        ("backbone", {"dim": 48}, "backbone and head differ: dim 48 and 64"),
        ("backbone", {"num_layers": "remove"}, "backbone: lacks num_layers"),
        ("head", {"padding": "center"}, "padding center and same"),
    ],
)
def test_a_foreign_or_wrong_configuration_is_refused(fixture, folder, part: str, settings: dict, said: str) -> None:
    (folder / "config.yaml").write_text(yaml.safe_dump(changed(fixture, part, **settings)))
    with pytest.raises(ValueError, match=said.replace("(", r"\(")) as raised:
        vocoders.load(folder)
    assert str(raised.value).startswith(str(folder / "config.yaml"))


class Hostile:
    def __reduce__(self):
        return (eval, ("open('/tmp/never','w')",))


def test_code_in_the_weights_is_refused(folder) -> None:
    torch.save({"backbone.embed.weight": Hostile()}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="nothing was executed"):
        vocoders.load(folder)


def test_what_is_no_vocoder_is_refused(tmp_path, monkeypatch) -> None:
    said = r"no vocoder\.yaml, config\.yaml, config\.json or Vocoder_Dual\.tar in this folder"
    with pytest.raises(FileNotFoundError, match=said):
        vocoders.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither a bundled vocoder nor a hub repository"):
        vocoders.load("vocoz")
    (tmp_path / "config.yaml").write_text("{")
    with pytest.raises(ValueError, match="not readable as YAML"):
        vocoders.load(tmp_path / "config.yaml", tmp_path / "none.bin")
    (tmp_path / "config.yaml").write_text("a: 1")
    with pytest.raises(ValueError, match=r"no feature_extractor with class_path and init_args"):
        vocoders.load(tmp_path / "config.yaml", tmp_path / "none.bin")

    def offline(repository: str, name: str) -> Path:
        raise OSError(f"{name} could not be fetched from {repository}")

    monkeypatch.setattr(loading, "from_hub", offline)
    with pytest.raises(OSError, match=r"config\.yaml could not be fetched from owner/name"):
        vocoders.load("owner/name")
