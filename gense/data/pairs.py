"""Data sets of sample-aligned (clean, noisy) waveforms."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from gense.audio import read, resample
from gense.data.clips import Clips, audio_files, excerpt
from gense.data.degrade import Degradation


class Mixtures(Dataset[tuple[Tensor, Tensor]]):
    """Endless training mixtures, made on the fly: item i of epoch e depends on (seed, e, i) alone.

    Args:
        speech: clean clips.
        degradations: applied in order, each with its own probability.
        seconds: length of an item.
        size: items per epoch.
        seed: of all randomness.
    """

    def __init__(
        self, speech: Clips, degradations: Sequence[Degradation], *, seconds: float, size: int, seed: int = 0
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
        clean = excerpt(self.speech.draw, self.length, rng)
        noisy = clean
        for degradation in self.degradations:
            if rng.random() < degradation.probability:
                clean, noisy = degradation(clean, noisy, rng)
        return torch.from_numpy(clean), torch.from_numpy(noisy)


class Pairs(Dataset[tuple[Tensor, Tensor]]):
    """Recorded pairs: files of equal names in two folders, `clean` and `noisy`, whole.

    Args:
        folder: holds `clean` and `noisy`.
        sample_rate: files are resampled to it, Hz.
        limit: number of pairs, evenly picked; None takes all.

    Raises:
        FileNotFoundError: a folder or a clean partner is missing.
    """

    def __init__(self, folder: str, sample_rate: int, *, limit: int | None = None):
        noisy = audio_files(Path(folder) / "noisy")
        if limit is not None and limit < len(noisy):
            noisy = [noisy[i] for i in np.linspace(0, len(noisy) - 1, limit).round().astype(int)]
        self.files = [(Path(folder) / "clean" / path.name, path) for path in noisy]
        self.sample_rate = sample_rate
        for clean, path in self.files:
            if not clean.exists():
                raise FileNotFoundError(f"{clean}: no clean partner of {path}")

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return (clean, noisy), float32 (S,) each, cut to the shorter one."""
        waves = []
        for path in self.files[index]:
            wav, rate = read(path)
            waves.append(torch.from_numpy(resample(wav[:, 0], rate, self.sample_rate)))
        length = min(len(wav) for wav in waves)
        return waves[0][:length], waves[1][:length]
