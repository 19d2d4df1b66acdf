"""Every YAML that ships: it parses, its mistakes are told with their path, it builds, and its parts fit together."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import gense
from gense import samplers
from gense.checkpoints import registry
from gense.checkpoints.build import build, read_config
from gense.heads import PathHead
from gense.heads.resolve import check_options, resolve

CONFIGS = Path(str(resources.files("gense.configs")))
METHODS = sorted((CONFIGS / "method").glob("*.yaml"))
TRAIN = sorted(p for p in (CONFIGS / "train").glob("*.yaml") if "enhancer" in yaml.safe_load(p.read_text())["model"])


def name_of(path: Path) -> str:
    return path.stem


def settings_in(node: Any, where: str = "enhancer") -> Iterator[tuple[str, dict]]:
    """Every `init_args` of a configuration, with the path by which messages name it."""
    if isinstance(node, dict):
        if isinstance(node.get("init_args"), dict):
            yield where, node["init_args"]
        for key, value in (node.get("init_args") or {}).items() if "class_path" in node else node.items():
            yield from settings_in(value, f"{where}.{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from settings_in(value, f"{where}[{index}]")


def test_there_are_configurations_to_test() -> None:
    assert METHODS
    assert TRAIN


@pytest.mark.parametrize("path", METHODS, ids=name_of)
def test_a_method_builds_on_the_meta_device_and_its_parts_fit(path: Path) -> None:
    """Without memory for its weights; the constructor checks that what the head reads exists and rates agree."""
    with torch.device("meta"):
        enhancer = build(read_config(path))
    assert {p.device.type for p in enhancer.parameters()} == {"meta"}
    assert (enhancer.text is not None) == ("text" in enhancer.head.reads)
    for key in [*enhancer.features, f"noisy_{enhancer.head.target}"]:
        assert key.removeprefix("noisy_") in enhancer.representations
    assert enhancer.chunking is not None, "without chunks, memory grows with the length of the input"
    if enhancer.head.sampling is not None:
        enhancer.head.chosen(enhancer.head.sampling, {})
    for head in enhancer.head.modules():
        if isinstance(head, PathHead):
            check_options(resolve(head.sampling.sampler, samplers, "field"), head.sampling.options)
            assert len(head.time_grid(head.sampling)) == head.sampling.steps + 1


@pytest.mark.parametrize("path", METHODS, ids=name_of)
def test_an_unknown_key_at_any_place_is_refused_with_the_path(path: Path) -> None:
    config = read_config(path)
    places = [where for where, _ in settings_in(config)]
    assert len(places) >= 3
    for place in places:
        changed = copy.deepcopy(config)
        dict(settings_in(changed))[place]["misspelt"] = 1
        with pytest.raises(ValueError, match="'misspelt' is not accepted") as raised:
            build(changed)
        said = str(raised.value).split(": ")[1]
        # A message names a list or mapping, not the item in it
        parts = iter(place.split("."))
        assert all(part in (next_part.partition("[")[0] for next_part in parts) for part in said.split("."))


@pytest.mark.parametrize("path", METHODS, ids=name_of)
def test_a_method_names_nothing_outside_gense(path: Path) -> None:
    build(read_config(path), trust=False)
    assert yaml.safe_load(path.read_text())["class_path"] == "gense.Enhancer"


@pytest.mark.parametrize("path", TRAIN, ids=name_of)
def test_a_training_run_parses_and_builds_without_running(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("lightning", reason="needs gense[train]")
    import lightning

    from gense.data.datamodule import MixtureDataModule
    from gense.training.cli import FitCLI, names_its_class
    from gense.training.module import EnhancerModule

    state = torch.get_rng_state()
    named = names_its_class(["--config", str(path)], "data")
    with torch.device("meta"):  # some have hundreds of millions of weights
        cli = FitCLI(
            EnhancerModule, lightning.LightningDataModule if named else MixtureDataModule, subclass_mode_data=named,
            run=False, save_config_callback=None,
            args=["--config", str(path), "--trainer.logger=false", f"--trainer.default_root_dir={tmp_path}"],
        )  # fmt: skip
    torch.set_rng_state(state)
    assert isinstance(cli.model.enhancer, gense.Enhancer)
    assert cli.trainer.reload_dataloaders_every_n_epochs == 1
    written = yaml.safe_load(path.read_text())
    if isinstance(written["model"]["enhancer"], str):
        method = (path.parent / written["model"]["enhancer"]).resolve()
        assert method in METHODS
        assert cli.model.enhancer.sample_rate == read_config(method)["init_args"]["sample_rate"]


@pytest.mark.parametrize("path", TRAIN, ids=name_of)
def test_a_training_run_refuses_a_misspelt_key(path: Path, capsys) -> None:
    pytest.importorskip("lightning", reason="needs gense[train]")
    from gense.cli import main

    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(path), "--model.enhancer.init_args.head.init_args.t_epz=0.1"])
    assert stopped.value.code == 2
    assert "t_epz" in capsys.readouterr().err


BUNDLED = [entry for entry in registry.entries() if entry.file]


@pytest.mark.parametrize("entry", BUNDLED, ids=lambda entry: entry.name)
def test_bundled_weights_have_their_method_and_belong_to_it(entry: registry.Entry) -> None:
    method = CONFIGS / "method" / str(entry.config)
    assert method in METHODS
    assert read_config(method)["init_args"]["sample_rate"] == entry.sample_rate
    assert sum(file.stat().st_size for file in entry.files) <= 12e6
    assert entry.bundled.with_suffix(".md").exists(), "a model card belongs to every weight file"
    assert gense.load(entry.name, device="cpu").sample_rate == entry.sample_rate
