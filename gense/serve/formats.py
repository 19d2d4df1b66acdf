"""The audio formats that go in and out: their names, their types in HTTP, what a header says, and bytes of them."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

from gense.limits import Limits
from gense.opening import AudioFile, reason
from gense.serve.limits import RefusedError, ServerLimits

NAME = "the audio"
"""How messages call what a client sent."""
_UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT
_BLOCK = 1 << 16
_LAYER_3 = "MPEG_LAYER_III"
# The header is only looked at here; what is too much is refused below, each with a status of its own
_OPEN = Limits(
    min_rate=1, max_rate=2**31, max_channels=2**16, max_seconds=math.inf, max_samples=2**63, max_expansion=math.inf
)


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        kind: as libsndfile calls it.
        type: of the answer, for HTTP.
        subtype: of the samples, where it is the only one; None takes that of the input, or libsndfile's default.
    """

    kind: str
    type: str
    subtype: str | None = None


FORMATS = {
    "wav": Format("WAV", "audio/wav"),
    "flac": Format("FLAC", "audio/flac"),
    "ogg": Format("OGG", "audio/ogg", "VORBIS"),
    "opus": Format("OGG", "audio/ogg", "OPUS"),
    "mp3": Format("MP3", "audio/mpeg", _LAYER_3),
    "aiff": Format("AIFF", "audio/aiff"),
    "w64": Format("W64", "audio/x-w64"),
    "caf": Format("CAF", "audio/x-caf"),
    "au": Format("AU", "audio/basic"),
}
"""What `?format=` may be."""
TYPES = {
    *(one.type for one in FORMATS.values()), "audio/wave", "audio/x-wav", "audio/vnd.wave", "audio/x-pn-wav",
    "audio/x-flac", "application/ogg", "audio/opus", "audio/vorbis", "audio/mp3", "audio/x-mpeg", "audio/x-aiff",
    "audio/x-au", "audio/au", "audio/w64", "application/octet-stream",
}  # fmt: skip
"""What `Content-Type` may be. The format itself is told from the content."""


@dataclass(frozen=True)
class Header:
    """What the header of a recording says.

    Attributes:
        format: a key of `FORMATS`.
        subtype: of the samples, as libsndfile calls it.
        rate: Hz.
        channels: how many.
        frames: samples of each channel.
    """

    format: str
    subtype: str
    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """Length of the recording."""
        return self.frames / self.rate


def check_type(content_type: str | None) -> None:
    """Refuse a `Content-Type` that is no audio.

    Web pages of other origins may send a few types (forms, plain text, none) without asking the server; none of these
    passes.

    Raises:
        RefusedError: 415.
    """
    given = (content_type or "").split(";", 1)[0].strip().lower()
    if given not in TYPES:
        what = f"Content-Type {given!r} is not taken" if given else "there is no Content-Type"
        raise RefusedError(
            415,
            f"{what}: send the bytes of an audio file as the body, with Content-Type audio/wav, audio/flac, audio/ogg, "
            "audio/mpeg or application/octet-stream",
        )


def read_header(body: BinaryIO, limits: ServerLimits) -> Header:
    """Find out what was sent, before anything is allocated for it; decodes nothing unless the length is not told.

    Raises:
        RefusedError: 415 no audio format, 422 damaged or impossible, 413 too long.
    """
    try:
        with AudioFile(body, name=NAME, limits=_OPEN) as file:
            name = _name(file.format, file.subtype)
            rate, channels, most = file.rate, file.channels, limits.max_seconds * file.rate
            if not limits.min_rate <= rate <= limits.max_rate:
                raise RefusedError(
                    422, f"a sampling rate of {rate} Hz: this server takes {limits.min_rate} to {limits.max_rate} Hz"
                )
            if channels > limits.max_channels:
                raise RefusedError(422, f"{channels} channels: this server takes at most {limits.max_channels}")
            frames = 0 if file.frames is None else file.frames
            if file.frames is None:  # written into a pipe: counted, and forgotten block by block
                for block in file.blocks():
                    frames += len(block)
                    if frames > most:
                        break
            if frames > most:
                raise RefusedError(
                    413,
                    f"lasts {frames / rate:.0f} s or more: this server takes at most {limits.max_seconds:g} s; cut the "
                    "recording, or enhance it as a file with gense enhance",
                )
            if frames <= 0:
                raise RefusedError(422, f"{NAME} holds no samples")
            return Header(name, file.subtype, rate, channels, frames)
    except ValueError as error:
        unknown = getattr(error.__cause__, "code", None) == _UNRECOGNISED
        raise RefusedError(415 if unknown else 422, str(error)) from error


def _name(kind: str, subtype: str) -> str:
    if kind == "OGG":
        return "opus" if subtype == "OPUS" else "ogg"
    kind = {"WAVEX": "WAV", "RF64": "WAV"}.get(kind, kind)
    for name, known in FORMATS.items():
        if known.kind == kind:
            return name
    raise RefusedError(415, f"the format {kind} is not taken: send one of {', '.join(FORMATS)}")


def check_encodable(name: str, header: Header) -> None:
    """Find out before any work whether a format takes a recording's rate and channels.

    Raises:
        RefusedError: 422.
    """
    try:
        encode(np.zeros((64, header.channels), np.float32), header.rate, name, header.subtype)
    except ValueError as error:
        raise RefusedError(422, str(error)) from error


def encode(wav: np.ndarray, rate: int, name: str, subtype: str) -> bytes:
    """Bytes of a file in the format `name`.

    Args:
        wav: (S, C), full scale 1; integer formats clip there.
        rate: Hz.
        name: a key of `FORMATS`.
        subtype: of samples, kept where the format has it.

    Raises:
        ValueError: the format does not take this rate or number of channels.
    """
    import soundfile

    chosen = FORMATS[name]
    if chosen.subtype is not None:
        subtype = chosen.subtype
    elif subtype == _LAYER_3 or not soundfile.check_format(chosen.kind, subtype):
        # libsndfile says that it has layer III in WAV, which it can read only
        subtype = soundfile.default_subtype(chosen.kind)
    out = io.BytesIO()
    try:
        with soundfile.SoundFile(out, "w", rate, wav.shape[1], subtype, format=chosen.kind) as file:
            for start in range(0, len(wav), _BLOCK):  # libvorbis lays a whole call's samples on the stack
                file.write(wav[start : start + _BLOCK])
    except (soundfile.LibsndfileError, ValueError) as error:
        raise ValueError(
            f"cannot be written as {name} at {rate} Hz with {wav.shape[1]} channels ({reason(error)}); ask for "
            "format=wav"
        ) from error
    return out.getvalue()
