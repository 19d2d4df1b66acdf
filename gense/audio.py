"""Reading, writing, resampling and level of audio."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch
from torch import Tensor

from gense.limits import Limits
from gense.opening import AudioFile, reason

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
        low, high = torch.aminmax(wav, dim=-1, keepdim=True)
        # In double precision, as an hour of squares overflows float32's 24 bits of significand, and in blocks, as a
        # copy of that hour in double precision would be the largest thing in memory
        blocks = wav.split(_BLOCK, dim=-1) if self.kind == "rms" else ()
        squares = sum((b.double().square().sum(dim=-1, keepdim=True) for b in blocks), torch.zeros(()).to(wav))
        scale = self.of(torch.maximum(-low, high), squares / wav.shape[-1])
        if training and self.jitter_db and self.kind != "none":
            decibels = (2 * torch.rand_like(scale) - 1) * self.jitter_db
            scale = scale * 10 ** (decibels / 20)
        return torch.where(scale > torch.finfo(wav.dtype).tiny, scale, torch.ones_like(scale))

    def of(self, peak: Tensor, mean_square: Tensor) -> Tensor:
        """What to divide by whose largest absolute sample and mean square are known; in the peak's shape and type."""
        if self.kind == "none":
            return torch.ones_like(peak)
        scale = peak
        if self.kind == "rms":
            scale = (mean_square.sqrt() / 10 ** (self.target_db / 20)).to(peak.dtype)
        return torch.where(scale > torch.finfo(peak.dtype).tiny, scale, torch.ones_like(scale))


def resample(wav: np.ndarray, rate_in: int, rate_out: int) -> np.ndarray:
    """Resample (S,) or (S, C) with soxr's very high quality; equal rates return the input itself."""
    if rate_in == rate_out:
        return wav
    import soxr

    return soxr.resample(wav, rate_in, rate_out, quality="VHQ")


