"""What a recogniser made of a set of files, and the weight of the input that served it best."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gense.evaluation.statistics import SIGNIFICANT, Interval, any_better, rate

GIVEN, CLEAN = "transcripts", "clean"
BIN_DB = 5.0
_LOWEST, _HIGHEST = -20.0, 40.0  # beyond these SNRs one bin holds all


@dataclass
class FileErrors:
    """Word errors of one file.

    Attributes:
        name: as in `FileScores`.
        snr: dB, see `recognition.snr`; None without a clean file.
        words: of the reference.
        errors: weight of the noisy input -> words to substitute, insert and delete.
        reference: what is said.
        heard: weight -> what was recognised.
    """

    name: str
    snr: float | None
    words: int
    errors: dict[float, int]
    reference: str
    heard: dict[float, str]

    @staticmethod
    def header(weights: Sequence[float]) -> list[str]:
        """Columns of `row`."""
        counts, texts = [f"errors_{weight:g}" for weight in weights], [f"heard_{weight:g}" for weight in weights]
        return ["file", "snr_db", "words", *counts, "reference", *texts, "error", "state"]

    def row(self) -> dict[str, str]:
        """As a row of a CSV."""
        return {
            "file": self.name,
            "snr_db": "" if self.snr is None else repr(float(self.snr)),
            "words": str(self.words),
            **{f"errors_{weight:g}": str(count) for weight, count in self.errors.items()},
            "reference": self.reference,
            **{f"heard_{weight:g}": text for weight, text in self.heard.items()},
        }

    @staticmethod
    def of(row: Mapping[str, str], weights: Sequence[float]) -> FileErrors:
        """What `row` wrote down."""
        return FileErrors(
            row["file"], float(row["snr_db"]) if row["snr_db"] else None, int(row["words"]),
            {weight: int(row[f"errors_{weight:g}"]) for weight in weights}, row["reference"],
            {weight: row[f"heard_{weight:g}"] for weight in weights},
        )


@dataclass(frozen=True)
class Advice:
    """How much of the input to mix back.

    Attributes:
        weight: with the fewest errors; of several the largest, which changes the recording least.
        wer: at this weight. It was chosen on the same files and flatters itself.
        held_out: each file at the weight that is best on all others: what to expect of new files of this kind. NaN
            for one file.
        less_than_enhanced: error rate at this weight minus that of the enhanced files as they are.
        less_than_noisy: the same against the noisy files as they are.
        p_enhanced: of the hypothesis that no weight has fewer errors than 0, see `statistics.any_better`.
        p_noisy: that none has fewer than 1.
    """

    weight: float
    wer: Interval
    held_out: float
    less_than_enhanced: Interval
    less_than_noisy: Interval
    p_enhanced: float
    p_noisy: float

    def sentences(self) -> list[str]:
        """The advice in words, with what speaks against it."""
        if self.weight == 1:
            first = "give the recogniser the noisy input: nothing mixed with enhanced speech has fewer errors"
        elif self.weight == 0:
            first = "give the recogniser the enhanced speech as it is (w = 0)"
        else:
            first = f"mix the input back with w = {self.weight:g}: {self.weight:g} noisy + {1 - self.weight:g} enhanced"
        said = [first]
        for what, own, less, p in (
            ("enhanced", 0, self.less_than_enhanced, self.p_enhanced), ("noisy", 1, self.less_than_noisy, self.p_noisy),
        ):
            if self.weight != own and not (less.high < 0 and p < SIGNIFICANT):
                said.append(f"the gain over {what} speech as it is may be chance (p = {p:.2f}): try more files")
        if not math.isnan(self.held_out) and self.weight not in (0, 1):
            said.append(f"chosen on these files; a weight chosen without the file gives {100 * self.held_out:.1f} %")
        return said


@dataclass
class Recognition:
    """Word errors of a set of files.

    Attributes:
        files: sorted by name.
        failed: name -> why the file was not counted.
        weights: of the noisy input, ascending from 0 (enhanced) to 1 (noisy).
        reference: "transcripts", or "clean" for what was recognised in clean files.
        recogniser: its name.
        left_out: names of clean or noisy files without an enhanced one.
    """

    files: list[FileErrors]
    failed: dict[str, str] = field(default_factory=dict)
    weights: tuple[float, ...] = (0.0, 1.0)
    reference: str = GIVEN
    recogniser: str = ""
    left_out: list[str] = field(default_factory=list)

    def bins(self) -> dict[float, list[FileErrors]]:
        """Lower end of a band of 5 dB -> its files, ascending; files without an SNR are in none.

        The first band holds all below -15 dB, the last all from 40 dB on.
        """
        found: dict[float, list[FileErrors]] = {}
        for file in self.files:
            if file.snr is not None and not math.isnan(file.snr):
                low = BIN_DB * math.floor(min(max(file.snr, _LOWEST), _HIGHEST) / BIN_DB)
                found.setdefault(low, []).append(file)
        return dict(sorted(found.items()))

    def wer(self, weight: float, files: Sequence[FileErrors] | None = None) -> Interval:
        """Word error rate, summed errors over summed words, with its 95 % interval.

        Args:
            weight: of the noisy input, one of `weights`.
            files: some of the files; None takes all.
        """
        chosen = self.files if files is None else files
        return rate([file.errors[weight] for file in chosen], [file.words for file in chosen])

    def advice(self) -> Advice:
        """The weight with the fewest errors, and how sure that is.

        Raises:
            ValueError: no file was counted.
        """
        if not self.files:
            raise ValueError("no file was recognised: there is nothing to advise from")
        errors = np.array([[file.errors[weight] for weight in self.weights] for file in self.files])
        words = np.array([file.words for file in self.files])
        best = _best(errors.sum(axis=0))
        held_out = math.nan
        if len(self.files) > 1:
            others = errors.sum(axis=0) - errors
            held_out = sum(own[_best(rest)] for own, rest in zip(errors, others, strict=True)) / words.sum()
        return Advice(
            self.weights[best], rate(errors[:, best], words), float(held_out),
            rate(errors[:, best] - errors[:, 0], words), rate(errors[:, best] - errors[:, -1], words),
            any_better(errors[:, :1] - errors[:, 1:]), any_better(errors[:, -1:] - errors[:, :-1]),
        )


def _best(errors: np.ndarray) -> int:
    """Index of the last minimum."""
    return len(errors) - 1 - int(np.argmin(errors[::-1]))
