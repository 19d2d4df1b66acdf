"""Published FlowSE files: what may lie beside the checkpoint, what happens without it, and the way by name."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

import gense
from gense.checkpoints import convert_flowse, registry
from gense.checkpoints import vocoder as vocoder_module
from gense.checkpoints.convert_vocos import convert_config, published_name
from gense.checkpoints.fetch import from_hub
from gense.checkpoints.folder import write_state
from gense.cli import main
from tests.checkpoints.conftest import Site
from tests.parity.fixtures import load_parity
from tests.parity.flowse_files import TRAINING, vocabulary, write_checkpoint
from tests.vocoders import published as vocos

SMALL_VOCOS = {
    "feature_extractor": {
        "class_path": "vocos.feature_extractors.MelSpectrogramFeatures", "init_args": {"padding": "center"},
    },
    "backbone": {
        "class_path": "vocos.models.VocosBackbone",
        "init_args": {"input_channels": 100, "dim": 16, "intermediate_dim": 16, "num_layers": 1},
    },
    "head": {
        "class_path": "vocos.heads.ISTFTHead",
        "init_args": {"dim": 16, "n_fft": 1024, "hop_length": 256, "padding": "center"},
    },
}  # fmt: skip
WAV = 0.1 * torch.randn(1, 5000, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole release with a tiny vocoder, not to be written to."""
    folder = tmp_path_factory.mktemp("release")
    write_checkpoint(folder / "best.pt.tar")
    (folder / "train.yaml").write_text(TRAINING)
    (folder / "vocab.txt").write_text(vocabulary("abc", [5, 6, 7]))
    (folder / "vocoder").mkdir()
    (folder / "vocoder" / "config.yaml").write_text(yaml.safe_dump(SMALL_VOCOS))
    own = vocoder_module.build_vocoder(convert_config(SMALL_VOCOS)).state_dict()
    torch.save({published_name(name): value for name, value in own.items()}, folder / "vocoder" / "pytorch_model.bin")
    return folder


@pytest.fixture
def release(originals: Path, tmp_path: Path) -> Path:
    """A copy, of which a test may take something away."""
    return Path(shutil.copytree(originals, tmp_path / "release"))


@pytest.fixture
def hub(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The local server in place of the model hub, an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(vocoder_module, "from_hub", lambda *args: from_hub(*args, endpoint=site.url))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return site


def serve_vocoder(hub: Site, originals: Path) -> None:
    for name in ("config.yaml", "pytorch_model.bin"):
        content = (originals / "vocoder" / name).read_bytes()
        hub.files[f"/charactr/vocos-mel-24khz/resolve/main/{name}"] = content


def test_the_whole_release_is_the_published_inference(originals: Path) -> None:
    model = gense.load(originals / "best.pt.tar", device="cpu")
    assert (model.sample_rate, model.output_rate) == (16000, 24000)
    assert model.head.sampling == gense.Sampling("euler", steps=32, guidance=1.0)
    assert (model.level.kind, model.output_level.kind, model.output_level.target_db) == ("none", "rms", -25.0)
    assert model.head.dropout == {"noisy_mel": 0.0, "text": 0.0}
    assert model.chunking.seconds * 24000 / 256 < 4096, "tokens have no positions beyond"
    assert model.text(["abc"]).tolist() == [[5, 6, 7]]
    assert model.vocoder.embed.weight.shape[0] == 16
    first = model.enhance(WAV, text="abc", sampling=gense.Sampling(steps=1))
    assert not torch.equal(first, model.enhance(WAV, text="bca", sampling=gense.Sampling(steps=1)))


@pytest.mark.parametrize("place", [".", "vocos", "vocos-mel-24khz", "charactr/vocos-mel-24khz"])
def test_the_vocoder_is_found_beside_the_checkpoint(release: Path, place: str) -> None:
    moved = shutil.move(release / "vocoder", release / "elsewhere")
    shutil.copytree(moved, release / place, dirs_exist_ok=True)
    shutil.rmtree(moved)
    assert gense.load(release / "best.pt.tar", device="cpu").vocoder.embed.weight.shape[0] == 16


def test_our_own_vocoder_s_folder_will_do(release: Path) -> None:
    config, vocoder = vocoder_module.read_vocoder(release / "vocoder")
    shutil.rmtree(release / "vocoder")
    write_state(vocoder.state_dict(), release / "vocoder" / "model.safetensors")
    (release / "vocoder" / "vocoder.yaml").write_text(yaml.safe_dump(config))
    loaded = gense.load(release / "best.pt.tar", device="cpu").vocoder
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), vocoder.parameters(), strict=True))


def test_without_a_vocoder_the_hub_is_asked(release: Path, originals: Path, hub: Site) -> None:
    shutil.rmtree(release / "vocoder")
    serve_vocoder(hub, originals)
    assert gense.load(release / "best.pt.tar", device="cpu").vocoder.embed.weight.shape[0] == 16
    assert ("GET", "/charactr/vocos-mel-24khz/resolve/main/config.yaml") in hub.asked


def test_without_vocoder_and_network_the_remedy_is_told(release: Path, hub: Site) -> None:
    shutil.rmtree(release / "vocoder")
    with pytest.raises(OSError, match=r"charactr/vocos-mel-24khz: .*Or put the vocoder's files into \S+/vocoder$"):
        gense.load(release / "best.pt.tar")


