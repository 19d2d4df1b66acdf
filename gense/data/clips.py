"""Collections of recordings, decoded once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gense.audio import resample
from gense.data.manifest import read_manifest
from gense.data.sources import Recording, all_recordings


class Decoded:
    """Recordings as 16-bit samples at one rate, kept after the first read as long as there is room.

    Args:
        recordings: what is read.
        sample_rate: they are resampled to it, Hz.
        memory_mb: MB of samples that are kept at most.
    """

    def __init__(self, recordings: Sequence[Recording], sample_rate: int, memory_mb: float):
        self.recordings, self.sample_rate = list(recordings), sample_rate
        self._left = memory_mb * 1e6
        self._cache: dict[int, np.ndarray] = {}

    def load(self) -> None:
        """Decode every file now, as far as memory goes, so that worker processes started later share one copy."""
        for index in range(len(self.recordings)):
            if self._left <= 0:
                break
            self[index]

    def __getitem__(self, index: int) -> np.ndarray:
        """Return recording `index`, first channel, float32 (S,), within full scale."""
        samples = self._cache.get(index)
        if samples is None:
            wav, rate = self.recordings[index].read()
            mono = resample(wav[:, 0], rate, self.sample_rate)
            samples = np.round(np.clip(mono, -1, 1) * 32767).astype(np.int16)
            if self._left > 0:
                self._left -= samples.nbytes
                self._cache[index] = samples
        return samples.astype(np.float32) / 32767


class Clips:
    """Recordings at one sampling rate, kept in memory as 16-bit samples after the first read.

    Args:
        folders: sources, see `gense.data.sources`: folders, tables, lists or tar shards.
        sample_rate: files are resampled to it, Hz.
        manifest: optional table with columns `path` (relative to its folder) and `speaker`; clips of one speaker form a
            group. Without it, and without speakers in the sources, every clip is a group of its own.
        group_power: a group is drawn with probability proportional to its number of clips to this power; 1 draws
            clips evenly, 0 groups evenly.
        memory_mb: MB of samples that are kept at most; what is beyond is read again whenever it is drawn. An hour at
            16 kHz takes 115 MB.

    Raises:
        FileNotFoundError: a source, or a file that a table or list names, does not exist.
        ValueError: a source holds no recording, or the table no such columns.
    """

    def __init__(
        self,
        folders: Sequence[str],
        sample_rate: int,
        *,
        manifest: str | None = None,
        group_power: float = 1.0,
        memory_mb: float = 8000.0,
    ):
        self.recordings = all_recordings(folders)
        check_existing(self.recordings)
        self.sample_rate = sample_rate
        speakers = _speakers(manifest) if manifest else {}
        groups: dict[str, list[int]] = {}
        for index, recording in enumerate(self.recordings):
            known = recording.speaker or (speakers.get(recording.file.resolve()) if speakers else None)
            groups.setdefault(recording.name if known is None else known, []).append(index)
        self.groups = list(groups.values())
        weights = np.array([len(group) for group in self.groups], dtype=float) ** group_power
        self.probabilities = weights / weights.sum()
        self._decoded = Decoded(self.recordings, sample_rate, memory_mb)

    def __len__(self) -> int:
        return len(self.recordings)

    def load(self) -> None:
        """Decode every file now, see `Decoded`."""
        self._decoded.load()

    def __getitem__(self, index: int) -> np.ndarray:
        """Return clip `index`, first channel, float32 (S,)."""
        return self._decoded[index]

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random clip: first a group, then one of its clips."""
        group = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
        return self[group[rng.integers(len(group))]]

    def cut(self, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `length` samples of clean speech as both target and input, float32 (length,)."""
        clean = excerpt(self.draw, length, rng)
        return clean, clean


def check_existing(recordings: Sequence[Recording]) -> None:
    """Refuse recordings whose files are missing, as tables and lists may name them.

    Raises:
        FileNotFoundError: names the first and says how many.
    """
    if missing := [recording for recording in recordings if not recording.file.exists()]:
        others = f" (and {len(missing) - 1} more of {len(recordings)})" if missing[1:] else ""
        raise FileNotFoundError(f"{missing[0].name}: no such file{others}; `gense data check` lists them all")


def excerpt(draw: Callable[[np.random.Generator], np.ndarray], length: int, rng: np.random.Generator) -> np.ndarray:
    """Return `length` samples: a random cut of a long clip, or clips joined until there is enough.

    Clips are (S,), or (S, N) of signals that belong together.
    """
    wav = draw(rng)
    while len(wav) < length:
        wav = np.concatenate([wav, draw(rng)])
    start = rng.integers(len(wav) - length + 1)
    return wav[start : start + length]


def _speakers(manifest: str) -> dict[Path, str]:
    rows = read_manifest(manifest)
    columns = sorted({column for row in rows for column in row})
    if "speaker" not in columns:
        raise ValueError(f"{manifest}: need columns path and speaker, got {', '.join(columns)}")
    return {Path(row["path"]).resolve(): row["speaker"] for row in rows if row.get("speaker")}
