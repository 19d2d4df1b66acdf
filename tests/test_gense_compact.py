"""The bundled chain of tokens: offline, on the shipped clip and on real recordings, alone and in company."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
import torch

import gense
from gense.data import Pairs
from gense.metrics import evaluate_pair

RATE = 16000


@pytest.fixture(scope="module")
def enhancer() -> gense.Enhancer:
    return gense.load("gense/compact", device="cpu")


def test_the_shipped_clip_sounds_better_and_stays_speech(enhancer, clip) -> None:
    out = gense.enhance(clip.noisy, enhancer, sample_rate=clip.sample_rate)
    assert out.shape == clip.noisy.shape
    before, after = (evaluate_pair(wav, clip.clean, RATE, ("estoi", "dnsmos")) for wav in (clip.noisy, out))
    assert after["dnsmos_ovrl"] > before["dnsmos_ovrl"]
    assert after["dnsmos_bak"] > before["dnsmos_bak"] + 0.5
    assert after["estoi"] > 0.5


def test_real_speech_sounds_better(enhancer, data_dir) -> None:
    gains = []
    for clean, noisy in Pairs(str(data_dir / "val_pairs"), RATE, limit=4):
        out = gense.enhance(noisy, enhancer)
        before, after = (evaluate_pair(wav, clean, RATE, ("dnsmos",)) for wav in (noisy, out))
        gains.append(after["dnsmos_ovrl"] - before["dnsmos_ovrl"])
    assert statistics.fmean(gains) > 0.3


def test_two_items_are_twice_one_and_equal_seeds_are_equal(enhancer, clip) -> None:
    wav = clip.noisy[: 3 * RATE]
    alone = gense.enhance(wav, enhancer, sample_rate=RATE, seed=4)
    assert np.array_equal(alone, gense.enhance(wav, enhancer, sample_rate=RATE, seed=4))
    other = clip.noisy[RATE : 4 * RATE]
    pair = gense.enhance(np.stack([wav, other])[:, None], enhancer, sample_rate=RATE, seed=4)
    assert np.array_equal(pair[0, 0], alone)
    shown = pair[1, 0] - gense.enhance(other, enhancer, sample_rate=RATE, seed=4)
    assert np.abs(shown).max() == 0


def test_chunks_join(enhancer, clip) -> None:
    wav = np.tile(clip.noisy, 3)[: 10 * RATE]
    whole = gense.enhance(wav, enhancer, sample_rate=RATE)
    assert whole.shape == wav.shape
    assert np.isfinite(whole).all()
    loud = np.abs(whole).reshape(-1, RATE).max(axis=1)
    assert loud.min() > 0.1 * loud.max(), "no second of it is lost"


def test_its_stages_take_options_and_it_cannot_be_trained_on(enhancer, clip) -> None:
    wav = clip.noisy[:RATE]
    default = gense.enhance(wav, enhancer, sample_rate=RATE)
    drawn = gense.enhance(wav, enhancer, sample_rate=RATE, choose="multinomial", temperature=1.5)
    assert np.abs(drawn - default).max() > 1e-3
    more = {"semantic.steps": 4, "steps": 2}
    assert np.isfinite(gense.enhance(wav, enhancer, sample_rate=RATE, **more)).all()
    with pytest.raises(ValueError, match="stage 'semantic': unexpected option 'top_q'"):
        gense.enhance(wav, enhancer, sample_rate=RATE, **{"semantic.top_q": 1})
    batch = gense.types.Batch(*torch.zeros(2, 1, RATE))
    with pytest.raises(ValueError, match="no representation 'semantic': build the method from its YAML"):
        enhancer.loss(batch)
