"""LPS: how alike are the phonemes of the output and of the clean signal?"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Literal, NamedTuple

import torch

from gense.pretrained import file_of, load_config, load_model, load_part, transformers_class

from .asr import heard, model_inputs
from .metric import Clip, Metric
from .signals import Signal, UndefinedScore
from .sphinx import phones_sphinx, require_sphinx

DEFAULT = "facebook/wav2vec2-lv-60-espeak-cv-ft"


class Phoneme(NamedTuple):
    """A phoneme in the alphabet of its recogniser, and where it lies in seconds."""

    symbol: str
    start: float
    end: float


PhonemeRecogniser = Callable[[Signal, int], list[Phoneme]]
"""(wav (S,), sample rate in Hz) -> phonemes in order; none for silence."""


def phoneme_recogniser(name: str = DEFAULT, *, revision: str | None = None, device: str = "cpu") -> PhonemeRecogniser:
    """A phoneme recogniser by name, loaded at once and once.

    Args:
        name: "pocketsphinx" for the English model that the package of that name ships; or the name on the hub or the
            folder of a CTC model of `transformers` whose vocabulary is phonemes.
        revision: branch, tag or commit on the hub.
        device: where to compute.

    Raises:
        ImportError: transformers or pocketsphinx is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        ValueError: not a CTC model.
    """
    if name == "pocketsphinx":
        require_sphinx()
        return _sphinx
    config = load_config(name, revision)
    if type(config) not in transformers_class("AutoModelForCTC")._model_mapping:
        raise ValueError(f"{name} is of type {config.model_type!r}: expected a CTC model such as {DEFAULT}")
    load_model("AutoModelForCTC", name, "a phoneme recogniser", revision, device)
    return partial(phonemes_ctc, model=name, revision=revision, device=device)


def phonemes_ctc(
    wav: Signal, sample_rate: int, *, model: str = DEFAULT, revision: str | None = None, device: str = "cpu"
) -> list[Phoneme]:
    """The most probable symbol of each frame, repeats and blanks removed. Arguments as for `phoneme_recogniser`.

    Symbols are read from the model's vocabulary: its tokenizer would need `phonemizer` and espeak, which only serve to
    turn text into phonemes. A phoneme lasts from its first frame to its last, which for CTC is shorter than it sounds.
    """
    network = load_model("AutoModelForCTC", model, "a phoneme recogniser", revision, device)
    symbols = _vocabulary(model, revision)
    rate = load_part("AutoFeatureExtractor", model, revision).sampling_rate
    samples = heard(wav, sample_rate, rate).size
    pieces = model_inputs(wav, sample_rate, model, revision, device)
    with torch.no_grad():
        best = [network(**inputs).logits[0].argmax(-1) for inputs in pieces]
    ids = torch.cat(best).tolist() if best else []
    frame = samples / rate / max(1, len(ids))
    found: list[Phoneme] = []
    previous = -1
    for index, symbol in enumerate(ids):
        if symbol in symbols and symbol == previous:
            found[-1] = found[-1]._replace(end=(index + 1) * frame)
        elif symbol in symbols:
            found.append(Phoneme(symbols[symbol], index * frame, (index + 1) * frame))
        previous = symbol
    return found


def lps(
    est: Signal,
    ref: Signal,
    sample_rate: int,
    recognise: PhonemeRecogniser | None = None,
    *,
    unit: Literal["character", "phoneme"] = "character",
) -> float:
    """Levenshtein phoneme similarity, 1 - edits / length of the reference.

    Pirklbauer et al., "Evaluation metrics for generative speech enhancement methods: issues and perspectives" (ITG
    Conference on Speech Communication, 2023). It falls where a generative method says something else, however well.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S',).
        sample_rate: of both, Hz.
        recognise: `phoneme_recogniser()` by default.
        unit: what an edit changes. The authors' code compares the characters of the joined phonetic transcription, so
            that a long vowel or an affricate counts twice; "phoneme" compares phonemes.

    Returns:
        1 (the same phonemes) to minus infinity.

    Raises:
        ImportError: rapidfuzz, or what the recogniser needs, is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        UndefinedScore: no phonemes were found in the reference.
        ValueError: unknown unit, or a signal that is not (S,) or not finite.
    """
    if unit not in ("character", "phoneme"):
        raise ValueError(f"unit={unit!r}: expected 'character' or 'phoneme'")
    try:
        from rapidfuzz.distance import Levenshtein
    except ModuleNotFoundError as error:
        raise ImportError("rapidfuzz is not installed: pip install gense[metrics]") from error
    recognise = recognise or _default()
    said, heard_ = ([phoneme.symbol for phoneme in recognise(signal, sample_rate)] for signal in (ref, est))
    if unit == "character":
        said, heard_ = list("".join(said)), list("".join(heard_))
    if not said:
        raise UndefinedScore("LPS: no phonemes were found in the reference")
    return 1.0 - Levenshtein.distance(said, heard_) / len(said)


def lps_metric(
    recognise: PhonemeRecogniser | None = None,
    *,
    unit: Literal["character", "phoneme"] = "character",
    name: str = "lps",
) -> Metric:
    """`lps` of the estimate against the clean signal."""
    return Metric(name, (name,), partial(_lps, recognise, unit, name), needs=("clean",))


def _lps(
    recognise: PhonemeRecogniser | None, unit: Literal["character", "phoneme"], name: str, clip: Clip
) -> dict[str, float]:
    assert clip.clean is not None
    return {name: lps(clip.est, clip.clean, clip.sample_rate, recognise, unit=unit)}


def _sphinx(wav: Signal, sample_rate: int) -> list[Phoneme]:
    return [Phoneme(*phone) for phone in phones_sphinx(wav, sample_rate)]


@lru_cache(maxsize=1)
def _default() -> PhonemeRecogniser:
    return phoneme_recogniser()


@lru_cache(maxsize=4)
def _vocabulary(model: str, revision: str | None) -> dict[int, str]:
    """Number -> symbol, without blank, word boundary and control symbols."""
    path = file_of(model, "vocab.json", revision)
    if path is None:
        raise ValueError(f"{model} has no vocab.json, which says what its symbols mean")
    blank = load_config(model, revision).pad_token_id
    vocabulary = json.loads(path.read_text(encoding="utf-8"))
    if not all(isinstance(number, int) for number in vocabulary.values()):
        raise ValueError(f"{model}: vocab.json is not one table of symbol -> number")
    return {
        number: symbol
        for symbol, number in vocabulary.items()
        if number != blank and symbol.strip(" |") and not (symbol[0] in "<[" and symbol[-1] in ">]")
    }
