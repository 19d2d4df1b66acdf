"""PASE files: every way to load them, what is refused and how, and the published sizes."""

from __future__ import annotations

import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import torch

import gense
from gense.checkpoints import registry
from gense.checkpoints.build import read_config
from gense.checkpoints.convert_pase import convert, convert_vocoder, recognise
from gense.checkpoints.formats import convert_file
from gense.cli import main
from tests.checkpoints.conftest import Site
from tests.parity.fixtures import load_parity
from tests.parity.pase_files import small_release, vocoder_checkpoint, write

pytest.importorskip("transformers", reason="needs gense[hub]")
from gense.ssl import config_of_original, fresh_network
from gense.ssl.original import original_names

WAV = 0.1 * torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))
LARGE = {
    "extractor_mode": "layer_norm", "encoder_layers": 24, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096,
    "encoder_attention_heads": 16, "activation_fn": "gelu", "layer_norm_first": True, "conv_bias": False,
    "conv_feature_layers": "[(512,10,5)] + [(512,3,2)] * 4 + [(512,2,2)] * 2", "conv_pos": 128, "conv_pos_groups": 16,
    "relative_position_embedding": True, "num_buckets": 320, "max_distance": 800, "gru_rel_pos": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole release, not to be written to."""
    return write(small_release(), tmp_path_factory.mktemp("release"))


@pytest.fixture
def release(originals: Path, tmp_path: Path) -> Path:
    """A copy, of which a test may take something away."""
    return Path(shutil.copytree(originals, tmp_path / "release"))


def test_folder_and_either_file_are_the_same_model(originals: Path) -> None:
    models = [
        gense.load(path, device="cpu")
        for path in (originals, str(originals / "DeWavLM.tar"), originals / "Vocoder_Dual.tar")
    ]
    first, *others = (model.enhance(WAV) for model in models)
    assert all(torch.equal(first, other) for other in others)
    assert not models[0].training
    assert models[0].vocoder.streams == 2
    assert models[0].head.sampling is None
    assert convert_file(originals / "DeWavLM.tar")[2] == "pase"
    with pytest.raises(ValueError, match="this method is deterministic"):
        gense.enhance(WAV[0], models[0], steps=3)


def test_the_frozen_speech_model_of_training_is_not_needed(originals: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError(f"asked for {given}")

    monkeypatch.setattr("gense.representations.ssl.load_network", refuse)
    model = gense.load(originals, device="cpu")
    assert model.enhance(WAV).isfinite().all()
    assert not [name for name in model.state_dict() if name.startswith("representations.")]


@pytest.mark.parametrize("spelling", ["Vocoder_dual.tar", "Vocoder_L24.tar"])
def test_a_vocoder_of_another_name_or_of_one_stream_will_do(release: Path, spelling: str) -> None:
    (release / "Vocoder_L24.tar").rename(release / "kept")
    (release / "Vocoder_Dual.tar").rename(release / "Vocoder_dual.tar")
    if spelling == "Vocoder_L24.tar":
        (release / "Vocoder_dual.tar").unlink()
        (release / "kept").rename(release / spelling)
    model = gense.load(release, device="cpu")
    assert model.vocoder.streams == (1 if spelling == "Vocoder_L24.tar" else 2)
    assert model.enhance(WAV).shape == WAV.shape


def test_converted_it_is_a_folder_of_our_own(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(release / "DeWavLM.tar"), str(release / "ours")]) == 0
    assert "pase checkpoint written to" in capsys.readouterr().out
    one, other = (gense.load(path, device="cpu") for path in (release, release / "ours"))
    torch.testing.assert_close(one.enhance(WAV), other.enhance(WAV))


def test_files_of_training_hold_no_sizes(release: Path) -> None:
    """Those that the tensors do not tell are WavLM-Large's, of which this release has only the longest distance not."""
    published = small_release()
    published["DeWavLM"]["cfg"]["max_distance"] = 800
    torch.save(published["DeWavLM"], release / "DeWavLM.tar")
    expected = gense.load(release, device="cpu").enhance(WAV)
    given = {"epoch": 7, "optimizer": {}, "scheduler": {}, "model": published["DeWavLM"]["model"]}
    torch.save(given, release / "DeWavLM.tar")
    given = {"epoch": 7, "optimizer_g": {}, "generator": published["Vocoder_Dual"]["model"], "discriminator": {}}
    torch.save(given, release / "Vocoder_Dual.tar")
    torch.testing.assert_close(gense.load(release, device="cpu").enhance(WAV), expected)


def test_the_published_sizes_are_the_method_file() -> None:
    """382 million parameters, without the memory for them."""
    with torch.device("meta"):
        network = fresh_network(config_of_original(LARGE))
    own = network.model.state_dict()
    encoder = {old: own[new] for old, new in original_names(config_of_original(LARGE))}
    keys = load_parity("pase_vocoder_dual_full").keys()
    dual = {name: torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    vocoder = {"cfg": load_parity("pase_vocoder_dual_full").config["constructor"], "model": dual}
    for given in ({"cfg": LARGE, "model": encoder}, {"epoch": 1, "optimizer": {}, "model": encoder}):
        assert recognise(given)
        config, state = _with(given, vocoder)
        method = read_config(Path(str(resources.files("gense.configs") / "method" / "pase.yaml")))
        assert config == method
    assert sum(value.numel() for name, value in state.items() if name.startswith("vocoder.")) == 66_689_538


def _with(encoder: dict, vocoder: dict) -> tuple[dict, dict]:
    """The conversion with a vocoder that needs no file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gense.checkpoints.convert_pase.read_checkpoint", lambda path: vocoder)
        patch.setattr(Path, "is_file", lambda path: path.name == "Vocoder_Dual.tar")
        return convert(encoder, Path("nowhere"))


def test_a_lost_half_is_named(release: Path) -> None:
    for name in ("Vocoder_Dual.tar", "Vocoder_L24.tar"):
        (release / name).unlink()
    with pytest.raises(ValueError, match=r"DeWavLM\.tar: no Vocoder_Dual\.tar or Vocoder_L24\.tar beside it"):
        gense.load(release)
    torch.save(small_release()["Vocoder_Dual"], release / "Vocoder_Dual.tar")
    (release / "DeWavLM.tar").unlink()
    with pytest.raises(ValueError, match=r"Vocoder_Dual\.tar: a vocoder, and no DeWavLM\.tar beside it"):
        gense.load(release / "Vocoder_Dual.tar")


def test_halves_that_do_not_fit_are_refused(release: Path) -> None:
    content = small_release()

    def refuse(name: str, given: dict, said: str) -> None:
        torch.save(given, release / f"{name}.tar")
        with pytest.raises(ValueError, match=said):
            gense.load(release)
        torch.save(content[name], release / f"{name}.tar")

    other = vocoder_checkpoint(load_parity("pase_vocoder_dual_small"))
    refuse("Vocoder_Dual", other, "the vocoder takes 64 channels, the speech model makes 32")
    refuse("Vocoder_Dual", content["DeWavLM"], r"Vocoder_Dual\.tar beside it holds no vocoder")
    encoder = content["DeWavLM"]
    lacking = {k: v for k, v in encoder["model"].items() if k != "layer_norm.bias"}
    refuse("DeWavLM", {**encoder, "model": lacking}, r"1 missing \(layer_norm\.bias\)")
    added = {**encoder["model"], "head.weight": torch.zeros(1)}
    refuse("DeWavLM", {**encoder, "model": added}, r"1 unknown \(head\.weight\)")
    refuse("DeWavLM", {**encoder, "cfg": {"conv_pos": 16}}, "cfg lacks extractor_mode")
    assert gense.load(release, device="cpu").vocoder.streams == 2


def test_a_vocoder_alone_reads_as_one_stream_where_it_has_no_map() -> None:
    config, _ = convert_vocoder(small_release()["Vocoder_L24"])
    assert config["init_args"]["streams"] == 1


def test_others_are_not_taken_for_it() -> None:
    assert not recognise({"model": {"encoder.layers.0.fc1.weight": torch.zeros(1)}})
    assert not recognise({"state_dict": {}})


def test_by_name_both_files_are_fetched_once_or_both_are_named(
    originals: Path, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    entry = registry.find("pase")
    assert entry is not None
    assert entry.url == "https://huggingface.co/cisco-ai/pase/resolve/main/DeWavLM.tar"
    assert set(entry.beside) == {"Vocoder_Dual.tar"}
    local = replace(entry, url=f"{site.url}/DeWavLM.tar", beside={"Vocoder_Dual.tar": f"{site.url}/Vocoder_Dual.tar"})
    monkeypatch.setattr(registry, "entries", lambda: (local,))
    kept = tmp_path / "cache" / "gense" / "pase" / "urgent2025"
    with pytest.raises(OSError, match="could not be fetched") as raised:
        gense.load("pase")
    for address, file in (("Vocoder_Dual.tar", "Vocoder_Dual.tar"), ("DeWavLM.tar", "model.ckpt")):
        assert f"{site.url}/{address}" in str(raised.value)
        assert str(kept / file) in str(raised.value)
    for name in ("DeWavLM.tar", "Vocoder_Dual.tar"):
        site.files[f"/{name}"] = (originals / name).read_bytes()
    for _ in range(2):
        model = gense.load("pase", device="cpu")
    torch.testing.assert_close(model.enhance(WAV), gense.load(originals, device="cpu").enhance(WAV))
    assert [path for _, path in site.asked] == ["/Vocoder_Dual.tar", "/Vocoder_Dual.tar", "/DeWavLM.tar"]
