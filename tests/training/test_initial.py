"""Training that begins from other weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import gense
from gense.checkpoints.build import build
from gense.training import EnhancerModule
from gense.training.initial import start_from
from tests.folders import config, head, write_model
from tests.tiny import tiny_flow


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_model(tmp_path / "source")


def test_equal_tensors_are_copied_and_the_others_stay(source) -> None:
    given = gense.load(source).head.state_dict()
    settings = config()
    head(settings)["backbone"]["init_args"]["time_dim"] = 8
    enhancer = build(settings)
    before = {name: value.clone() for name, value in enhancer.head.state_dict().items()}
    EnhancerModule(enhancer, initial=str(source))
    copied = {name for name, value in before.items() if given[name].shape == value.shape}
    assert 0 < len(copied) < len(before)
    for name, value in enhancer.head.state_dict().items():
        assert torch.equal(value, given[name] if name in copied else before[name]), name


def test_a_part_may_start_from_the_head_of_another_model(source) -> None:
    enhancer, given = tiny_flow(seed=4), gense.load(source)
    with pytest.raises(ValueError, match=r"no part 'head\.stages\.first'"):
        start_from(enhancer, {"head.stages.first": str(source)})
    with pytest.raises(ValueError, match=r"fits head\.backbone\.norm: no weight has"):
        start_from(enhancer, {"head.backbone.norm": str(source)})
    start_from(enhancer, {"head": str(source)})
    torch.testing.assert_close(enhancer.head.state_dict(), given.head.state_dict())
