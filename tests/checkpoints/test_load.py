"""From names, folders, files and hub repositories to models."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import gense
from gense import Sampling
from gense.checkpoints import load as load_module
from gense.checkpoints import registry
from gense.checkpoints.fetch import from_hub
from gense.checkpoints.folder import load_strict, read_state, write_folder, write_state
from gense.checkpoints.formats import convert_file
from gense.checkpoints.pickled import read_checkpoint
from tests.checkpoints.conftest import Site
from tests.folders import write_model
from tests.parity.fixtures import FOLDER

CHECKPOINT = FOLDER / "sgmse_ckpt_small" / "model.ckpt"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


# -- folders ---------------------------------------------------------------------------------------------------------


def test_a_written_folder_loads_to_the_same_weights(model: Path) -> None:
    loaded, stored = gense.load(model, device="cpu").state_dict(), load_file(model / "model.safetensors")
    assert loaded.keys() == stored.keys()
    assert all(torch.equal(loaded[name], stored[name]) for name in stored)


def test_half_precision_files_load_as_float32(tmp_path: Path, model: Path) -> None:
    state = load_file(model / "model.safetensors")
    write_state(state, model / "model.safetensors", dtype=torch.float16)
    assert (model / "model.safetensors").stat().st_size < 0.7 * sum(4 * value.numel() for value in state.values())
    loaded = gense.load(model, device="cpu")
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, state[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("lost", ["method.yaml", "model.safetensors"])
def test_a_folder_without_one_of_its_files_is_refused(model: Path, lost: str) -> None:
    (model / lost).unlink()
    with pytest.raises(FileNotFoundError, match=f"no {lost} in this folder; a model has method.yaml and model.safet"):
        gense.load(model)


def test_missing_extra_and_misshapen_weights_are_named(model: Path) -> None:
    state = load_file(model / "model.safetensors")
    lost = sorted(state)[0]
    kept = {name: value for name, value in state.items() if name != lost}
    kept["head.backbone.extra"] = torch.zeros(1)
    kept[sorted(state)[1]] = torch.zeros(3, 3)
    save_file(kept, model / "model.safetensors")
    with pytest.raises(ValueError, match="the weights do not fit this method") as raised:
        gense.load(model)
    message = str(raised.value)
    assert f"1 missing ({lost})" in message
    assert "1 extra (head.backbone.extra)" in message
    assert f"{sorted(state)[1]} is (3, 3), expected" in message
    assert "\n" not in message


def test_a_long_list_of_missing_weights_is_cut_short(model: Path) -> None:
    save_file({"only": torch.zeros(1)}, model / "model.safetensors")
    with pytest.raises(ValueError, match=r"\d+ missing \((\S+, ){5}\.\.\.\)"):
        gense.load(model)


@pytest.mark.parametrize("content", [b"", b"no safetensors", None])
def test_damaged_weights_are_refused(model: Path, content: bytes | None) -> None:
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=r"model\.safetensors: not readable as safetensors"):
        gense.load(model)


def test_a_write_that_fails_leaves_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(tensors: Any, path: Path) -> None:
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("gense.checkpoints.folder.save_file", half)
    with pytest.raises(OSError, match="disk full"):
        write_folder(tmp_path / "new", {"class_path": "gense.Enhancer"}, {"a": torch.zeros(1)})
    assert not any(p.is_file() for p in tmp_path.rglob("*"))


def test_weights_that_share_memory_can_be_written(tmp_path: Path) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    write_state({"a": shared, "b": shared.T}, tmp_path / "x" / "a.safetensors")
    state = read_state(tmp_path / "x" / "a.safetensors")
    assert torch.equal(state["b"], shared.T)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_state(tmp_path / "y.safetensors")


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_written_weights_are_as_readable_as_any_other_file(model: Path) -> None:
    assert (model / "model.safetensors").stat().st_mode == (model / "method.yaml").stat().st_mode


def test_weights_in_bytes_come_back_within_half_a_step(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {
        "kernel": torch.randn(6, 4, 3, 3) * torch.logspace(-4, 2, 6).reshape(6, 1, 1, 1), "bias": torch.randn(6),
        "zero": torch.zeros(2, 3), "count": torch.tensor([7]),
    }
    path = write_state(state, tmp_path / "a.safetensors", dtype=torch.int8)
    back = read_state(path)
    assert back.keys() == state.keys()
    step = state["kernel"].abs().amax(dim=(1, 2, 3), keepdim=True) / 127
    assert ((back["kernel"] - state["kernel"]).abs() <= 0.501 * step).all()
    torch.testing.assert_close(back["bias"].float(), state["bias"], rtol=1e-3, atol=1e-3)
    assert torch.equal(back["zero"], state["zero"])
    assert torch.equal(back["count"], state["count"])
    larger = write_state(state, tmp_path / "b.safetensors", dtype=torch.float16)
    assert path.stat().st_size < larger.stat().st_size


def test_a_scale_without_its_weights_is_refused(tmp_path: Path) -> None:
    path = write_state({"a#scale": torch.ones(3)}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors: a#scale belongs to no tensor of this file"):
        read_state(path)


def test_strict_loading_copies_nothing_when_something_is_wrong() -> None:
    module = torch.nn.Linear(2, 2)
    before = module.weight.detach().clone()
    with pytest.raises(ValueError, match=r"here: .*1 missing \(bias\)"):
        load_strict(module, {"weight": torch.ones(2, 2)}, "here")
    assert torch.equal(module.weight, before)


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("flowze", ValueError, "method 'flowze' unknown; nearest: 'flowse'. gense.methods() lists all"),
        ("sgsme", ValueError, "nearest: 'sgmse'"),
        ("zzzzzz", ValueError, "method 'zzzzzz' unknown; gense.methods() lists all"),
        ("sgmse/vbdmt", ValueError, "method 'sgmse' has no weights 'vbdmt'; there are sgmse/compact, sgmse/vbdmd, "),
        ("some/where/model.ckpt", FileNotFoundError, "no such file or folder, and no method has that name"),
        ("./model", FileNotFoundError, "no such file or folder"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(
    name: str, error: type, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=re.escape(message)):
        gense.load(name)


def test_a_listed_model_that_cannot_be_loaded_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(registry.entries()[0], unsupported="its decoder is missing")
    monkeypatch.setattr(registry, "find", lambda name: entry)
    with pytest.raises(ValueError, match=f"{entry.name} is listed, .* cannot load it: its decoder is missing"):
        gense.load(entry.name)


@pytest.fixture
def published(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """Names as `sgmse/vbdmd`, whose files come from the local server, into an empty cache."""
    entries = registry.entries()
    local = tuple(
        replace(entry, url=f"{site.url}/{entry.name}.ckpt") if entry.url else entry for entry in entries
    )
    monkeypatch.setattr(registry, "entries", lambda: local)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return site


def test_published_weights_are_fetched_on_first_use(published: Site, tmp_path: Path) -> None:
    published.files["/sgmse/vbdmd.ckpt"] = CHECKPOINT.read_bytes()
    for name in ("sgmse", "sgmse/vbdmd"):
        model = gense.load(name, device="cpu")
        assert model.sample_rate == 16000
    assert published.asked == [("GET", "/sgmse/vbdmd.ckpt")]
    kept = tmp_path / "cache" / "gense" / "sgmse" / "vbdmd.ckpt"
    assert kept.exists()
    of_it = next(m for m in gense.methods() if m.name == "sgmse/vbdmd")
    assert of_it.on_disk
    assert of_it.megabytes == pytest.approx(kept.stat().st_size / 1e6)


def test_an_entry_s_own_sampling_replaces_the_checkpoint_s(published: Site) -> None:
    published.files["/sgmse/wsj0-reverb.ckpt"] = CHECKPOINT.read_bytes()
    model = gense.load("sgmse/wsj0-reverb", device="cpu")
    assert model.head.sampling == Sampling(
        "predictor_corrector", steps=50, options={"snr": 0.33, "corrector_steps": 1}
    )


def test_a_file_put_there_by_hand_is_taken(published: Site, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="To install it by hand") as raised:
        gense.load("sgmse/ears-wham")
    place = Path(re.search(r"save it as (\S+)$", str(raised.value))[1])
    shutil.copy(CHECKPOINT, place)
    published.asked.clear()
    assert gense.load("sgmse/ears-wham", device="cpu").sample_rate == 16000
    assert published.asked == []


def test_no_network_for_published_weights_says_file_source_and_place(
    published: Site, closed_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tuple(
        replace(entry, url=f"{closed_port}/{entry.name}.ckpt") if entry.url else entry for entry in registry.entries()
    )
    monkeypatch.setattr(registry, "entries", lambda: local)
    place = tmp_path / "cache" / "gense" / "sgmse" / "vbdmd.ckpt"
    with pytest.raises(OSError, match=re.escape(f"download {closed_port}/sgmse/vbdmd.ckpt and save it as {place}")):
        gense.enhance(torch.zeros(1000), "sgmse/vbdmd")
    assert not place.exists()


def test_every_entry_is_whole() -> None:
    for entry in registry.entries():
        # Weights that nobody can have are listed with the reason; all others lie in the package or at an address
        assert bool(entry.url) + bool(entry.file) == (0 if entry.unsupported and not entry.url else 1), entry.name
        assert bool(entry.file) == bool(entry.config), entry.name
        assert all(registry.find(name).file for name in entry.parts.values()), entry.name
        assert entry.url is None or entry.url.startswith("https://")
        assert all(url.startswith("https://") for url in entry.beside.values())
        assert entry.sha256 is None or re.fullmatch("[0-9a-f]{64}", entry.sha256)
        if entry.sampling:
            Sampling(**entry.sampling)
        assert registry.find(entry.name) == entry
    assert registry.find("flowse").default
    assert registry.find("nothing") is None


def test_a_part_is_the_head_of_the_model_that_it_names() -> None:
    whole, part = gense.load("flowse/cascade", device="cpu"), gense.load("regression", device="cpu")
    noisy = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0)) / 10
    sampling = replace(whole.head.sampling, options={"until": "denoised"})
    torch.testing.assert_close(whole.enhance(noisy, sampling=sampling), part.enhance(noisy), rtol=0, atol=0)


# -- hub repositories ------------------------------------------------------------------------------------------------


@pytest.fixture
def hub(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """`gense.load("owner/name")` asks the local server."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(load_module, "from_hub", lambda *args: from_hub(*args, endpoint=site.url))
    monkeypatch.chdir(tmp_path)
    return site


