"""Reading, writing, resampling and level of audio."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Level:
    """Input level that a model was trained on: every item is brought to it as a whole, and back afterwards.

    Args:
        kind: "peak": the largest absolute sample becomes 1; "rms": the root mean square becomes `target_db`;
            "none": the input is left alone.
        target_db: dB relative to full scale, for "rms".
        jitter_db: training only: the level is drawn uniformly within +- this many dB, because the level of a crop
            differs from that of the file it was cut from.

    Raises:
        ValueError: unknown kind.
    """

    kind: Literal["peak", "rms", "none"] = "peak"
    target_db: float = -20.0
    jitter_db: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("peak", "rms", "none"):
            raise ValueError(f"kind={self.kind!r}: expected peak, rms or none")

    def scale(self, wav: Tensor, *, training: bool = False) -> Tensor:
        """Return what to divide each item of (B, S) by, (B, 1), at least the smallest normal float; 1 for silence."""
        if self.kind == "none":
            return wav.new_ones(wav.shape[0], 1)
        if self.kind == "peak":
            scale = wav.abs().amax(dim=-1, keepdim=True)
        else:
            # The mean in double precision: an hour of squares overflows float32's 24 bits of significand
            mean_square = wav.double().square().mean(dim=-1, keepdim=True)
            scale = (mean_square.sqrt() / 10 ** (self.target_db / 20)).to(wav.dtype)
        if training and self.jitter_db:
            decibels = (2 * torch.rand_like(scale) - 1) * self.jitter_db
            scale = scale * 10 ** (decibels / 20)
        return torch.where(scale > torch.finfo(wav.dtype).tiny, scale, torch.ones_like(scale))


def resample(wav: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Resample (S,) or (S, C) with soxr's very high quality; equal rates return the input itself."""
    if rate_in == rate_out:
        return wav
    import soxr

    return soxr.resample(wav, rate_in, rate_out, quality="VHQ")


def read(path: str | os.PathLike[str]) -> tuple[np.ndarray, int]:
    """Read an audio file as float32 (S, C), full scale 1, and its rate in Hz.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, no audio, cut off, or holds no samples.
    """
    import soundfile

    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give audio files, or use the command line, which walks folders")
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes)")
    try:
        with soundfile.SoundFile(str(path)) as file:
            announced, rate = file.frames, file.samplerate
            wav = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise ValueError(f"{path}: cannot be read as audio ({error})") from error
    if len(wav) == 0:
        raise ValueError(f"{path}: the file holds no samples")
    if len(wav) < announced:
        raise ValueError(f"{path}: cut off after {len(wav)} of {announced} samples")
    return wav, rate


def write(path: str | os.PathLike[str], wav: np.ndarray, sample_rate: int, *, like: str | os.PathLike[str] | None = None) -> Path:
    """Write float (S, C) or (S,) as an audio file, whole or not at all; integer formats clip at full scale.

    Args:
        path: the suffix names the format.
        wav: full scale 1.
        sample_rate: Hz.
        like: an audio file whose sample format is kept where the new file's format has it.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
        OSError: the folder is missing or cannot be written.
    """
    import soundfile

    path = Path(path)
    kind = path.suffix[1:].upper()
    kind = {"AIF": "AIFF", "OPUS": "OGG"}.get(kind, kind)
    if kind not in soundfile.available_formats():
        raise ValueError(f"{path}: unknown audio format {path.suffix!r}; use .wav, .flac, .ogg or .mp3")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into")
    subtype = "OPUS" if path.suffix.lower() == ".opus" else soundfile.default_subtype(kind)
    if like is not None:
        given = soundfile.info(str(like)).subtype
        subtype = given if soundfile.check_format(kind, given) else subtype
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        soundfile.write(str(temporary), wav, sample_rate, subtype=subtype, format=kind)
        temporary.replace(path)
    except soundfile.LibsndfileError as error:
        if not os.access(path.parent, os.W_OK):
            raise PermissionError(f"{path}: the folder cannot be written") from error
        raise ValueError(f"{path}: cannot be written as {kind} {subtype} at {sample_rate} Hz ({error})") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path
