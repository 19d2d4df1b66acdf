"""Two processes over gloo train as one does on batches of twice the size, each on items of its own."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from gense.training import EMA
from tests.folders import config
from tests.training.runs import checkpoint, learnt, write_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def train(tmp_path_factory, clip) -> Path:
    """A regression without any noise of its own, under plain gradient descent: sums differ by rounding alone."""
    root = tmp_path_factory.mktemp("processes")
    sgd = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.05}}
    train = write_run(root, clip, optimizer=sgd)
    method = config()
    method["init_args"]["head"] = {
        "class_path": "gense.heads.RegressionHead",
        "init_args": {
            "target": "stft", "condition": ["noisy_stft"],
            "backbone": {"class_path": "gense.backbones.UNet",
                         "init_args": {"inputs": 1, "channels": [8, 16], "blocks": 1, "time_dim": 0}},
        },
    }  # fmt: skip
    (root / "method.yaml").write_text(yaml.safe_dump(method))
    (root / "run.py").write_text("import sys\nfrom gense.cli import main\nsys.exit(main())\n")
    return train


def launch(train: Path, out: Path, *more: str) -> None:
    """A run in processes of its own, as from a shell."""
    command = [
        sys.executable, str(train.parent / "run.py"), "fit", "--config", str(train), "--trainer.max_steps=6",
        f"--trainer.default_root_dir={out}", "--trainer.logger=lightning.pytorch.loggers.CSVLogger",
        f"--trainer.logger.save_dir={out}", *more,
    ]  # fmt: skip
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    result = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr[-4000:]


def validation(out: Path) -> list[float]:
    with next(out.rglob("metrics.csv")).open() as file:
        return [float(row["val/si_sdr"]) for row in csv.DictReader(file) if row.get("val/si_sdr")]


def test_two_processes_equal_one_with_batches_of_twice_the_size(train, tmp_path) -> None:
    launch(train, tmp_path / "one", "--data.batch_size=4")
    launch(train, tmp_path / "two", "--trainer.strategy=ddp", "--trainer.devices=2")
    one, two = (learnt(checkpoint(tmp_path / name, 6)) for name in ("one", "two"))
    start = learnt(checkpoint(tmp_path / "one", 1))["weights"]
    moved = max(float((value - start[name]).abs().max()) for name, value in one["weights"].items())
    for part in ("weights", "average"):
        values = one[part]["average"] if part == "average" else one[part]
        others = two[part]["average"] if part == "average" else two[part]
        assert values.keys() == others.keys()
        apart = max(float((values[name] - others[name]).abs().max()) for name in values)
        assert apart < 1e-3 * moved  # where ranks saw the same items, or noise of their own, they would be far apart
    # The three pairs are shared out, and scored once each
    assert validation(tmp_path / "two") == pytest.approx(validation(tmp_path / "one"), abs=1e-3)
    assert len(validation(tmp_path / "one")) >= 1


def test_an_average_of_weights_that_are_dealt_out_is_refused() -> None:
    class Dealt:
        sharding_strategy = "full"

    trainer = type("Trainer", (), {"strategy": Dealt()})()
    with pytest.raises(ValueError, match="Dealt deals them out over processes: take EMA"):
        EMA().setup(trainer, torch.nn.Module(), "fit")