def read(
    source: str | os.PathLike[str] | BinaryIO, *, name: str | None = None, limits: Limits | None = None
) -> tuple[np.ndarray, int]:
    """Read audio as float32 (S, C), full scale 1, and its rate in Hz.

    Args:
        source: a path, or a binary file object that can seek (`io.BytesIO` around bytes), which is read from its
            beginning, whatever its position, and stays open.
        name: what messages call it; None takes the path, or "audio" for a file object.
        limits: what the file may announce; None takes those of the environment, see `Limits`.

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: a file object in text mode.
        ValueError: it is empty, no audio, cut off, beyond the limits, or holds no samples.
    """
    with AudioFile(source, name=name, limits=limits) as file:
        file.limits.check_memory(file.name, frames=file.frames or 0, channels=file.channels)
        wav = np.empty((0, file.channels), dtype=np.float32)
        filled = 0
        for block in file.blocks():
            end = filled + len(block)
            file.limits.check_memory(file.name, frames=end, channels=file.channels)
            if end > len(wav):
                # Memory follows what has been decoded, never what is announced; an eighth more at a time, so that the
                # copying that some systems do on growth stays in proportion
                wav.resize((max(end, len(wav) + len(wav) // 8), file.channels), refcheck=False)
            wav[filled:end] = block
            filled = end
        wav.resize((filled, file.channels), refcheck=False)
    return wav, file.rate


def check_writable(
    path: str | os.PathLike[str],
    sample_rate: int,
    channels: int,
    *,
    like: str | os.PathLike[str] | BinaryIO | None = None,
) -> None:
    """Find out before any work whether `write` will do, by writing a few samples to a temporary file.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
        OSError: the folder is missing or cannot be written, or the name is that of a folder.
    """
    with writing(path, sample_rate, channels, like=like, keep=False) as put:
        put(np.zeros((64, channels), dtype=np.float32))


def write(
    path: str | os.PathLike[str],
    wav: np.ndarray,
    sample_rate: int,
    *,
    like: str | os.PathLike[str] | BinaryIO | None = None,
) -> Path:
    """Write float (S, C) or (S,) as an audio file, whole or not at all; integer formats clip at full scale.

    Args:
        path: the suffix names the format.
        wav: full scale 1.
        sample_rate: Hz.
        like: an audio file, as `read` takes it, whose sample format is kept where the new file's format has it.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
        OSError: the folder is missing or cannot be written, or the name is that of a folder.
    """
    with writing(path, sample_rate, wav.shape[1] if wav.ndim == 2 else 1, like=like) as put:
        put(wav)
    return Path(path)


@contextlib.contextmanager
def writing(
    path: str | os.PathLike[str],
    sample_rate: int,
    channels: int,
    *,
    like: str | os.PathLike[str] | BinaryIO | None = None,
    keep: bool = True,
) -> Iterator[Callable[[np.ndarray], None]]:
    """Write an audio file block by block: it appears under its name when the `with` ends without an error.

    Args:
        path: the suffix names the format.
        sample_rate: Hz.
        channels: how many.
        like: an audio file, as `read` takes it, whose sample format is kept where the new file's format has it.
        keep: False leaves no file.

    Yields:
        A function that writes the next float (S, C), or (S,) of one channel; integer formats clip at full scale.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
        OSError: the folder is missing or cannot be written, the name is that of a folder, or the disk is full.
    """
    import soundfile

    path = Path(path)
    kind, subtype = _format(path, like)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    about = f"{path}: cannot be written as {kind} {subtype} at {sample_rate} Hz with {channels} channels"
    with contextlib.ExitStack() as stack:
        stack.callback(temporary.unlink, missing_ok=True)
        with _told(path, about):
            file = soundfile.SoundFile(str(temporary), "w", sample_rate, channels, subtype, format=kind)
        stack.callback(file.close)

        def put(block: np.ndarray) -> None:
            with _told(path, about):
                file.write(block)

        yield put
        with _told(path, about):
            file.close()
        if keep:
            temporary.replace(path)


def format_of(
    path: str | os.PathLike[str], like: str | os.PathLike[str] | BinaryIO | None = None
) -> tuple[str, str]:
    """The format and sample format, as libsndfile calls them ("WAV", "PCM_16"), of a file of this name.

    Args:
        path: the suffix names the format; nothing need be there.
        like: an audio file, as `read` takes it, whose sample format is kept where the new file's format has it.

    Raises:
        ValueError: unknown suffix, or `like` is no audio.
    """
    import soundfile

    suffix = Path(path).suffix
    kind = suffix[1:].upper()
    kind = {"AIF": "AIFF", "OPUS": "OGG"}.get(kind, kind)
    if kind not in soundfile.available_formats() or kind == "RAW":
        raise ValueError(f"{path}: unknown audio format {suffix!r}; use .wav, .flac, .ogg or .mp3")
    subtype = "OPUS" if suffix.lower() == ".opus" else soundfile.default_subtype(kind)
    if like is not None:
        with AudioFile(like) as given:
            # libsndfile says that WAV takes the samples of MP3, and then cannot write them
            kept = soundfile.check_format(kind, given.subtype) and (kind == "MP3") == given.subtype.startswith("MPEG")
            subtype = given.subtype if kept else subtype
    return kind, subtype


def _format(path: Path, like: str | os.PathLike[str] | BinaryIO | None) -> tuple[str, str]:
    """The format and sample format of a file that can be written here."""
    kind, subtype = format_of(path, like)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path}: the folder cannot be written")
    return kind, subtype


@contextlib.contextmanager
def _told(path: Path, about: str) -> Iterator[None]:
    """Say in gense's words why a file cannot be written."""
    import soundfile

    try:
        yield
    except (soundfile.LibsndfileError, ValueError, AssertionError) as error:
        # Code 2 stands for an error of the system; the assertion is soundfile's, where less was written than it gave
        if isinstance(error, AssertionError) or getattr(error, "code", 0) == 2:
            raise OSError(f"{path}: cannot be written to its end; is the disk full?") from error
        raise ValueError(f"{about} ({reason(error)}); use .wav") from error
