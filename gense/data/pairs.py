"""Data sets of sample-aligned (clean, noisy) waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gense.audio import resample
from gense.data.degrade import Degradation, degrade
from gense.data.paired import PairedFolders


class Cuts(Protocol):
    """Where training items begin: `Clips` of clean speech, or `PairClips` of paired recordings."""

    sample_rate: int

    def load(self) -> None:
        """Get ready, before workers start."""

    def cut(self, length: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return `length` samples of a random place, (clean, noisy), float32 (length,) each."""


class Mixtures(Dataset[tuple[Tensor, Tensor]]):
    """Endless training mixtures, made on the fly: item i of epoch e depends on (seed, e, i) alone.

    Args:
        speech: clean clips, or pairs.
        degradations: applied in order, each with its own probability.
        seconds: length of an item.
        size: items per epoch.
        seed: of all randomness.
    """

    def __init__(
        self, speech: Cuts, degradations: Sequence[Degradation], *, seconds: float, size: int, seed: int = 0
    ):
        self.speech, self.degradations = speech, list(degradations)
        self.length, self.size, self.seed, self.epoch = round(seconds * speech.sample_rate), size, seed, 0
        speech.load()
        for degradation in self.degradations:
            degradation.prepare(speech.sample_rate)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return (clean, noisy), float32 (S,) each."""
        if not 0 <= index < self.size:
            raise IndexError(f"item {index} of {self.size}")
        rng = np.random.default_rng((self.seed, self.epoch, index))
        clean, noisy = degrade(*self.speech.cut(self.length, rng), self.degradations, rng)
        return torch.from_numpy(clean), torch.from_numpy(noisy)


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Recorded pairs, whole.

    Args:
        folder: holds `clean` and `noisy`, whose files have the same names; or how pairs are found elsewhere.
        sample_rate: files are resampled to it, Hz.
        limit: number of pairs, evenly picked; None takes all.

    Raises:
        FileNotFoundError: a folder or a clean partner is missing.
        ValueError: what `PairedFolders.find` raises.
    """

    def __init__(self, folder: str | PairedFolders, sample_rate: int, *, limit: int | None = None):
        if isinstance(folder, str):
            folder = PairedFolders(noisy=str(Path(folder) / "noisy"), clean=str(Path(folder) / "clean"))
        found = folder.find()
        if limit is not None and limit < len(found):
            found = [found[i] for i in np.linspace(0, len(found) - 1, limit).round().astype(int)]
        self.recordings, self.sample_rate = found, sample_rate

    @property
    def files(self) -> list[tuple[Path, Path]]:
        """The files (clean, noisy), or the shards in which they lie."""
        return [(clean.file, noisy.file) for clean, noisy in self.recordings]

    def __len__(self) -> int:
        return len(self.recordings)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return (clean, noisy), float32 (S,) each, cut to the shorter one."""
        waves = []
        for recording in self.recordings[index]:
            wav, rate = recording.read()
            waves.append(torch.from_numpy(resample(wav[:, 0], rate, self.sample_rate)))
        length = min(len(wav) for wav in waves)
        return waves[0][:length], waves[1][:length]
