"""Evaluations and sweeps made for the tests, with sound on disk where it is needed."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import soundfile

from gense.evaluation.result import Evaluation, FileScores
from gense.sweeps.result import Cell, CellResult, Sweep

RATE = 16000


def sound(path: Path, seconds: float, *, rate: int = RATE, burst: float | None = None) -> Path:
    """A quiet tone, with a second of loud noise from `burst` on."""
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.1 * np.sin(2 * np.pi * 440 * time)
    if burst is not None:
        loud = (time >= burst) & (time < burst + 1)
        wave[loud] += 0.5 * np.random.default_rng(0).uniform(-1, 1, loud.sum())
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave, rate)
    return path


def scores(gain: float) -> tuple[dict[str, float], dict[str, float]]:
    """(enhanced, noisy) of one file: `gain` in PESQ and half of it less in the word error rate."""
    return {"pesq": 2.0 + gain, "wer": 0.5 - gain / 2}, {"pesq": 2.0, "wer": 0.5}


def evaluation(
    gains: list[float], *, folder: Path | None = None, names: list[str] | None = None, seconds: float = 1.0
) -> Evaluation:
    """One file for each gain. Sound of such length lies in the folder; without one, all paths lead nowhere."""
    files = []
    for index, gain in enumerate(gains):
        name = names[index] if names else f"{index:03d}"
        enhanced, noisy = scores(gain)
        paths = [(folder or Path("/nowhere")) / kind / f"{index}.wav" for kind in ("est", "clean", "noisy")]
        if folder is not None:
            for path, burst in zip(paths, (None, None, 0.3), strict=True):
                sound(path, seconds, burst=burst)
        files.append(FileScores(name, enhanced, noisy, seconds, *paths))
    return Evaluation(files, {}, frozenset({"wer"}))


def result(cell: Cell, pesq: float, calls: float) -> CellResult:
    """A setting whose time is proportional to its calls."""
    return CellResult(cell, {"pesq": pesq, "wer": 1 - pesq / 5}, calls, calls / 20, calls / 10, [])


def sweep() -> Sweep:
    """Six settings of two methods, four of them unbeaten, and one without a score."""
    cells = [
        result(Cell("fast", "euler", None, 1), 1.5, 1),
        result(Cell("fast", "heun", None, 1), 1.4, 2),
        result(Cell("fast", "heun", None, 2), 2.0, 4),
        result(Cell("slow", "euler", None, 8, options=(("eta", 0.5),)), 2.5, 8),
        result(Cell("slow", "euler", None, 16), 2.4, 16),
        result(Cell("slow", "heun", None, 16), 2.6, 32),
        result(Cell("silent", "euler", None, 1), math.nan, 1),
    ]
    return Sweep(
        cells, ["pesq", "wer"], ["a", "b"], frozenset({"wer"}), {"pesq": 1.2, "wer": 0.8},
        refused={"slow, sway": "schedule 'sway' unknown"}, failed={"slow, rk4": "diverged"},
    )  # fmt: skip
