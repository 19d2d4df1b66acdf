"""`gense sweep` through the front door, its configurations, and the example."""

from __future__ import annotations

import inspect
from importlib import resources
from pathlib import Path

import pytest
import yaml

import gense
from gense import samplers
from gense.checkpoints import registry
from gense.cli import main
from gense.metrics import METRICS
from gense.sweeps import read_sweep
from gense.sweeps.command import sweep_parser
from tests.folders import write_model

CONFIGS = sorted(Path(str(resources.files("gense.configs"))).joinpath("sweep").glob("*.yaml"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "model")


def test_it_prints_all_settings_the_best_and_the_recommended(
    pairs: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    config, output, picture = tmp_path / "grid.yaml", tmp_path / "s.csv", tmp_path / "p.png"
    config.write_text(
        yaml.safe_dump({"methods": [str(model)], "samplers": [None, "heun", "average"], "steps": [1, 2],
                        "options": {"churn": [None, 0.5]}, "metrics": ["si_sdr"], "limit": 2})
    )  # fmt: skip
    line = ["sweep", "--config", str(config), str(pairs), "--steps", "1", "3", "--device", "cpu"]
    assert main([*line, "--output", str(output), "--plot", str(picture), "--calls", "2", "--rtf", "1e9"]) == 0
    said = capsys.readouterr()
    assert [line.split(" | ")[0] for line in said.out.splitlines()[2:7]] == [
        "| noisy input", f"| {model}, 1 step", f"| {model}, 3 steps", f"| {model}, heun, 1 step",
        f"| {model}, heun, 3 steps",
    ]  # fmt: skip
    assert "Not beaten in si_sdr" in said.out
    assert "| 1e+09 |" in said.out
    assert "refused" in said.err
    assert "average velocity" in said.err
    assert picture.read_bytes()[:4] == b"\x89PNG"
    table = read_sweep(output)
    assert table.files == ["0.wav", "2.wav"]
    assert {result.cell.steps for result in table.cells} == {1, 3}, "the command line goes before the configuration"


def test_the_flags_are_the_arguments_of_the_function() -> None:
    flags = {action.dest for action in sweep_parser()._actions}
    assert set(inspect.signature(gense.sweep).parameters) <= flags


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--plot", "x.doc"], "expected a name that ends in"),
        (["--report", "nowhere/x.html"], "no such folder"),
        (["--report", "x.txt"], "ends in .html"),
        (["--quality", "pesk"], "quality='pesk': expected one of si_sdr"),
        (["--metrics", "pesk"], "pesk unknown"),
        (["--steps", "0"], "steps=0"),
        (["--wat"], "--wat"),
    ],
)
def test_mistakes_are_one_line(
    pairs: Path, model: Path, capsys: pytest.CaptureFixture[str], extra: list[str], message: str
) -> None:
    line = ["sweep", str(pairs), "--methods", str(model), "--metrics", "si_sdr", "--device", "cpu"]
    assert main([*line, *extra]) in (1, 2)
    said = capsys.readouterr()
    assert message in said.err
    assert "Traceback" not in said.err
    assert not said.out


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_configuration_names_what_there_is(path: Path) -> None:
    settings = sweep_parser().parse_args(["somewhere", "--config", str(path)])
    names = {entry.name for entry in registry.entries()}
    assert all(method in names or f"{method}/compact" in names for method in settings.methods)
    assert set(settings.metrics) <= set(METRICS)
    assert set(settings.samplers or []) - {None} <= set(samplers.__all__)


def test_an_unknown_key_of_a_configuration_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.yaml").write_text("methods: [flowse]\nstepz: [1]\n")
    assert main(["sweep", "somewhere", "--config", str(tmp_path / "c.yaml")]) == 2
    assert "stepz" in capsys.readouterr().err


def test_there_are_configurations() -> None:
    assert {path.stem for path in CONFIGS} >= {"quick", "bundled"}
