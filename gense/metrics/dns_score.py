"""The score by which the deep noise suppression challenge of ICASSP 2023 ranked its entries."""

from __future__ import annotations

from functools import partial

from .asr import Recogniser, transcript
from .dnsmos import dnsmos
from .metric import Clip, Metric
from .wer import wer


def dns_challenge_score(ovrl: float, word_accuracy: float) -> float:
    """((OVRL - 1) / 4 + WAcc) / 2, from the rules of the challenge (Microsoft, ICASSP 2023).

    Args:
        ovrl: overall quality, 1 to 5.
        word_accuracy: 1 - word error rate.

    Returns:
        0 to 1; less where there are more word errors than words.
    """
    return ((ovrl - 1.0) / 4.0 + word_accuracy) / 2.0


def dns_metric(recognise: Recogniser, *, name: str = "dns_score") -> Metric:
    """The challenge's score with what can be computed here in place of what the challenge used.

    Quality is the overall score of DNSMOS P.835 instead of that of listeners, and words are heard by `recognise`
    instead of a commercial service: it ranks systems as the challenge did, but its values are not those published.
    """
    return Metric(name, (name,), partial(_score, recognise, name), needs=("text",))


def _score(recognise: Recogniser, name: str, clip: Clip) -> dict[str, float]:
    assert clip.text is not None
    accuracy = 1.0 - wer(transcript(recognise, clip.est, clip.sample_rate), clip.text)
    return {name: dns_challenge_score(dnsmos(clip.est, clip.sample_rate).ovrl, accuracy)}
