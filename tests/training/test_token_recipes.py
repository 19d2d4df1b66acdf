"""The shipped trainings of token methods and of speech models, rehearsed: all of their YAML, at tiny sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
import yaml

pytest.importorskip("lightning", reason="needs gense[train]")
pytest.importorskip("transformers", reason="needs gense[hub]")

import gense
from gense import vocoders
from gense.checkpoints.build import read_config
from gense.checkpoints.codec import load_codec
from gense.checkpoints.folder import write_folder
from gense.cli import main
from gense.ssl import PUBLISHED, load_network
from gense.training import EnhancerModule, FitCentres
from tests.metrics.tiny_speech import TRUNK, save_trunk
from tests.representations.codecs import ENCODEC
from tests.training.test_vocoder_fit import JUDGES

CONFIGS = Path(gense.__file__).parent / "configs"
WAVLM = {"model_type": "wavlm", **TRUNK, "do_stable_layer_norm": True, "feat_extract_norm": "layer"}
VOCODER = {"channels": 16, "dim": 32, "hidden": 32, "blocks": 1}
LM = {"dim": 16, "depth": 1, "heads": 2, "positions": 1200}
CODEC = {
    "stages": {"rates": [20, 8], "kernels": [20, 8], "block_kernels": [3], "block_dilations": [[1]]},
    "encoder_width": 4, "decoder_width": 4, "dim": 8, "levels": 1, "groups": 1, "codes": 16, "samples_multiple": 320,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    root, rate = tmp_path_factory.mktemp("recipes"), clip.sample_rate
    files = {
        "speech/a.wav": clip.clean[: 3 * rate], "noise/n.wav": (clip.noisy - clip.clean)[: 2 * rate],
        "rir/r.wav": torch.tensor([0.0, 1.0, 0.0, 0.3]).numpy(),
        "pairs/clean/0.wav": clip.clean[rate : rate + 8000], "pairs/noisy/0.wav": clip.noisy[rate : rate + 8000],
    }
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    return root


@pytest.fixture(scope="module", autouse=True)
def published(tmp_path_factory) -> Iterator[None]:
    """Tiny models in place of the published ones, under the names that the YAML gives them."""
    with pytest.MonkeyPatch.context() as patch:
        load_network.cache_clear()
        trunk = str(save_trunk(tmp_path_factory.mktemp("hub")))
        patch.setitem(PUBLISHED, "wavlm-large", trunk)
        patch.setitem(PUBLISHED, "xls-r-300m", trunk)
        yield
        load_network.cache_clear()


def recipe(name: str, folder: Path, *, steps: int, seconds: float = 0.4) -> dict[str, Any]:
    """A shipped training with data from a folder and a few steps."""
    path = CONFIGS / "train" / f"{name}.yaml"
    config = yaml.safe_load(path.read_text())
    if isinstance(config["data"], str):
        config["data"] = yaml.safe_load((path.parent / config["data"]).read_text())
    config["data"].update(
        speech=[str(folder / "speech")], manifest=None, validation=str(folder / "pairs"), seconds=seconds, batch_size=2,
        epoch_size=2 * steps, num_workers=0,
    )
    for degradation in config["data"]["degradations"]:
        settings, rooms = degradation["init_args"], "Reverb" in degradation["class_path"]
        for key, part in (("babble", "speech"), ("folders", "rir" if rooms else "noise")):
            if key in settings:
                settings[key] = [str(folder / part)]
    config["trainer"].update(
        max_steps=steps, precision="32-true", num_sanity_val_steps=0, enable_progress_bar=False, logger=False,
        enable_model_summary=False, enable_checkpointing=False,
    )
    return config


def rehearse(config: dict[str, Any], out: Path) -> Path:
    """Train, and return the folder that the run leaves."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "train.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert main(["fit", "--config", str(out / "train.yaml"), f"--trainer.default_root_dir={out}"]) == 0
    return out / "model"


