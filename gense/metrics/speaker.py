"""Speaker similarity: does the output still sound like the same person?"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
import torch

from gense.pretrained import load_model, load_part

from .metric import Clip, Metric
from .resemblyzer import embed_resemblyzer, load_encoder
from .signals import Signal, UndefinedScore, as_signal, at_rate

RATE = 16000
PIECE_SECONDS = 30
SHORTEST_SECONDS = 0.2
ROLE = "a speaker model with x-vectors"
DEFAULT = "microsoft/wavlm-base-plus-sv"

Embedder = Callable[[Signal, int], np.ndarray]
"""(wav (S,), sample rate in Hz) -> vector (D,) whose direction stands for the speaker."""


def embedder(name: str = DEFAULT, *, revision: str | None = None, device: str = "cpu") -> Embedder:
    """A speaker model by name, loaded at once and once.

    Args:
        name: "resemblyzer", whose network comes with the package and needs no download; or the name on the hub or the
            folder of an x-vector model of `transformers`.
        revision: branch, tag or commit on the hub.
        device: where to compute.

    Raises:
        ImportError: transformers or resemblyzer is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        ValueError: the model has no x-vectors.
    """
    if name == "resemblyzer":
        load_encoder()
        return embed_resemblyzer
    load_model("AutoModelForAudioXVector", name, ROLE, revision, device)
    return partial(embed_xvector, model=name, revision=revision, device=device)


def embed_xvector(
    wav: Signal, sample_rate: int, *, model: str = DEFAULT, revision: str | None = None, device: str = "cpu"
) -> np.ndarray:
    """x-vector of a model of `transformers`, unit length; of signals over 30 s the mean over equal pieces.

    Raises:
        ImportError: transformers is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        UndefinedScore: the signal is silent or shorter than 0.2 s.
        ValueError: the model is not an x-vector model, or the signal is not (S,) or not finite.
    """
    signal = at_rate(as_signal(wav, "wav"), sample_rate, RATE)
    if signal.size < SHORTEST_SECONDS * RATE:
        raise UndefinedScore(f"speaker of {signal.size / RATE:.2f} s: needs at least {SHORTEST_SECONDS} s")
    network = load_model("AutoModelForAudioXVector", model, ROLE, revision, device)
    extractor = load_part("AutoFeatureExtractor", model, revision)
    vectors = []
    for piece in np.array_split(signal.astype(np.float32), -(-signal.size // (PIECE_SECONDS * RATE))):
        inputs = extractor(piece, sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            vector = network(inputs["input_values"].to(device)).embeddings[0].double().cpu().numpy()
        vectors.append(vector / np.linalg.norm(vector))
    mean = np.mean(vectors, axis=0)
    return mean / np.linalg.norm(mean)


def speaker_similarity(est: Signal, ref: Signal, sample_rate: int, embed: Embedder | None = None) -> float:
    """Cosine of the angle between the speaker vectors of two signals, which need not be aligned.

    Values of different models cannot be compared: two people are at about 0.5 for one and 0.8 for another.

    Args:
        est: estimate, (S,).
        ref: clean speech of the speaker, (S',).
        sample_rate: of both, Hz.
        embed: speaker model, `embedder()` by default.

    Returns:
        -1 to 1 (the same direction).

    Raises:
        ImportError: a package that the speaker model needs is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        UndefinedScore: a signal is silent or too short.
        ValueError: a signal is not (S,) or not finite.
    """
    embed = embed or _default()
    a, b = (np.asarray(embed(signal, sample_rate), dtype=np.float64) for signal in (est, ref))
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))


def speaker_metric(embed: Embedder | None = None, *, name: str = "speaker_similarity") -> Metric:
    """`speaker_similarity` of the estimate and the clean signal."""
    return Metric(name, (name,), partial(_similarity, embed, name), needs=("clean",))


def _similarity(embed: Embedder | None, name: str, clip: Clip) -> dict[str, float]:
    assert clip.clean is not None
    return {name: speaker_similarity(clip.est, clip.clean, clip.sample_rate, embed)}


@lru_cache(maxsize=1)
def _default() -> Embedder:
    return embedder()
