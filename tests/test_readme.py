"""What the README and the examples say works as written."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

import gense
from gense.cli import main

ROOT = Path(__file__).parents[1]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.S)


@pytest.fixture
def beside(tmp_path, monkeypatch) -> Path:
    """A folder in which the README's relative paths exist and results may be left."""
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "model.ckpt").symlink_to(ROOT / "tests/parity/sgmse_ckpt_small/model.ckpt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("index", range(len(blocks("python"))))
def test_python_blocks_run(index, beside) -> None:
    exec(compile(blocks("python")[index], f"README.md, block {index}", "exec"), {})
    if index == 0:
        assert (beside / "clean.wav").stat().st_size > 100_000


def test_the_first_shell_commands_run(beside, capsys) -> None:
    command = next(line for block in blocks("sh") for line in block.splitlines() if line.startswith("gense enhance"))
    assert main(shlex.split(command)[1:]) == 0
    assert (beside / "clean.wav").exists()
    assert main(["methods"]) == 0
    assert "flowse/fast (default)" in capsys.readouterr().out


def test_the_commands_that_measure_run(beside, clip, capsys) -> None:
    rate = clip.sample_rate
    for name, wav in (("clean", clip.clean), ("noisy", clip.noisy)):
        (beside / "pairs" / name).mkdir(parents=True)
        soundfile.write(beside / "pairs" / name / "0.wav", wav[rate : 2 * rate], rate)
    block = next(block for block in blocks("sh") if "gense sweep" in block)
    commands = [shlex.split(line) for line in block.splitlines() if line.startswith("gense")]
    assert [command[1] for command in commands] == ["sweep", "enhance", "evaluate"]
    for command in commands:
        assert main(command[1:]) == 0
    printed = capsys.readouterr().out
    assert "flowse, 2 steps" in printed
    assert "pesq" in printed
    for made in ("sweep.png", "sweep.html", "scores.csv", "scores.html"):
        assert (beside / made).stat().st_size > 100


def test_files_and_commands_that_the_readme_names_exist() -> None:
    text = (ROOT / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text) + re.findall(r"`((?:examples|tests)/[\w/]+\.py)`", text):
        assert (ROOT / target).exists(), target
    makefile = (ROOT / "Makefile").read_text()
    for goal in re.findall(r"`make (\w+)", text):
        assert re.search(rf"^{goal}:", makefile, flags=re.M), goal


@pytest.mark.parametrize("name", ["own_sampler.py", "own_backbone.py", "demo.py", "sweep.py"])
def test_examples_run(name, tmp_path) -> None:
    command = [sys.executable, str(ROOT / "examples" / name)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout


def test_a_compact_flow_becomes_the_start_of_a_network_without_time(tmp_path) -> None:
    usage = (ROOT / "examples" / "start_from_flow.py").read_text().split("python examples/start_from_flow.py ", 1)[1]
    source, method, output, *options = shlex.split(usage.splitlines()[0])
    command = [sys.executable, str(ROOT / "examples/start_from_flow.py")]
    arguments = [str(ROOT / method), str(tmp_path / output), *options]
    done = subprocess.run([*command, source, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "fresh: none" in done.stdout
    assert gense.load(tmp_path / output, device="cpu").head.sampling is None
    refused = subprocess.run([*command, "storm", *arguments], capture_output=True, text=True)
    assert refused.returncode == 1
    assert "storm is no flow with a U-Net alone" in refused.stderr
