"""Semantic distance of transcripts: how much of the meaning do recognition errors change?"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from gense.pretrained import load_model, load_part

from .asr import Recogniser, transcript
from .metric import Clip, Metric
from .signals import UndefinedScore
from .wer import normalise

ROLE = "a language model"
DEFAULT = "sentence-transformers/all-distilroberta-v1"


def semantic_distance(
    hypothesis: str, reference: str, *, model: str = DEFAULT, revision: str | None = None, device: str = "cpu"
) -> float:
    """SemDist: 1 - cosine of the sentence vectors of two texts.

    Kim et al., "Semantic distance: a new metric for ASR performance analysis towards spoken language understanding"
    (Interspeech 2021), which takes sentence vectors from RoBERTa. Here they are the mean over the tokens of the last
    layer of any language model of `transformers`, by default one of that family that was trained for sentences. Both
    texts are normalised as for the word error rate; what exceeds the model's length is cut off.

    Args:
        hypothesis: what was recognised.
        reference: what was said.
        model: name on the hub or folder.
        revision: branch, tag or commit on the hub.
        device: where to compute.

    Returns:
        0 (the same meaning) to 2.

    Raises:
        ImportError: transformers is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        UndefinedScore: the reference has no words.
        ValueError: not a language model.
    """
    texts = [normalise(hypothesis), normalise(reference)]
    if not texts[1]:
        raise UndefinedScore("semantic distance: the reference has no words")
    a, b = (_sentence_vector(text, model, revision, device) for text in texts)
    return 1.0 - float(np.dot(a, b))


def semantic_metric(
    recognise: Recogniser,
    *,
    model: str = DEFAULT,
    revision: str | None = None,
    device: str = "cpu",
    name: str = "semdist",
) -> Metric:
    """`semantic_distance` of the estimate's transcript from the clip's text. The model is loaded at once."""
    load_model("AutoModel", model, ROLE, revision, device)
    distance = partial(semantic_distance, model=model, revision=revision, device=device)
    return Metric(name, (name,), partial(_semantic, recognise, distance, name), needs=("text",), lower_is_better=True)


def _semantic(recognise: Recogniser, distance: partial[float], name: str, clip: Clip) -> dict[str, float]:
    return {name: distance(transcript(recognise, clip.est, clip.sample_rate), clip.text)}


def _sentence_vector(text: str, model: str, revision: str | None, device: str) -> np.ndarray:
    network = load_model("AutoModel", model, ROLE, revision, device)
    if network.config.is_encoder_decoder or not hasattr(network, "get_input_embeddings"):
        raise ValueError(f"{model} is of type {network.config.model_type!r}: expected an encoder such as RoBERTa")
    tokenizer = load_part("AutoTokenizer", model, revision)
    longest = min(tokenizer.model_max_length, 512)
    inputs = tokenizer(text, return_tensors="pt", truncation=True, max_length=longest).to(device)
    with torch.no_grad():
        vector = network(**inputs).last_hidden_state[0].mean(0).double().cpu().numpy()
    return vector / np.linalg.norm(vector)