def test_without_a_vocabulary_it_works_without_text(release: Path) -> None:
    (release / "vocab.txt").unlink()
    (release / "train.yaml").unlink()
    model = gense.load(release / "best.pt.tar", device="cpu")
    assert model.enhance(WAV, sampling=gense.Sampling(steps=1)).isfinite().all()
    with pytest.raises(ValueError, match=r"came without its vocabulary; .*put the vocabulary beside the checkpoint"):
        gense.enhance(WAV[0], model, text="abc")


def test_converting_keeps_vocabulary_and_vocoder(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(release / "best.pt.tar"), str(release / "ours")]) == 0
    assert "flowse checkpoint written to" in capsys.readouterr().out
    one, other = (gense.load(path, device="cpu") for path in (release / "best.pt.tar", release / "ours"))
    assert other.text(["cab"]).tolist() == [[7, 5, 6]]
    results = [model.enhance(WAV, text="a", sampling=gense.Sampling(steps=1)) for model in (one, other)]
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.txt", " \na\nb\n", r"vocab\.txt has 3 tokens, the network 2545"),
        ("vocab.txt", "a\nb\n", "a vocabulary begins with a space"),
        ("train.yaml", "model: {mel_spec: {mel_spec_type: bigvgan}}", "mel_spec_type bigvgan is not supported"),
        ("train.yaml", "model: {mel_spec: {hop_length: 240}}", "hop_length 240 is not supported"),
        ("train.yaml", "model: [", "not readable as a training YAML"),
        ("train.yaml", "model: 3", "not readable as a training YAML"),
        ("vocoder/config.yaml", "backbone: 1", "no feature_extractor with class_path"),
    ],
)
def test_what_lies_beside_and_does_not_fit_is_refused(release: Path, name: str, content: str, message: str) -> None:
    (release / name).write_text(content)
    with pytest.raises(ValueError, match=message) as raised:
        gense.load(release / "best.pt.tar")
    assert str(raised.value).startswith(f"{release / 'best.pt.tar'}: ")


def test_a_vocoder_for_another_spectrogram_is_refused(release: Path) -> None:
    settings = yaml.safe_load((release / "vocoder" / "config.yaml").read_text())
    settings["feature_extractor"]["init_args"]["n_fft"] = 2048
    (release / "vocoder" / "config.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(ValueError, match=r"vocoder and head: n_fft 2048 and 1024"):
        gense.load(release / "best.pt.tar")


def test_shares_of_conditions_left_out_are_read(release: Path) -> None:
    (release / "train.yaml").write_text("model: {audio_drop_prob: 0.3, cond_drop_prob: 0.2}")
    head = gense.load(release / "best.pt.tar", device="cpu").head
    assert (head.dropout, head.unconditional) == ({"noisy_mel": 0.3, "text": 0.0}, 0.2)


def test_by_name_everything_is_fetched_once(
    originals: Path, hub: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = registry.find("flowse/wenetspeech4tts")
    assert entry is not None
    assert set(entry.beside) == {convert_flowse.VOCABULARY}
    local = replace(entry, url=f"{hub.url}/weights", beside={"vocab.txt": f"{hub.url}/vocab"})
    monkeypatch.setattr(registry, "entries", lambda: (local,))
    serve_vocoder(hub, originals)
    hub.files["/weights"] = (originals / "best.pt.tar").read_bytes()
    hub.files["/vocab"] = (originals / "vocab.txt").read_bytes()
    for _ in range(2):
        model = gense.load("flowse/wenetspeech4tts", device="cpu")
        assert model.text(["abc"]).tolist() == [[5, 6, 7]]
    assert [path for method, path in hub.asked if method == "GET"].count("/weights") == 1
    kept = tmp_path / "cache" / "gense" / "flowse" / "wenetspeech4tts"
    assert sorted(p.name for p in kept.iterdir()) == ["model.ckpt", "vocab.txt"]
    out = gense.enhance(WAV[0], "flowse/wenetspeech4tts", steps=1, text="abc", device="cpu")
    assert out.shape == WAV[0].shape
    assert [m.on_disk for m in gense.methods()] == [True]


def test_the_published_size_is_told_from_the_tensors() -> None:
    """337 M parameters, without the memory for them: only the network's part of the conversion."""
    keys = load_parity("flowse_dit_full").keys()
    state = {f"transformer.{name}": torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    state["transformer.rotary_embed.inv_freq"] = 10000.0 ** (-torch.arange(32) / 32)
    published = {"epoch": 1, "model_state_dict": state}
    assert convert_flowse.recognise(published)
    config, weights = convert_flowse.network(published)
    assert config["init_args"]["vocabulary"] == 2545
    assert sum(value.numel() for value in weights.values()) == 337_096_804


def test_the_published_vocoder_is_the_one_that_is_found(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "best.pt.tar")
    vocos.write(load_parity("vocos_mel_24k"), tmp_path / "vocos")
    config, state = convert_flowse.convert(torch.load(path, weights_only=True), tmp_path)
    assert sum(v.numel() for k, v in state.items() if k.startswith("vocoder.")) == 13_531_650
    assert config["init_args"]["vocoder"]["init_args"]["dim"] == 512
