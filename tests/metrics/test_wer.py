"""Word errors counted by hand, and the metrics made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gense.metrics import Clip, UndefinedScore, score_clip
from gense.metrics.dns_score import dns_challenge_score, dns_metric
from gense.metrics.dnsmos import dnsmos
from gense.metrics.registry import chosen_metrics
from gense.metrics.semantic import semantic_distance, semantic_metric
from gense.metrics.wer import ErrorCounts, dwer_metric, error_counts, normalise, wer, wer_metric
from tests.metrics.tiny_speech import noise, save_text, save_trunk

pytest.importorskip("rapidfuzz", reason="rapidfuzz is not installed")


@pytest.mark.parametrize(
    ("hypothesis", "reference", "counts"),
    [
        ("the cat sat", "The cat sat.", (0, 0, 0, 3)),
        ("the bat sat", "the cat sat", (1, 0, 0, 3)),
        ("the big cat sat", "the cat sat", (0, 1, 0, 3)),
        ("the sat", "the cat sat", (0, 0, 1, 3)),
        ("", "the cat sat", (0, 0, 3, 3)),
        ("one two three four", "five", (1, 3, 0, 1)),
        ("sat the cat", "the cat sat", (0, 1, 1, 3)),
    ],
)
def test_errors_by_hand(hypothesis: str, reference: str, counts: tuple[int, ...]):
    found = error_counts(hypothesis, reference)
    assert found == ErrorCounts(*counts)
    assert wer(hypothesis, reference) == sum(counts[:3]) / counts[3]


def test_swapping_the_texts_swaps_insertions_and_deletions():
    one, other = "a b c d e f", "b x d d e g h"
    there, back = error_counts(one, other), error_counts(other, one)
    assert (there.insertions, there.deletions, there.substitutions) == (
        back.deletions, back.insertions, back.substitutions,
    )  # fmt: skip


def test_the_rate_of_a_set_is_the_rate_of_the_sum():
    # 1 error in 1 word and 0 in 9: a tenth, not a half
    counts = [error_counts("no", "yes"), error_counts("a b c d e f g h i", "a b c d e f g h i")]
    assert sum(counts, ErrorCounts()).rate == pytest.approx(0.1)


def test_no_words_have_no_rate():
    with pytest.raises(UndefinedScore, match="the reference has no words"):
        wer("something", " ... ")
    assert error_counts("something", "") == ErrorCounts(insertions=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don\u2019t  PANIC!", "don't panic"),
        ("'Quoted' well-known: 42 (forty-two)", "quoted well known 42 forty two"),
        ("[MUSIC] yes <unk> no", "yes no"),
        ("Caf\u0065\u0301 stra\u00dfe", "caf\u00e9 stra\u00dfe"),
        ("", ""),
    ],
)
def test_normaliser(text: str, expected: str):
    assert normalise(text) == expected
    assert normalise(expected) == expected


def _loudness(wav, sample_rate: int) -> str:
    """A recogniser that says more words the louder the signal."""
    return " ".join("abcdefgh"[: round(10 * float(np.abs(wav).max()))])


def test_metrics_compare_with_the_text_and_with_the_clean_signal():
    loud, quiet = np.full(100, 0.4), np.full(100, 0.2)
    clip = Clip(quiet, 16000, clean=loud, text="A b x")
    scores = score_clip(clip, [wer_metric(_loudness), dwer_metric(_loudness)])
    assert scores == {"wer": pytest.approx(1 / 3), "dwer": pytest.approx(2 / 4)}
    assert score_clip(Clip(loud, 16000, clean=loud), [dwer_metric(_loudness)]) == {"dwer": 0.0}
    assert math.isnan(score_clip(Clip(loud, 16000, text="..."), [wer_metric(_loudness)])["wer"])
    assert wer_metric(_loudness).lower_is_better
    assert dwer_metric(_loudness).lower_is_better


def test_score_of_the_dns_challenge():
    assert dns_challenge_score(5.0, 1.0) == 1.0
    assert dns_challenge_score(1.0, 0.0) == 0.0
    assert dns_challenge_score(3.0, 0.7) == pytest.approx(0.6)
    pytest.importorskip("speechmos", reason="speechmos is not installed")
    wav = noise(9.02)
    score = score_clip(Clip(wav, 16000, text="a b c d x"), [dns_metric(lambda wav, rate: "a b c d")])["dns_score"]
    assert score == pytest.approx(((dnsmos(wav, 16000).ovrl - 1) / 4 + 0.8) / 2)


def test_names_with_a_model():
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    names = [f"{kind}:pocketsphinx" for kind in ("wer", "dwer", "dns_score", "lps")]
    made = chosen_metrics([*names, "si_sdr"])
    assert [metric.name for metric in made[:4]] == names
    assert [metric.columns for metric in made[:4]] == [(name,) for name in names]
    assert [metric.lower_is_better for metric in made[:4]] == [True, True, False, False]
    with pytest.raises(ValueError, match="wer: say by which recogniser"):
        chosen_metrics(["wer"])
    with pytest.raises(ValueError, match=r"nonsense:x unknown; .*wer:MODEL"):
        chosen_metrics(["nonsense:x"])


def test_semantic_distance(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed")
    folder = str(save_text(tmp_path / "text"))
    sentence = "the cat sat on the mat"
    assert semantic_distance("The CAT sat, on the mat!", sentence, model=folder) == pytest.approx(0.0, abs=1e-9)
    there = semantic_distance("the dog sat on the mat", sentence, model=folder)
    assert 0.0 < there < 2.0
    assert semantic_distance(sentence, "the dog sat on the mat", model=folder) == pytest.approx(there, abs=1e-9)
    assert there < semantic_distance("mat dog", sentence, model=folder)
    with pytest.raises(UndefinedScore, match="no words"):
        semantic_distance(sentence, "", model=folder)
    metric = semantic_metric(lambda wav, rate: "the dog sat on the mat", model=folder)
    assert score_clip(Clip(np.ones(9), 16000, text=sentence), [metric]) == {"semdist": pytest.approx(there)}
    with pytest.raises(ValueError, match="trunk"):
        semantic_distance(sentence, sentence, model=str(save_trunk(tmp_path / "trunk")))
