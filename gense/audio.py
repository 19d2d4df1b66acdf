"""Reading, writing, resampling and level of audio."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Level:
    """A level to which every item is brought as a whole: a model's input before, or its output afterwards.

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
            low, high = torch.aminmax(wav, dim=-1, keepdim=True)
            scale = torch.maximum(-low, high)
        else:
            # In double precision, as an hour of squares overflows float32's 24 bits of significand, and in blocks, as a
            # copy of that hour in double precision would be the largest thing in memory
            blocks = wav.split(_BLOCK, dim=-1)
            squares = sum((b.double().square().sum(dim=-1, keepdim=True) for b in blocks), torch.zeros(()).to(wav))
            scale = ((squares / wav.shape[-1]).sqrt() / 10 ** (self.target_db / 20)).to(wav.dtype)
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


# How libsndfile's log tells of a file that holds less than its header says: "data : 96000 (should be 47978)"
_SHORT = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be \d+\)$", re.MULTILINE)
_OGG_END_MISSING = ("Last page lacks an end-of-stream bit", "Junk after the last page")
# Programs that write to a pipe cannot know the length and put a number near 2^31 or 2^32 there
_UNKNOWN_LENGTH = 2**31 - 2**16


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
            announced, rate, log = file.frames, file.samplerate, file.extra_info
            wav = file.read(dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:  # TypeError: headerless .raw
        raise ValueError(
            f"{path}: cannot be read as audio ({_reason(error)}); is it cut off, or another kind of file?"
        ) from error
    short = any(int(length) < _UNKNOWN_LENGTH for length in _SHORT.findall(log))
    if len(wav) < announced or short or any(sign in log for sign in _OGG_END_MISSING):
        raise ValueError(
            f"{path}: cut off, its end is missing after {len(wav) / rate:.2f} s; get a whole copy, or save what is "
            "there as a new file"
        )
    if len(wav) == 0:
        raise ValueError(f"{path}: the file holds no samples")
    return wav, rate


def check_writable(
    path: str | os.PathLike[str], sample_rate: int, channels: int, *, like: str | os.PathLike[str] | None = None
) -> None:
    """Find out before any work whether `write` will do, by writing a few samples to a temporary file.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
        OSError: the folder is missing or cannot be written, or the name is that of a folder.
    """
    path = Path(path)
    try:
        _write_temporary(path, np.zeros((64, channels), dtype=np.float32), sample_rate, like)
    finally:
        _discard(path)


def write(
    path: str | os.PathLike[str], wav: np.ndarray, sample_rate: int, *, like: str | os.PathLike[str] | None = None
) -> Path:
    """Write float (S, C) or (S,) as an audio file, whole or not at all; integer formats clip at full scale.

    Args:
        path: the suffix names the format.
        wav: full scale 1.
        sample_rate: Hz.
        like: an audio file whose sample format is kept where the new file's format has it.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
        OSError: the folder is missing or cannot be written, or the name is that of a folder.
    """
    path = Path(path)
    try:
        _write_temporary(path, wav, sample_rate, like)
        _temporary(path).replace(path)
    finally:
        _discard(path)
    return path


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        _temporary(path).unlink()


def _write_temporary(path: Path, wav: np.ndarray, sample_rate: int, like: str | os.PathLike[str] | None) -> None:
    """Write what is to become `path` under its temporary name."""
    import soundfile

    kind = path.suffix[1:].upper()
    kind = {"AIF": "AIFF", "OPUS": "OGG"}.get(kind, kind)
    if kind not in soundfile.available_formats() or kind == "RAW":
        raise ValueError(f"{path}: unknown audio format {path.suffix!r}; use .wav, .flac, .ogg or .mp3")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path}: the folder cannot be written")
    subtype = "OPUS" if path.suffix.lower() == ".opus" else soundfile.default_subtype(kind)
    if like is not None:
        given = soundfile.info(str(like)).subtype
        subtype = given if soundfile.check_format(kind, given) else subtype
    try:
        soundfile.write(str(_temporary(path)), wav, sample_rate, subtype=subtype, format=kind)
    except (soundfile.LibsndfileError, ValueError) as error:
        channels = wav.shape[1] if wav.ndim == 2 else 1
        raise ValueError(
            f"{path}: cannot be written as {kind} {subtype} at {sample_rate} Hz with {channels} channels "
            f"({_reason(error)}); use .wav"
        ) from error


def _reason(error: Exception) -> str:
    """libsndfile's words without its prefix and the file's name."""
    return getattr(error, "error_string", str(error)).strip().removeprefix("Error : ").rstrip(".")
