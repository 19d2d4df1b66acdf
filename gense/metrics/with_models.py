"""Metrics that work with a model of choice, by name: "wer:openai/whisper-base", "lps:pocketsphinx"."""

from __future__ import annotations

from collections.abc import Callable

from . import phonemes, speaker, speechbert
from .asr import recogniser
from .dns_score import dns_metric
from .metric import Metric
from .semantic import semantic_metric
from .wer import dwer_metric, wer_metric

WITH_MODEL: dict[str, Callable[[str, str], Metric]] = {
    "wer": lambda model, name: wer_metric(recogniser(model), name=name),
    "dwer": lambda model, name: dwer_metric(recogniser(model), name=name),
    "semdist": lambda model, name: semantic_metric(recogniser(model), name=name),
    "dns_score": lambda model, name: dns_metric(recogniser(model), name=name),
    "lps": lambda model, name: phonemes.lps_metric(phonemes.phoneme_recogniser(model), name=name),
    "speaker_similarity": lambda model, name: speaker.speaker_metric(speaker.embedder(model), name=name),
    "speech_bert_score": lambda model, name: speechbert.speech_bert_metric(model=model, name=name),
}
"""Name -> (model, name of metric and column) -> metric."""

DEFAULT_MODELS = {
    "lps": phonemes.DEFAULT,
    "speaker_similarity": speaker.DEFAULT,
    "speech_bert_score": speechbert.MODEL,
}
"""What is meant where no model is given; the recogniser is nobody's default."""

LESS_IS_BETTER = frozenset({"wer", "dwer", "semdist"})
"""Of the names in `WITH_MODEL`, for tables that know no more than the name of a column."""


def metric_with_model(name: str) -> Metric:
    """The metric of a name in `WITH_MODEL`, with ":MODEL" behind it where it has no default.

    The metric and its column are called by the whole name, so that two recognisers can be asked in one run.

    Raises:
        ImportError: a package that the model needs is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        ValueError: no model was given, or it is not of the kind.
    """
    kind, _, model = name.partition(":")
    model = model or DEFAULT_MODELS.get(kind, "")
    if not model:
        raise ValueError(f"{kind}: say by which recogniser, such as {kind}:openai/whisper-base or {kind}:pocketsphinx")
    return WITH_MODEL[kind](model, name)
