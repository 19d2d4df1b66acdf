"""Folders of short real clips, and metrics that count how often they are called."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import soundfile
import soxr

from gense.metrics.registry import Clip, Metric

RATE = 16000
EXAMPLES = Path(__file__).parents[2] / "examples"


def write(path: str | Path, wav: np.ndarray, rate: int = RATE) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate, subtype="FLOAT")
    return Path(path)


def degraded(clean: np.ndarray, noisy: np.ndarray, left: float) -> np.ndarray:
    """What an enhancer makes that leaves so much of the noise."""
    return clean + left * (noisy - clean)


def write_set(root: Path, count: int = 3, seconds: float = 0.8, left: float = 0.3) -> Path:
    """root/{clean,noisy,out}/NN.wav: pieces of the demo clip, its noise, and its noise weakened."""
    clean, noisy = (soundfile.read(EXAMPLES / f"{what}.wav", dtype="float32")[0] for what in ("clean", "noisy"))
    size = int(seconds * RATE)
    for index in range(count):
        piece = slice(RATE + index * size, RATE + (index + 1) * size)
        for what, wav in (("clean", clean), ("noisy", noisy), ("out", degraded(clean, noisy, left))):
            write(root / what / f"{index:02d}.wav", wav[piece])
    return root


def to_rate(wav: np.ndarray, rate: int) -> np.ndarray:
    return soxr.resample(wav, RATE, rate, quality="VHQ")


def counted(clip: Clip) -> dict[str, float]:
    """Peak of the estimate; every call leaves a line in the file that COUNTED names."""
    with open(os.environ["COUNTED"], "a") as file:
        file.write("called\n")
    return {"counted": float(np.abs(clip.est).max())}


def misses_a_package(clip: Clip) -> dict[str, float]:
    raise ImportError("nothing is not installed: pip install gense[metrics]")


COUNTED = Metric("counted", ("counted",), counted)
MISSES = Metric("misses", ("misses",), misses_a_package)