def test_a_hub_repository_loads_by_its_name(hub: Site, model: Path) -> None:
    for name in ("method.yaml", "model.safetensors"):
        hub.files[f"/owner/name/resolve/main/{name}"] = (model / name).read_bytes()
    assert gense.load("owner/name", device="cpu").sample_rate == 16000


def test_a_stranger_s_hub_repository_gets_no_trust(hub: Site, model: Path) -> None:
    text = (model / "method.yaml").read_text().replace("gense.processes.OrnsteinUhlenbeck", "os.path.Process")
    hub.files["/owner/name/resolve/main/method.yaml"] = text.encode()
    hub.files["/owner/name/resolve/main/model.safetensors"] = (model / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"'os\.path\.Process' lies outside gense and was not imported"):
        gense.load("owner/name")


def test_a_misspelt_name_that_looks_like_a_repository_gets_the_nearest_too(hub: Site) -> None:
    with pytest.raises(OSError, match="is no method of this library either; nearest: 'flowse/compact'"):
        gense.load("flowsee/compact")


def test_offline_the_hub_is_not_asked_and_the_remedy_is_told(hub: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(OSError, match=r"method.yaml could not be fetched from \S+/owner/name: .*offline.*by hand"):
        gense.load("owner/name")
    assert hub.asked == []


# -- published files -------------------------------------------------------------------------------------------------


def changed(tmp_path: Path, change: Any) -> Path:
    checkpoint = read_checkpoint(CHECKPOINT)
    del checkpoint["hyper_parameters"]["data_module_cls"]  # a placeholder by now, which would be refused
    change(checkpoint)
    torch.save(checkpoint, tmp_path / "changed.ckpt")
    return tmp_path / "changed.ckpt"


def no_average(checkpoint: dict) -> dict:
    del checkpoint["ema"]
    return checkpoint["state_dict"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: no_average(c).pop("dnn.output_layer.weight"), "lack output_layer.weight"),
        (lambda c: no_average(c).update({"dnn.extra": torch.zeros(1)}), "no place for extra"),
        (lambda c: no_average(c).update({"dnn.output_layer.bias": torch.zeros(3)}), r"\(3,\) instead of \(2,\)"),
        (lambda c: no_average(c).update({"dnn.output_layer.bias": "text"}), "damaged, or of an unknown version"),
        (lambda c: c["ema"]["shadow_params"].pop(), "the moving average holds 354 tensors, the network 355"),
        (lambda c: c["ema"]["shadow_params"].__setitem__(0, torch.zeros(1)), "the moving average of dnn.output_layer"),
        (lambda c: c["hyper_parameters"].update(sde="vp"), "hyper-parameter sde='vp' is not supported"),
        (lambda c: c["hyper_parameters"].update(backbone="dcunet"), "backbone='dcunet' is not supported"),
        (lambda c: c["hyper_parameters"].update(window="kaiser"), "window='kaiser'"),
        (lambda c: c["hyper_parameters"].update(nf=None), "damaged, or of an unknown version"),
        (lambda c: c["hyper_parameters"].update(theta="stiff"), "could not convert string to float"),
        (lambda c: c.pop("state_dict"), "not a checkpoint of a known format"),
        (lambda c: c.pop("hyper_parameters"), r"known format \(.*\); its top-level keys are: epoch"),
        (lambda c: c["hyper_parameters"].pop("sde"), "not a checkpoint of a known format"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_line(tmp_path: Path, change: Any, message: str) -> None:
    path = changed(tmp_path, change)
    with pytest.raises(ValueError, match=message) as raised:
        gense.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_older_files_lack_keys_and_other_files_have_more(tmp_path: Path) -> None:
    def change(checkpoint: dict) -> None:
        settings = checkpoint["hyper_parameters"]
        for key in ("sr", "network_scaling", "sampler_type", "c_in", "centered", "t_eps", "theta", "window"):
            settings.pop(key, None)
        settings.update(gpus=1, no_wandb=True)
        checkpoint["state_dict"]["pesq_loss.window"] = torch.zeros(4)

    config, state, name = convert_file(changed(tmp_path, change))
    expected, expected_state, _ = convert_file(CHECKPOINT)
    assert (config, name) == (expected, "sgmse")
    assert all(torch.equal(state[key], expected_state[key]) for key in expected_state)


def test_weights_alone_are_told_from_a_model(model: Path, tmp_path: Path) -> None:
    shutil.copy(model / "model.safetensors", tmp_path / "loose.safetensors")
    with pytest.raises(ValueError, match=r"loose\.safetensors: weights without their method\.yaml"):
        gense.load(tmp_path / "loose.safetensors")
