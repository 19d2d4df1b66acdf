"""The page on data names what there is."""

from __future__ import annotations

from pathlib import Path

import yaml

import gense
from gense.data import PairedFolders, degradations

PAGE = Path(__file__).parents[2] / "docs/data.md"
CONFIGS = Path(gense.__file__).parent / "configs/data"


def test_every_degradation_is_in_the_table_and_in_the_configuration_with_all() -> None:
    page = PAGE.read_text(encoding="utf-8")
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `") and "source" not in line}
    assert set(degradations.__all__) <= listed
    used = yaml.safe_load((CONFIGS / "everything.yaml").read_text())["degradations"]
    # Responses from files and simulated ones are alternatives
    assert {d["class_path"].rpartition(".")[2] for d in used} == set(degradations.__all__) - {"Reverb"}


def test_its_yaml_is_true_and_its_corpora_are_there() -> None:
    page = PAGE.read_text(encoding="utf-8")
    (block,) = (part.split("```")[0] for part in page.split("```yaml\n")[1:])
    PairedFolders(**yaml.safe_load(block)["init_args"]["pairs"])
    for name in ("voicebank-demand", "wsj0-chime3", "ears-wham", "dns", "urgent", "shards", "everything"):
        assert name in page
        assert (CONFIGS / f"{name}.yaml").exists()