def tiny_method(name: str, change: dict[str, dict[str, Any]], folder: Path) -> str:
    """A shipped method, some `init_args` of which are changed; the path of its YAML."""
    config = yaml.safe_load((CONFIGS / "method" / f"{name}.yaml").read_text())
    for path, settings in change.items():
        part = config
        for key in path.split("."):
            part = part["init_args"] if key == "" else part[key] if key in part else part["init_args"][key]
        part["init_args"].update(settings)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    return str(folder / f"{name}.yaml")


def pase_vocoder(name: str, folder: Path, **changed: Any) -> dict[str, Any]:
    config = recipe(name, folder, steps=4)
    settings = config["model"]["init_args"]
    settings["vocoder"]["init_args"].update(VOCODER)
    settings["discriminators"]["init_args"].update(JUDGES)
    settings.update(metrics=[], warmup_steps=1, **changed)
    return config


@pytest.fixture(scope="module")
def first(folder, tmp_path_factory) -> Path:
    config = pase_vocoder("pase-vocoder", folder)
    config["model"]["init_args"]["features"]["init_args"]["layers"] = 3
    return rehearse(config, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(folder, tmp_path_factory) -> Path:
    config = recipe("pase-distil", folder, steps=2)
    config["model"]["warmup_steps"] = 1
    config["model"]["enhancer"] = tiny_method(
        "pase",
        {
            "representations.ssl": {"layers": [1, 3]},
            "head.backbone": {"model": WAVLM, "layers": [1, 3]},
            "vocoder": VOCODER,
        },
        folder,
    )  # fmt: skip
    return rehearse(config, tmp_path_factory.mktemp("second"))


def test_the_speech_model_begins_from_the_published_one_and_is_saved_whole(second) -> None:
    """Its configuration stays one of sizes: what was trained loads without the published weights."""
    enhancer = gense.load(second, device="cpu")
    given, own = load_network("wavlm-large").state_dict(), enhancer.head.backbone.network.state_dict()
    assert given.keys() == own.keys()
    moved = {name: float((own[name] - value).norm() / value.norm().clamp(min=1e-6)) for name, value in given.items()}
    assert max(moved.values()) > 0
    assert moved["model.encoder.layers.0.attention.q_proj.weight"] < 0.1, "two steps from the published weights"
    assert read_config(second / "method.yaml")["init_args"]["head"]["init_args"]["backbone"]["init_args"]["model"][
        "hidden_size"
    ] == 16


def test_the_third_stage_goes_on_from_both_and_the_finished_method_runs(folder, first, second, tmp_path, clip) -> None:
    config = pase_vocoder("pase-dual", folder, initial=str(first))
    config["model"]["init_args"]["features"]["init_args"]["method"] = str(second)
    vocoder = vocoders.load(rehearse(config, tmp_path))
    before = vocoders.load(first).out.weight
    assert 0 < (vocoder.out.weight - before).norm() < 0.1 * before.norm()
    assert vocoder.streams == 2
    model = gense.load(second, device="cpu")
    model.vocoder = vocoder
    done = write_folder(tmp_path / "done", read_config(second / "method.yaml"), model.state_dict())
    out = gense.enhance(clip.noisy[:8000], gense.load(done, device="cpu"), sample_rate=16000)
    assert out.shape == (8000,)
    assert out.any()


def test_a_vocoder_does_not_begin_from_one_of_which_nothing_fits(folder, tmp_path, capsys) -> None:
    config = pase_vocoder("pase-vocoder", folder, initial="vocos-compact")
    config["model"]["init_args"]["features"]["init_args"]["layers"] = 3
    config["model"]["init_args"]["vocoder"]["init_args"].update(dim=32, n_fft=640)
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    assert main(["fit", "--config", str(tmp_path / "train.yaml")]) == 1
    assert "nothing of vocos-compact fits vocoder" in capsys.readouterr().err


@pytest.fixture(scope="module")
def codec(folder, tmp_path_factory) -> Path:
    config = recipe("gense-codec", folder, steps=4)
    settings = config["model"]["init_args"]
    method = yaml.safe_load((CONFIGS / "method/gense.yaml").read_text())
    assert settings["codec"] == method["init_args"]["representations"]["codes"], "the codec of the method"
    settings["codec"]["init_args"] = CODEC
    settings["discriminators"]["init_args"].update(JUDGES)
    settings.update(metrics=[], warmup_steps=1, adversarial_from=2)
    settings["guard"]["plain_batches"] = 1
    return rehearse(config, tmp_path_factory.mktemp("codec"))


def test_language_models_are_trained_on_the_codes_of_the_trained_codec(folder, codec, tmp_path, clip) -> None:
    """The semantic centres come from the training's own speech, and all parts are in what is saved."""
    config = recipe("gense-lm", folder, steps=2)
    config["data"].pop("validation_limit")
    config["model"].update(warmup_steps=1, metrics=[], codecs={"codes": str(codec)})
    acoustic = {"size": 16, "offset": 11}
    config["model"]["enhancer"] = tiny_method(
        "gense",
        {
            "representations.semantic": {"clusters": 8, "dim": 16},
            "representations.semantic.features": {"layers": 2},
            "representations.codes": CODEC,
            "head.stages.semantic": {"size": 8},
            "head.stages.semantic.lm": {**LM, "vocabulary": 11},
            "head.stages.acoustic": acoustic,
            "head.stages.acoustic.lm": {**LM, "vocabulary": 27},
        },
        folder,
    )  # fmt: skip
    method = yaml.safe_load(Path(config["model"]["enhancer"]).read_text())
    method["init_args"]["head"]["init_args"]["stages"]["acoustic"]["init_args"]["prompt"][3]["offset"] = 11
    Path(config["model"]["enhancer"]).write_text(yaml.safe_dump(method, sort_keys=False))
    enhancer = gense.load(rehearse(config, tmp_path), device="cpu")
    centres = enhancer.representations["semantic"].centres
    assert torch.isfinite(centres).all()
    assert len(torch.unique(centres, dim=0)) == 8
    wav = torch.from_numpy(clip.noisy[16000:22400].copy())[None]
    assert torch.equal(enhancer.representations["codes"].encode(wav), load_codec(codec).encode(wav))
    assert enhancer.enhance(wav).shape == (1, 6400)


def test_centres_that_are_there_stay(folder, monkeypatch) -> None:
    from tests.tiny import tiny_flow

    enhancer = tiny_flow()
    module = EnhancerModule(enhancer)
    FitCentres().on_fit_start(None, module)  # nothing to fit: no data is asked for
    with pytest.raises(ValueError, match="batches=0"):
        FitCentres(batches=0)


def test_a_language_model_over_the_tokens_of_a_published_codec(folder, tmp_path) -> None:
    config = recipe("codec-lm", folder, steps=2)
    config["data"].pop("validation_limit")
    config["model"].update(warmup_steps=1, metrics=[])
    config["model"]["enhancer"] = tiny_method(
        "codec-lm",
        {
            "representations.codec": {"codec": ENCODEC, "codebooks": 2},
            "head": {"size": 32},
            "head.lm": {"vocabulary": 34, "streams": 2, "dim": 16, "depth": 1, "heads": 2},
        },
        folder,
    )
    method = yaml.safe_load(Path(config["model"]["enhancer"]).read_text())
    method["init_args"]["head"]["init_args"]["position"] = 600
    method["init_args"]["head"]["init_args"]["lm"]["init_args"]["positions"] = 1300
    Path(config["model"]["enhancer"]).write_text(yaml.safe_dump(method, sort_keys=False))
    enhancer = gense.load(rehearse(config, tmp_path), device="cpu")
    assert enhancer.sample_rate == 24000
    assert enhancer.representations["codec"].codebooks == 2
