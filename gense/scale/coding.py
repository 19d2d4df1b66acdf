"""Audio from bytes and to bytes, the same bytes for the same samples."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np

from gense import audio
from gense.opening import reason

_BACKWARDS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_MAGIC = (
    (b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"),
    (b"\xff\xf3", ".mp3"), (b"FORM", ".aiff"), (b"riff", ".w64"), (b"caff", ".caf"), (b".snd", ".au"),
)  # fmt: skip


def decode(data: bytes, name: str) -> tuple[np.ndarray, int]:
    """Decode an audio file as float32 (S, C), full scale 1, and its rate in Hz, with the checks of `audio.read`.

    Args:
        data: the file.
        name: for messages.

    Raises:
        ValueError: it is empty, no audio, cut off, beyond the limits, or holds no samples.
    """
    return audio.read(io.BytesIO(data), name=name)


def encode(wav: np.ndarray, sample_rate: int, key: str, *, like: bytes | None = None) -> bytes:
    """Encode float (S, C) or (S,), full scale 1, as an audio file: equal samples give equal bytes.

    Args:
        wav: integer formats clip at full scale.
        sample_rate: Hz.
        key: its suffix names the format.
        like: an audio file whose sample format is kept where the new format has it.

    Raises:
        ValueError: unknown suffix, or a rate or channel count that the format does not take.
    """
    import soundfile

    kind, subtype = audio.format_of(key, None if like is None else io.BytesIO(like))
    file = io.BytesIO()
    try:
        soundfile.write(file, wav, sample_rate, subtype=subtype, format=kind)
    except (soundfile.LibsndfileError, ValueError) as error:
        channels = wav.shape[1] if wav.ndim == 2 else 1
        raise ValueError(
            f"{key}: cannot be written as {kind} {subtype} at {sample_rate} Hz with {channels} channels "
            f"({reason(error)}); use .wav"
        ) from error
    return steady(file.getvalue())


def suffix_of(data: bytes) -> str:
    """The suffix that goes with an audio file, told from its first bytes; ".wav" for what is unknown."""
    if data.startswith(b"OggS") and b"OpusHead" in data[:64]:
        return ".opus"
    return next((suffix for magic, suffix in _MAGIC if data.startswith(magic)), ".wav")


def steady(data: bytes) -> bytes:
    """Take out of an audio file what changes from one writing to the next, though the samples are the same.

    libsndfile puts the time into the PEAK chunk of WAV and AIFF files of floating-point samples, and a random number
    into every page of Ogg files. The time becomes 0 and the number 1.
    """
    if data.startswith((b"RIFF", b"FORM", b"RIFX")):
        return _without_time(data)
    return _renumbered(data) if data.startswith(b"OggS") else data


def _without_time(data: bytes) -> bytes:
    """Set the time stamp of the PEAK chunk to 0. Chunks: a name of 4 bytes, a length of 4, that many bytes, made even.

    PEAK holds a version of 4 bytes before the time.
    """
    length = struct.Struct("<I" if data.startswith(b"RIFF") else ">I")
    at = 12
    while at + 16 <= len(data):
        name, size = data[at : at + 4], length.unpack_from(data, at + 4)[0]
        if name == b"PEAK":
            return data[: at + 12] + bytes(4) + data[at + 16 :]
        if name in (b"data", b"SSND"):
            break
        at += 8 + size + size % 2
    return data


def _renumbered(data: bytes) -> bytes:
    """Set the serial number of an Ogg stream to 1, and the checksum of every page to what it is then.

    A page (RFC 3533): 26 bytes of header with the serial number at 14 and the checksum at 22, the number of segments,
    their lengths, their bytes. Several streams in one file would have to keep different numbers; libsndfile writes one.
    """
    pages, at = [], 0
    while at + 27 <= len(data) and data.startswith(b"OggS", at):
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        page = bytearray(data[at:end])
        page[14:18] = struct.pack("<I", 1)
        page[22:26] = bytes(4)
        page[22:26] = struct.pack("<I", _ogg_checksum(bytes(page)))
        pages.append(bytes(page))
        at = end
    return b"".join(pages) + data[at:]


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 with the polynomial 0x04c11db7 from the highest bit on, beginning with 0.

    zlib's has the same polynomial from the lowest bit on, beginning with all ones and inverted at the end: with the
    bits of every byte turned round, and those two undone, its result is this one with its bits turned round.
    """
    mirrored = zlib.crc32(page.translate(_BACKWARDS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
