"""A method that kills its process over some clips, and a corpus for it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from gense.checkpoints.build import build
from gense.checkpoints.folder import write_folder
from gense.heads import Head
from tests.folders import config, noise_like_speech

LOUD = 0.9
"""Of a spectrum's largest value: a loud constant has 2.4, the faint clips of `corpus` have 0.2."""


class Deadly(Head):
    """Gives back its input, half as loud, after a while; a loud one kills the process.

    Args:
        seconds: that a clip takes.
        pids: folder in which the process leaves its number; none if empty.
    """

    def __init__(self, seconds: float = 0.0, pids: str = "") -> None:
        super().__init__()
        self.reads, self.target, self.sampling = ("noisy_stft",), "stft", None
        self.seconds, self.factor = seconds, torch.nn.Parameter(torch.tensor(0.5))
        if pids:
            (Path(pids) / str(os.getpid())).touch()

    def generate(self, cond, *, sampling=None, noise=None, callback=None) -> Tensor:
        time.sleep(self.seconds)
        if cond["noisy_stft"].abs().max() > LOUD:
            os.kill(os.getpid(), signal.SIGKILL)
        return cond["noisy_stft"] * self.factor


def deadly_method(folder: Path, seconds: float = 0.0, pids: Path | None = None) -> Path:
    """A folder with this method, which is loaded with `trust=True`."""
    settings = config()
    init = settings["init_args"]
    init["level"] = {"kind": "none"}
    init["head"] = {
        "class_path": "tests.scale.deadly.Deadly",
        "init_args": {"seconds": seconds, "pids": str(pids) if pids else ""},
    }
    if pids is not None:
        pids.mkdir(parents=True, exist_ok=True)
    return write_folder(folder, settings, build(settings, trust=True).state_dict())


def corpus(folder: Path, count: int, deadly: int = 0, samples: int = 1600) -> Path:
    """`count` clips that are good, of different lengths, in two folders, and `deadly` ones."""
    for number in range(count):
        place = folder / f"speaker{number % 2}" / f"{number:04d}.wav"
        place.parent.mkdir(parents=True, exist_ok=True)
        wav = 0.1 * noise_like_speech(samples + 16 * (number % 50), number)
        soundfile.write(place, wav, 16000)
    for number in range(deadly):
        soundfile.write(folder / f"deadly{number}.wav", np.full(samples, 0.99, np.float32), 16000)
    return folder
