"""Speech recognisers behind one call: models of `transformers`, or PocketSphinx, which needs no download."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch

from gense.pretrained import load_config, load_model, load_part, transformers_class

from .pieces import split_at_pauses
from .signals import Signal, UndefinedScore, as_signal, at_rate
from .sphinx import recognise_sphinx, require_sphinx

PIECE_SECONDS = 30.0  # what Whisper hears at once; for others a bound on memory
SHORTEST_SECONDS = 0.1

Recogniser = Callable[[Signal, int], str]
"""(wav (S,), sample rate in Hz) -> what is said; "" for silence."""


@lru_cache(maxsize=8)
def recogniser(
    name: str, *, language: str | None = None, revision: str | None = None, device: str = "cpu"
) -> Recogniser:
    """A speech recogniser by name, loaded at once and once.

    Clips of more than 30 s are cut at pauses and the texts joined. Decoding is greedy: the same samples give the same
    text.

    Args:
        name: "pocketsphinx" for the English model that the package of that name ships; or the name on the hub or the
            folder of a model of `transformers`, with CTC (wav2vec 2.0, HuBERT, WavLM ...) or with a decoder (Whisper,
            Moonshine ...).
        language: for multilingual models that take one, such as "en"; None lets them find out.
        revision: branch, tag or commit on the hub.
        device: where to compute.

    Raises:
        ImportError: transformers or pocketsphinx is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        ValueError: the model is no speech recogniser, or `language` does not apply to it.
    """
    if name == "pocketsphinx":
        require_sphinx()
        return recognise_sphinx
    kind = type(load_config(name, revision))
    options: dict[str, Any] = {"model": name, "revision": revision, "device": device}
    if kind in transformers_class("AutoModelForCTC")._model_mapping:
        if language is not None:
            raise ValueError(f"language={language!r}: {name} has a fixed alphabet and takes no language; leave it out")
        load_model("AutoModelForCTC", name, "a speech recogniser", revision, device)
        return partial(recognise_ctc, **options)
    if kind in transformers_class("AutoModelForSpeechSeq2Seq")._model_mapping:
        load_model("AutoModelForSpeechSeq2Seq", name, "a speech recogniser", revision, device)
        return partial(recognise_seq2seq, language=language, **options)
    raise ValueError(
        f"{name} is of type {load_config(name, revision).model_type!r}, which is no speech recogniser: expected a CTC "
        "model (wav2vec2, hubert, wavlm ...) or a speech-to-text model (whisper ...)"
    )


def transcript(recognise: Recogniser, wav: Signal, sample_rate: int) -> str:
    """`recognise(wav, sample_rate)`, remembered for the last few signals: several metrics ask for the same one."""
    samples = np.asarray(wav.detach().float().cpu() if isinstance(wav, torch.Tensor) else wav)
    digest = hashlib.sha256(f"{samples.dtype} {samples.shape}".encode() + samples.tobytes()).hexdigest()
    return _remembered(recognise, _Asked(digest, sample_rate, wav))


@dataclass(frozen=True)
class _Asked:
    """A signal that is told from others by its samples."""

    digest: str
    sample_rate: int
    wav: Signal = field(compare=False)


@lru_cache(maxsize=16)
def _remembered(recognise: Recogniser, asked: _Asked) -> str:
    return recognise(asked.wav, asked.sample_rate)


def recognise_ctc(
    wav: Signal, sample_rate: int, *, model: str, revision: str | None = None, device: str = "cpu"
) -> str:
    """The most probable symbol of each frame, read by the model's own tokenizer. Arguments as for `recogniser`."""
    network = load_model("AutoModelForCTC", model, "a speech recogniser", revision, device)
    tokenizer = load_part("AutoTokenizer", model, revision)
    texts = []
    for inputs in model_inputs(wav, sample_rate, model, revision, device):
        with torch.no_grad():
            symbols = network(**inputs).logits[0].argmax(-1)
        # skip_special_tokens would drop the blanks before repeats are merged: "hel_lo" would become "helo"
        text = tokenizer.decode(symbols.tolist())
        for control in tokenizer.all_special_tokens:
            text = text.replace(control, "")
        texts.append(text)
    return " ".join(" ".join(texts).split())


def recognise_seq2seq(
    wav: Signal,
    sample_rate: int,
    *,
    model: str,
    language: str | None = None,
    revision: str | None = None,
    device: str = "cpu",
) -> str:
    """Greedy output of the model's decoder. Arguments as for `recogniser`."""
    network = load_model("AutoModelForSpeechSeq2Seq", model, "a speech recogniser", revision, device)
    tokenizer = load_part("AutoTokenizer", model, revision)
    options = {} if language is None else {"language": language}
    texts = []
    for inputs in model_inputs(wav, sample_rate, model, revision, device):
        with torch.no_grad():
            tokens = network.generate(**inputs, num_beams=1, do_sample=False, **options)[0]
        texts.append(tokenizer.decode(tokens.tolist(), skip_special_tokens=True))
    return " ".join(" ".join(texts).split())


def model_inputs(
    wav: Signal, sample_rate: int, model: str, revision: str | None = None, device: str = "cpu"
) -> list[dict[str, Any]]:
    """What a model of `transformers` takes, made by its own feature extractor, for pieces of at most 30 s.

    Args:
        wav: (S,), full scale 1.0; silence gives no piece.
        sample_rate: Hz; resampled to the model's own.
        model: name on the hub or folder.
        revision: branch, tag or commit on the hub.
        device: of the tensors.
    """
    extractor = load_part("AutoFeatureExtractor", model, revision)
    rate = extractor.sampling_rate
    signal = heard(wav, sample_rate, rate)
    return [
        dict(extractor(piece.astype(np.float32), sampling_rate=rate, return_tensors="pt").to(device))
        for piece in (split_at_pauses(signal, rate, PIECE_SECONDS) if signal.size else [])
    ]


def heard(wav: Signal, sample_rate: int, rate: int) -> np.ndarray:
    """The signal at `rate`, at least 0.1 s long; empty where it is silent, in which nothing is said.

    Raises:
        ValueError: the signal is not (S,) or not finite.
    """
    try:
        signal = at_rate(as_signal(wav, "wav"), sample_rate, rate)
    except UndefinedScore:
        return np.zeros(0)
    return np.pad(signal, (0, max(0, int(SHORTEST_SECONDS * rate) - signal.size)))
