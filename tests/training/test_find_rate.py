"""The learning rate is looked for before training, in the YAML's place, and kept by resumed runs."""

from __future__ import annotations

import csv

import pytest
import torch

from tests.training.runs import checkpoint, fit, write_run


def test_a_run_begins_with_the_rate_that_was_found_and_resumes_with_it(clip, tmp_path) -> None:
    train = write_run(tmp_path, clip, warmup_steps=0, final_share=1.0)
    finder = ["--trainer.callbacks+=gense.training.FindRate", "--trainer.callbacks.steps=24",
              "--trainer.callbacks.max_lr=0.5", "--trainer.limit_val_batches=0"]  # fmt: skip
    assert fit(train, tmp_path / "first", *finder, "--trainer.max_steps=3") == 0
    with next((tmp_path / "first").rglob("learning_rate.csv")).open() as file:
        tried = [float(row["rate"]) for row in csv.DictReader(file)]
    assert tried == sorted(tried)
    assert len(tried) > 10
    state = torch.load(checkpoint(tmp_path / "first", 3), weights_only=True)
    (found,) = state["lr_schedulers"][0]["base_lrs"]
    assert found != pytest.approx(1e-3)  # of the YAML
    assert tried[0] < found < tried[-1]
    assert state["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(found)
    assert state["global_step"] == 3  # those of the search do not count
    assert int(state["optimizer_states"][0]["state"][0]["step"]) == 3
    assert fit(train, tmp_path / "second", *finder, f"--ckpt_path={checkpoint(tmp_path / 'first', 3)}",
               "--trainer.max_steps=4") == 0  # fmt: skip
    assert not list((tmp_path / "second").rglob("learning_rate.csv"))
    again = torch.load(checkpoint(tmp_path / "second", 4), weights_only=True)
    assert again["lr_schedulers"][0]["base_lrs"] == [found]
