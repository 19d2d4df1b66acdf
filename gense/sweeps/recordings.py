"""The recordings of a sweep: pairs of files, each at its own rate."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gense.audio import read, resample
from gense.data.pairs import Pairs

Files = str | os.PathLike[str]


@dataclass(frozen=True)
class Recording:
    """A noisy file and its clean reference.

    Attributes:
        name: by which results are listed.
        clean: the reference, sample-aligned.
        noisy: what is enhanced.
    """

    name: str
    clean: Path
    noisy: Path

    def read(self) -> tuple[np.ndarray, np.ndarray, int]:
        """Return (clean, noisy, rate): first channels, float32 (S,), at the clean file's rate, cut to the shorter one.

        The rate is the file's and not a method's, so that methods of all rates are measured against the same reference.

        Raises:
            ValueError, OSError: see `gense.audio.read`.
        """
        (clean, rate), (noisy, other) = read(self.clean), read(self.noisy)
        signals = clean[:, 0], resample(noisy[:, 0], other, rate)
        length = min(len(signal) for signal in signals)
        return signals[0][:length], signals[1][:length], rate

    def digest(self) -> str:
        """Of the content of both files, to know them again."""
        both = b"".join(hashlib.sha256(path.read_bytes()).digest() for path in (self.clean, self.noisy))
        return hashlib.sha256(both).hexdigest()[:16]


def recordings(pairs: Files | Sequence[tuple[Files, Files]], limit: int | None = None) -> list[Recording]:
    """Find the pairs.

    Args:
        pairs: a folder with `clean` and `noisy`, whose files have the same names; or pairs of files (clean, noisy).
        limit: number of pairs, evenly picked; None takes all.

    Raises:
        ValueError: no pair, two of one name, or an impossible limit.
        FileNotFoundError: a folder, or one of a pair, is missing.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit}: need at least 1")
    if isinstance(pairs, (str, os.PathLike)):
        files = Pairs(os.fspath(pairs), 16000).files
    else:
        files = [(Path(clean), Path(noisy)) for clean, noisy in pairs]
    if not files:
        raise ValueError("pairs=[]: need at least one pair of files")
    if limit is not None and limit < len(files):
        files = [files[i] for i in np.linspace(0, len(files) - 1, limit).round().astype(int)]
    found: dict[str, Recording] = {}
    for clean, noisy in files:
        for path in (clean, noisy):
            if not path.is_file():
                raise FileNotFoundError(f"{path}: no such file")
        if noisy.name in found:
            other = found[noisy.name].noisy
            raise ValueError(f"{other} and {noisy} have the same name: results could not be told apart")
        found[noisy.name] = Recording(noisy.name, clean, noisy)
    return list(found.values())
