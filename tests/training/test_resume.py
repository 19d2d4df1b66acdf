"""A run that was cut off and resumed ends where the uninterrupted one ends, bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.runs import assert_same, checkpoint, fit, learnt, write_run

STEPS = 12  # an epoch has 8


@pytest.fixture(scope="module")
def train(tmp_path_factory, clip) -> Path:
    return write_run(tmp_path_factory.mktemp("resume"), clip)


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory) -> Path:
    """The uninterrupted run; everything later is compared with it."""
    out = tmp_path_factory.mktemp("whole")
    assert fit(train, out) == 0
    return out


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_cut_off_inside_an_epoch_ends_as_the_uninterrupted_one(workers, train, whole, tmp_path) -> None:
    """Cut off at step 7 of which nothing was kept after 5; what read ahead in the workers does not count."""
    loader = f"--data.num_workers={workers}"
    callbacks = ["--trainer.callbacks+=tests.training.runs.CutOff", "--trainer.callbacks.step=7"]
    assert fit(train, tmp_path / "first", loader, *callbacks) == 1
    assert not list((tmp_path / "first").rglob("step=8.ckpt"))
    assert fit(train, tmp_path / "second", loader, f"--ckpt_path={checkpoint(tmp_path / 'first', 5)}") == 0
    assert not list((tmp_path / "second").rglob("step=5.ckpt"))  # it went on, it did not begin anew
    assert_same(learnt(checkpoint(tmp_path / "second", STEPS)), learnt(checkpoint(whole, STEPS)))
    (own,), (expected,) = (list(out.rglob("model.safetensors")) for out in (tmp_path / "second", whole))
    assert own.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("step", [8, 10], ids=["at the end of an epoch", "in the second epoch"])
def test_any_checkpoint_leads_to_the_same_end(step, train, whole, tmp_path) -> None:
    assert fit(train, tmp_path, f"--ckpt_path={checkpoint(whole, step)}") == 0
    assert_same(learnt(checkpoint(tmp_path, STEPS)), learnt(checkpoint(whole, STEPS)))


def test_another_seed_gives_another_run(train, whole, tmp_path) -> None:
    """Else equal ends would say nothing; a resumed run keeps its own seed, whatever the YAML says by then."""
    assert fit(train, tmp_path / "other", "--seed_everything=2", "--trainer.max_steps=3") == 0
    kernel = "enhancer.head.backbone.stem.weight"
    ours, theirs = (learnt(checkpoint(out, 3))["weights"][kernel] for out in (tmp_path / "other", whole))
    assert not torch.equal(ours, theirs)
    assert fit(train, tmp_path / "same", "--seed_everything=2", f"--ckpt_path={checkpoint(whole, 10)}") == 0
    assert_same(learnt(checkpoint(tmp_path / "same", STEPS)), learnt(checkpoint(whole, STEPS)))


def test_a_resumed_run_with_other_batches_is_warned_of(train, whole, tmp_path) -> None:
    with pytest.warns(UserWarning, match="items of a batch were 2, are 4: this run goes on with other items"):
        fit(train, tmp_path, "--data.batch_size=4", f"--ckpt_path={checkpoint(whole, 10)}")
