"""`gense fit` from a YAML file: it learns, averages, validates, resumes, and leaves a model that loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
import yaml

import gense
from gense.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    """A folder with a little clean speech, noise, an impulse response, and pairs, cut from the demo clip."""
    root = tmp_path_factory.mktemp("fit")
    rate = clip.sample_rate
    noise = clip.noisy - clip.clean
    response = torch.zeros(4000)
    response[40], response[900] = 0.5, 0.2
    files = {
        "speech/a.wav": clip.clean[: 3 * rate], "speech/b.wav": clip.clean[3 * rate : 6 * rate],
        "noise/n.wav": noise[: 4 * rate], "rir/r.wav": response.numpy(),
        "pairs/clean/0.wav": clip.clean[rate : 2 * rate], "pairs/noisy/0.wav": clip.noisy[rate : 2 * rate],
    }
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    source = Path(gense.__file__).parent / "configs"
    method = yaml.safe_load((source / "method/flowse.yaml").read_text())
    method["init_args"]["head"]["init_args"]["backbone"]["init_args"] = {"channels": [8, 16], "blocks": 1}
    method["init_args"]["representations"]["stft"]["init_args"]["frames_multiple"] = 4
    (root / "method.yaml").write_text(yaml.safe_dump(method))
    train = yaml.safe_load((source / "train/flowse.yaml").read_text())
    train["model"].update(enhancer="method.yaml", warmup_steps=2, metrics=["si_sdr"])
    train["data"] = yaml.safe_load((source / "train" / train["data"]).read_text())
    train["data"].update(
        speech=[str(root / "speech")], manifest=None, validation=str(root / "pairs"), seconds=0.5, batch_size=2,
        epoch_size=16, num_workers=0,
    )
    for degradation in train["data"]["degradations"]:
        for key, name in (("babble", "speech"), ("folders", "noise")):
            if key in degradation["init_args"]:
                degradation["init_args"][key] = [str(root / name)]
        if degradation["class_path"].endswith("Reverb"):
            degradation["init_args"]["folders"] = [str(root / "rir")]
    train["trainer"].update(
        max_steps=12, precision="32-true", num_sanity_val_steps=0, enable_progress_bar=False, log_every_n_steps=4,
        enable_model_summary=False,
    )
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    return root


def fit(folder: Path, out: Path, *more: str) -> Path:
    assert main(["fit", "--config", str(folder / "train.yaml"), f"--trainer.default_root_dir={out}", *more]) == 0
    return out


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    return fit(folder, tmp_path_factory.mktemp("run"))


def only(root: Path, pattern: str) -> Path:
    (found,) = root.rglob(pattern)
    return found


def test_the_run_folder_is_a_model_that_loads(run, clip) -> None:
    enhancer = gense.load(only(run, "model.safetensors").parent)
    out = gense.enhance(clip.noisy[:16000], enhancer, sample_rate=16000)
    assert out.shape == (16000,)
    assert out.any()


def test_the_saved_weights_are_the_average(run) -> None:
    checkpoint = torch.load(only(run, "*.ckpt"), weights_only=True)
    (average,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("EMA"))
    assert average["updates"] == checkpoint["global_step"] == 12
    saved = gense.load(only(run, "model.safetensors").parent).state_dict()
    raw = checkpoint["state_dict"]
    for name, value in average["average"].items():
        torch.testing.assert_close(saved[name.removeprefix("enhancer.")], value)
    assert any(not torch.equal(raw[name], value) for name, value in average["average"].items())


def test_validation_was_logged(run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(only(run, "events*").parent))
    events.Reload()
    assert {"loss", "val/si_sdr"} <= set(events.Tags()["scalars"])


def test_a_resumed_run_goes_on_from_its_checkpoint(folder, tmp_path) -> None:
    """Step, optimiser and average go on; the weights move on from where they were."""
    fit(folder, tmp_path / "first", "--trainer.max_steps=8")
    half = only(tmp_path / "first", "*.ckpt")
    fit(folder, tmp_path / "second", f"--ckpt_path={half}")
    before, after = (torch.load(path, weights_only=True) for path in (half, only(tmp_path / "second", "*.ckpt")))
    assert (before["global_step"], after["global_step"]) == (8, 12)
    for state, steps in ((before, 8), (after, 12)):
        assert {int(entry["step"]) for entry in state["optimizer_states"][0]["state"].values()} == {steps}
        assert next(v for k, v in state["callbacks"].items() if k.startswith("EMA"))["updates"] == steps
    kernel = "enhancer.head.backbone.stem.weight"
    moved = (after["state_dict"][kernel] - before["state_dict"][kernel]).norm() / before["state_dict"][kernel].norm()
    assert 0 < moved < 0.2  # a fresh start would lie at a distance of about sqrt(2)


def test_a_loss_that_is_not_finite_stops_the_run_with_a_remedy(folder, tmp_path, capsys) -> None:
    arguments = ["--model.optimizer.init_args.lr=1e30", "--model.warmup_steps=0", "--trainer.gradient_clip_val=null",
                 f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", "--config", str(folder / "train.yaml"), *arguments]) == 1
    assert "training diverged; lower the learning rate" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flag", ["--model.enhancer.init_args.head.init_args.t_epz=0.1", "--data.batchsize=3", "--model.enhanser=x.yaml"]
)
def test_a_misspelt_key_is_refused_with_its_path(folder, flag, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(folder / "train.yaml"), flag])
    assert flag.split("=")[0].rpartition(".")[2] in capsys.readouterr().err
