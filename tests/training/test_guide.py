"""docs/training.md: its commands run, one after the other, as a reader would type them, on a tiny set."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import soundfile
import yaml

from gense.cli import main

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")

# What makes a training tiny; everything else stays as the page has it
TINY = {
    "fit": ["--data.seconds=0.5", "--data.batch_size=1", "--data.epoch_size=2", "--trainer.log_every_n_steps=1",
            "--trainer.num_sanity_val_steps=0", "--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"],
    "validate": ["--trainer.enable_progress_bar=false", "--trainer.accelerator=cpu"],
}  # fmt: skip


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE, flags=re.S)


@pytest.fixture(scope="module")
def place(tmp_path_factory, clip) -> Path:
    """The three folders of the page, and a noisy file."""
    root, rate = tmp_path_factory.mktemp("guide"), clip.sample_rate
    files = {
        "speech/a.wav": clip.clean[: 3 * rate], "noise/n.wav": (clip.noisy - clip.clean)[: 3 * rate],
        "pairs/clean/0.wav": clip.clean[rate : 2 * rate], "pairs/noisy/0.wav": clip.noisy[rate : 2 * rate],
        "noisy.wav": clip.noisy[:rate],
    }  # fmt: skip
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    (root / "configs").symlink_to(ROOT / "configs")
    return root


def test_the_commands_of_the_page_run_in_their_order(place, monkeypatch, capsys) -> None:
    monkeypatch.chdir(place)
    (written,) = blocks("yaml")
    (place / "my.yaml").write_text(written, encoding="utf-8")
    every = yaml.safe_load(written)["trainer"]["callbacks"][1]["init_args"]["every_n_train_steps"]
    assert every == 500
    (place / "my.yaml").write_text(written.replace("every_n_train_steps: 500", "every_n_train_steps: 1"))
    commands = [shlex.split(line) for block in blocks("sh") for line in block.splitlines()]
    steps = 0
    for command in commands:
        if command[0] == "tensorboard":
            continue
        assert command[0] == "gense"
        kind, more = command[1], list(TINY.get(command[1], []))
        if kind == "fit":
            steps = steps + 1 if "my.yaml" in command else 1
            more += [f"--trainer.max_steps={steps}"]
        assert main([*command[1:], *more]) == 0, (command, capsys.readouterr().err)
    assert [command[1] for command in commands if command[0] == "gense"] == [
        "data", "data", "fit", "fit", "validate", "enhance", "sweep", "fit",
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert "val/pesq" in printed
    assert soundfile.info(place / "enhanced.wav").frames == soundfile.info(place / "noisy.wav").frames
    distilled = yaml.safe_load((place / "lightning_logs/version_3/model/method.yaml").read_text())
    assert distilled["init_args"]["head"]["init_args"]["sampling"]["steps"] == 1


def test_files_that_the_page_links_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", GUIDE):
        assert (ROOT / "docs" / target).exists(), target
    for name in re.findall(r"gense\.(?:training|data)\.([A-Z]\w+)", GUIDE):
        import gense.data
        import gense.training

        assert hasattr(gense.training, name) or hasattr(gense.data, name), name
