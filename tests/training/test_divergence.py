"""When a training is stopped because its loss explodes, and when it is left alone."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gense.training import StopOnDivergence
from tests.training.runs import fit, write_run


def watch(losses, **settings) -> int | None:
    """The index at which a stop was asked for."""
    callback = StopOnDivergence(**{"window": 50, "recent": 5, **settings})
    return next((index for index, loss in enumerate(losses) if callback.problem(float(loss))), None)


def noisy(level, count: int) -> np.ndarray:
    return level + 0.1 * np.random.default_rng(0).standard_normal(count)


def test_an_explosion_is_seen_within_the_batches_that_are_judged_together() -> None:
    stopped = watch(np.concatenate([noisy(1.0, 100), noisy(1.0, 20) * np.geomspace(2, 1e6, 20)]))
    assert stopped is not None
    assert 100 < stopped < 120


@pytest.mark.parametrize("level", [1.0, 0.0, -15.0], ids=["positive", "around zero", "negative, as of decibels"])
def test_what_is_usual_goes_on(level) -> None:
    """A slow rise to twice its height, and single bad batches, however bad, are no divergence."""
    losses = noisy(np.linspace(level, level + abs(level), 400), 400)
    losses[80:400:37] = 1e9
    assert watch(losses) is None


def test_a_negative_loss_that_explodes_is_seen() -> None:
    assert watch(np.concatenate([noisy(-15.0, 100), noisy(1e4, 10)])) is not None


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_finite_ends_it_at_once_whatever_the_factor(bad) -> None:
    assert watch([1.0, bad], factor=math.inf) == 1
    assert watch([1.0] * 100 + [1e9] * 20, factor=math.inf) is None


def test_a_resumed_watch_remembers() -> None:
    first, second = (StopOnDivergence(window=50, recent=5) for _ in range(2))
    for loss in noisy(1.0, 60):
        assert first.problem(float(loss)) is None
    second.load_state_dict(first.state_dict())
    assert any(second.problem(1e6) for _ in range(5))


@pytest.mark.parametrize("settings", [{"factor": 1.0}, {"window": 1}, {"recent": 0}, {"window": 10, "recent": 10}])
def test_impossible_settings_are_refused(settings) -> None:
    with pytest.raises(ValueError, match="need factor > 1"):
        StopOnDivergence(**settings)


def test_a_run_stops_with_a_message_and_its_settings_stand_in_the_yaml(clip, tmp_path, capsys) -> None:
    train = write_run(tmp_path, clip)
    more = ["--model.optimizer.init_args.lr=0.3", "--model.warmup_steps=9", "--model.final_share=1",
            "--trainer.max_steps=60", "--trainer.limit_val_batches=0",
            "--divergence.window=4", "--divergence.recent=2"]  # fmt: skip
    assert fit(train, tmp_path / "run", *more) == 1
    said = capsys.readouterr().err
    assert "the median of 2 batches" in said
    assert "training diverged; lower the learning rate" in said
    assert "--ckpt_path" in said
