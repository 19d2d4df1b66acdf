"""A small trained-model folder and short audio for tests of the front door."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gense.checkpoints.build import build
from gense.checkpoints.folder import write_folder

_CONFIG: dict[str, Any] = {
    "class_path": "gense.Enhancer",
    "init_args": {
        "sample_rate": 16000,
        "level": {"kind": "rms"},
        "chunking": {"seconds": 2.0, "overlap": 0.5, "batch": 2},
        "representations": {
            "stft": {
                "class_path": "gense.representations.CompressedSTFT",
                "init_args": {"frames_multiple": 4, "pad_mode": "reflect"},
            }
        },
        "head": {
            "class_path": "gense.heads.PathHead",
            "init_args": {
                "target": "stft",
                "predicts": "data",
                "anchor": "noisy_stft",
                "condition": ["noisy_stft"],
                "process": {"class_path": "gense.processes.OrnsteinUhlenbeck"},
                "backbone": {
                    "class_path": "gense.backbones.UNet",
                    "init_args": {"channels": [8, 16], "blocks": 1, "time_dim": 16},
                },
                "sampling": {"sampler": "euler", "steps": 2},
            },
        },
    },
}


def config() -> dict[str, Any]:
    """A method's configuration that a test may change."""
    return copy.deepcopy(_CONFIG)


def head(settings: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the head inside a configuration."""
    return settings["init_args"]["head"]["init_args"]


def write_model(folder: Path, settings: dict[str, Any] | None = None) -> Path:
    """Write a model with random weights that leave a mark on their input."""
    torch.manual_seed(0)
    enhancer = build(settings or config())
    for parameter in enhancer.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    return write_folder(folder, settings or config(), enhancer.state_dict())


def noise_like_speech(samples: int, seed: int = 0, channels: int = 0) -> np.ndarray:
    """Bursts of low-passed noise, float32, peak 0.5: (samples,), or (channels, samples) if channels are given."""
    rng = np.random.default_rng(seed)
    wav = rng.standard_normal((max(channels, 1), samples))
    wav = np.apply_along_axis(lambda x: np.convolve(x, np.hanning(9) / 4, mode="same"), 1, wav)
    wav = wav * (0.6 + 0.4 * np.sin(2 * np.pi * np.arange(samples) / 4000))
    wav = (0.5 * wav / np.abs(wav).max(axis=1, keepdims=True)).astype(np.float32)
    return wav if channels else wav[0]
