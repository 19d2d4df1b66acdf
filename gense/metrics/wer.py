"""Word error rate: of a text against what was said, and of the output's transcript against the clean signal's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from .asr import Recogniser, transcript
from .metric import Clip, Metric
from .signals import UndefinedScore


@dataclass(frozen=True)
class ErrorCounts:
    """Word errors, which can be added up over files: the rate of a set is the rate of the sum, not the mean of rates.

    Attributes:
        substitutions: words of the reference that were replaced.
        insertions: words that are not in the reference.
        deletions: words of the reference that are missing.
        words: in the reference.
    """

    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0
    words: int = 0

    def __add__(self, other: ErrorCounts) -> ErrorCounts:
        return ErrorCounts(
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
            self.words + other.words,
        )

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per word of the reference, 0 to infinity.

        Raises:
            UndefinedScore: the reference has no words.
        """
        if not self.words:
            raise UndefinedScore("word error rate: the reference has no words")
        return self.errors / self.words


def normalise(text: str) -> str:
    """What is compared: lower case, no punctuation, single spaces.

    Annotations in brackets such as [MUSIC] or <unk> go; apostrophes inside words stay, typographic ones become plain;
    hyphens separate words. Numbers stay as they are written: "9" is not "nine".
    """
    text = unicodedata.normalize("NFKC", text).lower().replace("\u2019", "'")
    text = re.sub(r"\[[^\]]*\]|<[^>]*>", " ", text)
    return " ".join(re.findall(r"\w+(?:'\w+)*", text.replace("_", " ")))


def error_counts(hypothesis: str, reference: str, *, normaliser: Callable[[str], str] = normalise) -> ErrorCounts:
    """Count the fewest word errors that turn the reference into the hypothesis.

    Args:
        hypothesis: what was recognised.
        reference: what was said.
        normaliser: applied to both.

    Raises:
        ImportError: the package `rapidfuzz` is not installed.
    """
    try:
        from rapidfuzz.distance import Levenshtein
    except ModuleNotFoundError as error:
        raise ImportError("rapidfuzz is not installed: pip install gense[metrics]") from error
    said = normaliser(reference).split()
    kinds = [step.tag for step in Levenshtein.editops(said, normaliser(hypothesis).split())]
    return ErrorCounts(kinds.count("replace"), kinds.count("insert"), kinds.count("delete"), len(said))


def wer(hypothesis: str, reference: str, *, normaliser: Callable[[str], str] = normalise) -> float:
    """Word error rate, 0 (identical) to infinity. Arguments as for `error_counts`.

    Raises:
        ImportError: the package `rapidfuzz` is not installed.
        UndefinedScore: the reference has no words.
    """
    return error_counts(hypothesis, reference, normaliser=normaliser).rate


def wer_metric(recognise: Recogniser, *, name: str = "wer") -> Metric:
    """Word error rate of the estimate against the clip's text."""
    return Metric(name, (name,), partial(_wer, recognise, name), needs=("text",), lower_is_better=True)


def dwer_metric(recognise: Recogniser, *, name: str = "dwer") -> Metric:
    """Word error rate of the estimate against what the same recogniser hears in the clean signal.

    Needs no text, and does not charge the enhancement with what the recogniser gets wrong anyway.
    """
    return Metric(name, (name,), partial(_dwer, recognise, name), needs=("clean",), lower_is_better=True)


def _wer(recognise: Recogniser, name: str, clip: Clip) -> dict[str, float]:
    assert clip.text is not None
    return {name: wer(transcript(recognise, clip.est, clip.sample_rate), clip.text)}


def _dwer(recognise: Recogniser, name: str, clip: Clip) -> dict[str, float]:
    assert clip.clean is not None
    est, clean = (transcript(recognise, signal, clip.sample_rate) for signal in (clip.est, clip.clean))
    return {name: wer(est, clean)}
