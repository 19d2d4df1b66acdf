"""Collections of audio files, decoded once."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from gense.audio import read, resample

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")


def audio_files(root: str | os.PathLike[str]) -> list[Path]:
    """All audio files below a folder, sorted.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no audio file in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise ValueError(f"{root}: no audio files ({', '.join(SUFFIXES)}) below this folder")
    return files


class Clips:
    """Audio files at one sampling rate, kept in memory as 16-bit samples after the first read.

    Args:
        folders: searched recursively.
        sample_rate: files are resampled to it, Hz.
        manifest: optional CSV with columns `path` (relative to its folder) and `speaker`; clips of one speaker form a
            group. Without it every clip is a group of its own.
        group_power: a group is drawn with probability proportional to its number of clips to this power; 1 draws
            clips evenly, 0 groups evenly.
    """

    def __init__(
        self, folders: Sequence[str], sample_rate: int, *, manifest: str | None = None, group_power: float = 1.0
    ):
        self.files = [path for folder in folders for path in audio_files(folder)]
        self.sample_rate = sample_rate
        speakers = _speakers(manifest) if manifest else {}
        groups: dict[str, list[int]] = {}
        for index, path in enumerate(self.files):
            groups.setdefault(speakers.get(path.resolve(), str(path)), []).append(index)
        self.groups = list(groups.values())
        weights = np.array([len(group) for group in self.groups], dtype=float) ** group_power
        self.probabilities = weights / weights.sum()
        self._cache: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.files)

    def load(self) -> None:
        """Decode every file now, so that worker processes started later share one copy."""
        for index in range(len(self)):
            self[index]

    def __getitem__(self, index: int) -> np.ndarray:
        """Return clip `index`, first channel, float32 (S,)."""
        if index not in self._cache:
            wav, rate = read(self.files[index])
            mono = resample(wav[:, 0], rate, self.sample_rate)
            self._cache[index] = np.round(np.clip(mono, -1, 1) * 32767).astype(np.int16)
        return self._cache[index].astype(np.float32) / 32767

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return a random clip: first a group, then one of its clips."""
        group = self.groups[rng.choice(len(self.groups), p=self.probabilities)]
        return self[group[rng.integers(len(group))]]


def excerpt(draw: Callable[[np.random.Generator], np.ndarray], length: int, rng: np.random.Generator) -> np.ndarray:
    """Return `length` samples: a random cut of a long clip, or clips joined until there is enough."""
    wav = draw(rng)
    while len(wav) < length:
        wav = np.concatenate([wav, draw(rng)])
    start = rng.integers(len(wav) - length + 1)
    return wav[start : start + length]


def _speakers(manifest: str) -> dict[Path, str]:
    folder = Path(manifest).parent
    with open(manifest, newline="", encoding="utf-8") as file:
        rows = csv.DictReader(file)
        if not {"path", "speaker"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{manifest}: need columns path and speaker, got {', '.join(rows.fieldnames or ())}")
        return {(folder / row["path"]).resolve(): row["speaker"] for row in rows if row["speaker"]}
