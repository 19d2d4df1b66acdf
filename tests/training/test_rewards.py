"""Rewards: metrics with weights on a common scale, in this process and in others."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gense.metrics import METRICS, Clip, si_sdr
from gense.training.rewards import SCALES, Reward, Rewards


def clips(count: int = 3) -> list[Clip]:
    rng = np.random.default_rng(0)
    clean = rng.standard_normal((count, 8000)).astype(np.float32) * 0.1
    noise = rng.standard_normal((count, 8000)).astype(np.float32)
    return [Clip(c + 0.05 * (i + 1) * n, 16000, clean=c) for i, (c, n) in enumerate(zip(clean, noise, strict=True))]


def test_every_metric_without_a_model_has_a_scale_or_asks_for_one() -> None:
    for name in METRICS:
        if name in SCALES:
            assert Reward(name).scaled(SCALES[name][1]) == 1.0
        else:
            with pytest.raises(ValueError, match=f"{name}.*no usual scale: give worst and best"):
                Reward(name)


def test_scores_are_brought_to_a_scale_on_which_more_is_better() -> None:
    assert Reward("pesq").scaled(1.0) == 0.0
    assert Reward("wer:pocketsphinx").scaled(0.25) == 0.75
    assert Reward("si_sdr", worst=0.0, best=10.0).scaled(20.0) == 2.0
    assert Reward("pesq").scaled(math.nan) == 0.0
    with pytest.raises(ValueError, match="worst = best"):
        Reward("pesq", worst=1.0, best=1.0)


def test_the_total_is_the_weighted_sum_of_scaled_scores() -> None:
    rewards = Rewards([Reward("si_sdr", 2.0, worst=0.0, best=10.0), Reward("lsd", 0.5)])
    scaled, scores = rewards(clips())
    assert scaled.shape == (3, 2)
    for clip, row, score in zip(clips(), scaled, scores, strict=True):
        assert score["si_sdr"] == pytest.approx(si_sdr(clip.est, clip.clean))
        assert row[0] == pytest.approx(score["si_sdr"] / 10)
        assert row[1] == pytest.approx(1 - score["lsd"] / 10)
        assert rewards.total(score) == pytest.approx(float(row @ rewards.weights))
    assert scaled[0, 0] > scaled[1, 0] > scaled[2, 0]


def test_other_processes_give_the_same_scores() -> None:
    settings = [Reward("si_sdr"), Reward("lsd")]
    rewards = Rewards(settings, workers=2)
    try:
        assert torch.equal(rewards(clips())[0], Rewards(settings)(clips())[0])
    finally:
        rewards.close()


def test_impossible_rewards_are_refused() -> None:
    for settings in ([], [Reward("pesq", 0.0)]):
        with pytest.raises(ValueError, match="at least one with a weight"):
            Rewards(settings)
    with pytest.raises(ValueError, match="gives si_sdr, not 'pesq'"):
        Rewards([Reward("si_sdr", column="pesq")])
    with pytest.raises(ValueError, match="qesp unknown"):
        Rewards([Reward("qesp", worst=0.0, best=1.0)])
    with pytest.raises(ValueError, match="workers=-1"):
        Rewards([Reward("si_sdr")], workers=-1)
    with pytest.raises(ValueError, match="si_sdr need clean: not in this data"):
        Rewards([Reward("si_sdr")])([Clip(np.ones(100, np.float32), 16000)])


def test_a_score_among_several_is_chosen_by_its_column() -> None:
    pytest.importorskip("onnxruntime")
    rewards = Rewards([Reward("dnsmos", column="dnsmos_bak"), Reward("dnsmos")])
    assert rewards.columns == ["dnsmos_bak", "dnsmos_ovrl"]
    assert rewards.metrics == ["dnsmos"]
    assert rewards.scaled({"dnsmos_bak": 3.0, "dnsmos_ovrl": 2.0}) == [0.5, 0.25]
