"""A training small enough for tests: a folder with data, a method and a YAML, and how to run and read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import soundfile
import torch
import yaml

from gense.cli import main
from tests.folders import config

PAIRS = 3


class CutOff(lightning.Callback):
    """Ends a run as a power cut does: nothing is saved, closed or reported."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.step:
            raise ConnectionAbortedError("cut off")


def write_run(root: Path, clip, **model: Any) -> Path:
    """Write speech, noise, pairs, the tiny method of `tests.folders` and `train.yaml`; returns the latter."""
    rate, noise = clip.sample_rate, clip.noisy - clip.clean
    files = {"speech/a.wav": clip.clean[: 3 * rate], "noise/n.wav": noise[: 4 * rate]}
    for i in range(PAIRS):
        part = slice((i + 1) * rate, (i + 2) * rate)
        files |= {f"pairs/clean/{i}.wav": clip.clean[part], f"pairs/noisy/{i}.wav": clip.noisy[part]}
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    (root / "method.yaml").write_text(yaml.safe_dump(config()))
    noisy = {"class_path": "gense.data.AddNoise", "init_args": {"folders": [str(root / "noise")]}}
    train = {
        "seed_everything": 1,
        "model": {
            "enhancer": "method.yaml", "metrics": ["si_sdr"], "warmup_steps": 3, "final_share": 0.1,
            "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1.0e-3}}, **model,
        },
        "data": {
            "speech": [str(root / "speech")], "validation": str(root / "pairs"), "test": str(root / "pairs"),
            "degradations": [noisy], "seconds": 0.25, "batch_size": 2, "epoch_size": 16, "num_workers": 0,
        },
        "trainer": {
            "accelerator": "cpu", "max_steps": 12, "max_epochs": -1, "num_sanity_val_steps": 0,
            "enable_progress_bar": False, "log_every_n_steps": 2, "enable_model_summary": False,
            "callbacks": [
                {"class_path": "gense.training.EMA", "init_args": {"decay": 0.9}},
                {"class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                 "init_args": {"every_n_train_steps": 1, "save_top_k": -1, "filename": "{step}"}},
            ],
        },
    }  # fmt: skip
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    return root / "train.yaml"


def fit(train: Path, out: Path, *more: str, command: str = "fit") -> int:
    """Run a command of the training in a folder; its exit status."""
    return main([command, "--config", str(train), f"--trainer.default_root_dir={out}", *more])


def checkpoint(out: Path, step: int) -> Path:
    """The checkpoint after a step."""
    (path,) = out.rglob(f"step={step}.ckpt")
    return path


def learnt(path: Path) -> dict[str, Any]:
    """What a checkpoint has learnt: weights, state of the optimiser and of its schedule, average."""
    state = torch.load(path, weights_only=True)
    average = next(value for name, value in state["callbacks"].items() if name.startswith("EMA"))
    return {
        "weights": state["state_dict"], "optimizers": state["optimizer_states"], "rates": state["lr_schedulers"],
        "average": average, "step": state["global_step"],
    }  # fmt: skip


def assert_same(actual: Any, expected: Any, where: str = "") -> None:
    """Every number equal, bit for bit."""
    if isinstance(expected, torch.Tensor):
        assert torch.equal(actual, expected), where
    elif isinstance(expected, dict):
        assert actual.keys() == expected.keys(), where
        for key, value in expected.items():
            assert_same(actual[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(actual) == len(expected), where
        for index, value in enumerate(expected):
            assert_same(actual[index], value, f"{where}[{index}]")
    else:
        assert actual == expected, where
