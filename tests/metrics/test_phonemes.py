"""LPS: phonemes are read from the network's output, and edits are counted as published."""

from __future__ import annotations

from itertools import groupby, pairwise
from pathlib import Path

import numpy as np
import pytest

from gense.metrics import Clip, UndefinedScore, score_clip
from gense.metrics.asr import recogniser
from gense.metrics.phonemes import Phoneme, lps, lps_metric, phoneme_recogniser
from tests import conftest
from tests.metrics.tiny_speech import noise, save_ctc, save_text

pytest.importorskip("rapidfuzz", reason="rapidfuzz is not installed")


@pytest.fixture(scope="module")
def ctc(tmp_path_factory) -> str:
    pytest.importorskip("transformers", reason="transformers is not installed")
    return str(save_ctc(tmp_path_factory.mktemp("ctc")))


def says(**phonemes: str):
    """A recogniser that tells signals apart by the sign of their first sample: plus=..., minus=... ."""

    def recognise(wav, sample_rate: int) -> list[Phoneme]:
        found = phonemes["plus" if wav[0] > 0 else "minus"].split()
        return [Phoneme(symbol, 0.1 * k, 0.1 * k + 0.1) for k, symbol in enumerate(found)]

    return recognise


PLUS, MINUS = np.ones(9), -np.ones(9)


def test_edits_by_hand():
    recognise = says(plus="tʃ iː z", minus="ʃ iː z")
    assert lps(PLUS, MINUS, 16000, recognise, unit="phoneme") == pytest.approx(1 - 1 / 3)
    # One character of four, because the reference is ʃiːz
    assert lps(PLUS, MINUS, 16000, recognise) == pytest.approx(1 - 1 / 4)
    # ... and of five where it is tʃiːz: the reference gives the length
    assert lps(MINUS, PLUS, 16000, recognise) == pytest.approx(1 - 1 / 5)
    assert lps(PLUS, PLUS, 16000, recognise) == 1.0
    assert lps(PLUS, MINUS, 16000, says(plus="a b c", minus="x")) == pytest.approx(1 - 3 / 1)
    with pytest.raises(UndefinedScore, match="no phonemes"):
        lps(PLUS, MINUS, 16000, says(plus="a", minus=""))
    with pytest.raises(ValueError, match="unit='word'"):
        lps(PLUS, MINUS, 16000, recognise, unit="word")  # type: ignore[arg-type]


def test_metric():
    metric = lps_metric(says(plus="a b", minus="a c"))
    assert score_clip(Clip(PLUS, 16000, clean=MINUS), [metric]) == {"lps": 0.5}
    assert not metric.lower_is_better


def test_symbols_are_those_that_the_tokenizer_would_write(ctc: str):
    wav = noise(1.0)
    found = phoneme_recogniser(ctc)(wav, 16000)
    assert len({phoneme.symbol for phoneme in found}) > 1
    assert "".join(phoneme.symbol for phoneme in found) == recogniser(ctc)(wav, 16000).replace(" ", "")


def test_phonemes_lie_where_the_network_says(ctc: str):
    from gense.metrics.asr import model_inputs
    from gense.pretrained import load_model

    wav = noise(1.0)
    (inputs,) = model_inputs(wav, 16000, ctc)
    ids = load_model("AutoModelForCTC", ctc, "")(**inputs).logits[0].argmax(-1).tolist()
    runs, start = [], 0
    for symbol, run in groupby(ids):
        length = len(list(run))
        if symbol > 4:
            runs.append((start / len(ids), (start + length) / len(ids)))
        start += length
    assert [(p.start, p.end) for p in phoneme_recogniser(ctc)(wav, 16000)] == pytest.approx(np.array(runs))


def test_silence_and_wrong_models(ctc: str, tmp_path: Path):
    assert phoneme_recogniser(ctc)(np.zeros(16000), 16000) == []
    with pytest.raises(ValueError, match="expected a CTC model such as"):
        phoneme_recogniser(str(save_text(tmp_path / "text")))


def test_more_noise_changes_more_phonemes(clip: conftest.Clip):
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    recognise = phoneme_recogniser("pocketsphinx")
    clean, noisy = clip.clean[:48000], clip.noisy[:48000]
    scores = [
        lps(est, clean, 16000, recognise, unit="phoneme")
        for est in (clean, 0.1 * clean, 0.8 * clean + 0.2 * noisy, noisy)
    ]
    assert scores[:2] == [1.0, 1.0]
    assert 1.0 > scores[2] > scores[3]
    found = recognise(clean, 16000)
    assert all(a.end <= b.start + 1e-9 for a, b in pairwise(found))
    # The clip begins with "The train": ARPABET T R EY N
    assert "T R EY N" in " ".join(phoneme.symbol for phoneme in found)
