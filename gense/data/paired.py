"""Paired corpora: which noisy file belongs to which clean one, whatever their folders and names."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from gense.data.clips import Decoded, check_existing, excerpt
from gense.data.sources import Recording, recordings


@dataclass
class PairedFolders:
    """Recordings of which each has a clean counterpart, found by name.

    The name of a file is its path below the folder without suffix; of a list's entry its identifier; of a member of a
    tar shard its sample's name. The parts of both names that the expressions put in brackets have to be equal.

    Args:
        noisy: source of recordings, see `gense.data.sources`.
        clean: source of their counterparts; one may belong to several.
        noisy_name: regular expression with at least one group; the whole name by default.
        clean_name: likewise.
    """

    noisy: str
    clean: str
    noisy_name: str = "(.+)"
    clean_name: str = "(.+)"

    def find(self) -> list[tuple[Recording, Recording]]:
        """All pairs (clean, noisy), in the order of the noisy ones.

        Raises:
            FileNotFoundError: no such source, or a recording without counterpart.
            ValueError: an expression that is none, has no group or does not fit a name, or two clean recordings of one
                name.
        """
        partners: dict[tuple[str, ...], Recording] = {}
        for recording in recordings(self.clean):
            name = _name(recording, self.clean_name, "clean_name", self.clean)
            if partners.setdefault(name, recording) is not recording:
                raise ValueError(
                    f"{self.clean}: {recording.name} and {partners[name].name} are both called {'/'.join(name)}; "
                    "make clean_name tell them apart"
                )
        pairs = []
        for recording in recordings(self.noisy):
            name = _name(recording, self.noisy_name, "noisy_name", self.noisy)
            if name not in partners:
                raise FileNotFoundError(f"{recording.name}: no clean partner called {'/'.join(name)} in {self.clean}")
            pairs.append((partners[name], recording))
        return pairs


def _name(recording: Recording, expression: str, setting: str, source: str) -> tuple[str, ...]:
    try:
        found = re.search(expression, recording.key)
    except re.error as error:
        raise ValueError(f"{setting}={expression!r}: no regular expression ({error})") from None
    if found is None or not found.groups():
        raise ValueError(
            f"{setting}={expression!r} does not fit {recording.key!r} of {source}; it needs a group in brackets, the "
            "part that a pair has in common"
        )
    return tuple(group or "" for group in found.groups())


class PairClips:
    """Pairs to train on, cut at the same place.

    Args:
        pairs: where they lie.
        sample_rate: files are resampled to it, Hz.
        memory_mb: MB of samples that are kept at most; what is beyond is read again whenever it is drawn.

    Raises:
        FileNotFoundError, ValueError: what `PairedFolders.find` raises, or a file of a table that does not exist.
    """

    def __init__(self, pairs: PairedFolders, sample_rate: int, *, memory_mb: float = 8000.0):
        found = pairs.find()
        self.recordings = [recording for pair in found for recording in pair]
        check_existing(self.recordings)
        self.sample_rate = sample_rate
        self._decoded = Decoded(self.recordings, sample_rate, memory_mb)

    def __len__(self) -> int:
        return len(self.recordings) // 2

    def load(self) -> None:
        """Decode every file now, see `Decoded`."""
        self._decoded.load()

    def __getitem__(self, index: int) -> np.ndarray:
        """Return pair `index`, clean and noisy, float32 (S, 2), cut to the shorter one."""
        clean, noisy = self._decoded[2 * index], self._decoded[2 * index + 1]
        length = min(len(clean), len(noisy))
        return np.stack([clean[:length], noisy[:length]], axis=1)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random pair, float32 (S, 2)."""
        return self[int(rng.integers(len(self)))]

    def cut(self, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `length` samples of a pair, (clean, noisy), float32 (length,) each; short pairs are joined."""
        both = excerpt(self.draw, length, rng)
        return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])
