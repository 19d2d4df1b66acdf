"""SpeechBERTScore: do all parts of the output occur in the clean signal, as a self-supervised model hears them?"""

from __future__ import annotations

from functools import partial

import numpy as np

from gense.ssl import load_network

from .metric import Clip, Metric
from .signals import Signal
from .ssl import features

MODEL, LAYER = "microsoft/wavlm-large", 14  # best in the paper


def speech_bert_score(
    est: Signal,
    ref: Signal,
    sample_rate: int,
    *,
    model: str = MODEL,
    layer: int = LAYER,
    revision: str | None = None,
    device: str = "cpu",
) -> float:
    """Precision: for every frame of the estimate the highest cosine with any frame of the reference, averaged.

    Saeki et al., "SpeechBERTScore: reference-aware automatic evaluation of speech generation leveraging NLP evaluation
    metrics" (Interspeech 2024), equation of BERTScore's precision; the signals need not be aligned.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S',).
        sample_rate: of both, Hz.
        model: self-supervised model, name on the hub or folder.
        layer: of the model, as in `gense.metrics.ssl.features`.
        revision: branch, tag or commit on the hub.
        device: where to compute.

    Returns:
        -1 to 1 (every frame occurs in the reference).

    Raises:
        ImportError: transformers is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        UndefinedScore: a signal is silent or shorter than 25 ms.
        ValueError: not a self-supervised speech model, no such layer, or a signal that is not (S,) or not finite.
    """
    options = {"model": model, "layer": layer, "revision": revision, "device": device}
    made, said = (
        frames / np.linalg.norm(frames, axis=1, keepdims=True)
        for frames in (features(signal, sample_rate, **options) for signal in (est, ref))  # type: ignore[arg-type]
    )
    return float((made @ said.T).max(axis=1).mean())


def speech_bert_metric(
    *,
    model: str = MODEL,
    layer: int = LAYER,
    revision: str | None = None,
    device: str = "cpu",
    name: str = "speech_bert_score",
) -> Metric:
    """`speech_bert_score` of the estimate against the clean signal. The model is loaded at once."""
    load_network(model, revision, device)
    score = partial(speech_bert_score, model=model, layer=layer, revision=revision, device=device)
    return Metric(name, (name,), partial(_score, score, name), needs=("clean",))


def _score(score: partial[float], name: str, clip: Clip) -> dict[str, float]:
    return {name: score(clip.est, clip.clean, clip.sample_rate)}
