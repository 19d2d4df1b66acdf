"""Sound and spectrograms as data that a page carries inside itself."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from gense.audio import read, resample
from gense.spectrogram import HOP_SECONDS, colour_range, decibels

SECONDS = 10.0
"""Longest stretch that is shown of a file."""

_SHADES = 48  # Steps of 1.4 dB, which no eye tells apart, and half the bytes of 256
_COLUMNS, _ROWS = 640, 192  # Largest picture, in pixels
# From black through violet and red to pale yellow, ever brighter: (position, red, green, blue)
_COLOURS = np.array([
    (0.0, 6, 6, 18), (0.2, 44, 18, 88), (0.4, 120, 32, 120), (0.6, 204, 62, 92), (0.8, 246, 146, 84),
    (1.0, 252, 246, 190),
])  # fmt: skip


@dataclass(frozen=True)
class Panel:
    """One signal of an example.

    Attributes:
        picture: the spectrogram as a data URI; "" where the signal is too short for one.
        audio: FLAC as a data URI.
        seconds: length of the sound.
    """

    picture: str
    audio: str
    seconds: float


@dataclass(frozen=True)
class Excerpt:
    """The signals of a file over the same stretch of time.

    Attributes:
        panels: by what the signals are, in the order given.
        missing: signals that could not be read -> why.
        start: of the stretch, seconds.
        seconds: width of the pictures.
        whole: length of the longest signal, seconds.
        kilohertz: height of the pictures.
    """

    panels: dict[str, Panel]
    missing: dict[str, str]
    start: float = 0.0
    seconds: float = 0.0
    whole: float = 0.0
    kilohertz: float = 0.0


def excerpt(paths: Mapping[str, Path | None]) -> Excerpt:
    """Read the signals of one file, and cut them to the 10 s in which the first two differ most.

    Channels are averaged. A signal that cannot be read, or has samples that are not finite, is missing.

    Args:
        paths: by what the signals are; None is left out.
    """
    waves: dict[str, tuple[np.ndarray, int]] = {}
    missing: dict[str, str] = {}
    for name, path in paths.items():
        if path is None:
            continue
        try:
            wave, rate = read(path)
        except FileNotFoundError:
            missing[name] = "the file is not there any more"
        except (ValueError, OSError) as error:
            # Without the path, which may tell more of the machine than the reader of a report should know
            said = getattr(error, "strerror", None) or str(error).removeprefix(f"{path}: ")
            missing[name] = said or type(error).__name__
        else:
            if np.isfinite(wave).all():
                waves[name] = (wave.mean(axis=1), rate)
            else:
                missing[name] = "it has samples that are NaN or infinite"
    if not waves:
        return Excerpt({}, missing)
    whole = max(len(wave) / rate for wave, rate in waves.values())
    start = _start(list(waves.values())) if whole > SECONDS else 0.0
    cut = {
        name: (wave[round(start * rate) : round((start + SECONDS) * rate)], rate)
        for name, (wave, rate) in waves.items()
    }
    cut = {name: (wave, rate) for name, (wave, rate) in cut.items() if len(wave)}
    missing |= {name: "it ends before this stretch" for name in waves if name not in cut}
    seconds = max(len(wave) / rate for wave, rate in cut.values())
    kilohertz = max(rate for _, rate in cut.values()) / 2000
    pictures = _pictures(cut)
    panels = {
        name: Panel(pictures.get(name, ""), _audio(wave, rate), len(wave) / rate) for name, (wave, rate) in cut.items()
    }
    return Excerpt(panels, missing, start, seconds, whole, kilohertz)


def _start(waves: list[tuple[np.ndarray, int]]) -> float:
    """Start of the 10 s in which the first two signals differ most, by energy; of one signal, of the loudest 10 s."""
    first, rate = waves[0]
    if len(waves) > 1:
        second = resample(waves[1][0], waves[1][1], rate)
        length = min(len(first), len(second))
        first = first[:length] - second[:length]
    energy = np.concatenate([[0.0], np.cumsum(np.square(first, dtype=np.float64))])
    width = round(SECONDS * rate)
    if len(energy) <= width:
        return 0.0
    return float(np.argmax(energy[width:] - energy[:-width])) / rate


def _audio(wave: np.ndarray, rate: int) -> str:
    """FLAC of 16 bits: without loss, half the size of WAV, and played by every browser of today."""
    import soundfile

    buffer = BytesIO()
    soundfile.write(buffer, wave, rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _pictures(waves: Mapping[str, tuple[np.ndarray, int]]) -> dict[str, str]:
    """Spectrograms with common axes and a common colour scale; of the signals that are long enough for one."""
    levels = {}
    for name, (wave, rate) in waves.items():
        try:
            levels[name] = decibels(wave, rate)
        except ValueError:
            continue
    if not levels:
        return {}
    bottom, top = colour_range(list(levels.values()))
    width = round(max(len(wave) / rate for wave, rate in waves.values()) / HOP_SECONDS) + 1
    height = max(level.shape[0] for level in levels.values())
    pictures = {}
    for name, level in levels.items():
        # What a signal does not have, because it is shorter or of a lower rate, is as dark as silence
        shades = np.zeros((height, max(width, level.shape[1])))
        shades[: level.shape[0], : level.shape[1]] = (level - bottom) / (top - bottom)
        shades = _shrunk(_shrunk(np.clip(shades, 0, 1), _ROWS).T, _COLUMNS).T
        pictures[name] = f"data:image/png;base64,{base64.b64encode(_png(shades[::-1])).decode()}"
    return pictures


def _shrunk(values: np.ndarray, most: int) -> np.ndarray:
    """Average neighbouring rows, so that no more than `most` are left."""
    if len(values) <= most:
        return values
    edges = np.linspace(0, len(values), most + 1).astype(int)
    return np.add.reduceat(values, edges[:-1], axis=0) / np.diff(edges)[:, None]


def _png(shades: np.ndarray) -> bytes:
    """A picture of indexed colours from values between 0 and 1 (PNG specification, W3C 2003, sections 5 and 11)."""
    rows, columns = shades.shape
    indices = np.round(shades * (_SHADES - 1)).astype(np.uint8)
    lines = np.concatenate([np.zeros((rows, 1), np.uint8), indices], axis=1)  # Each line begins with filter 0: none
    positions = np.linspace(0, 1, _SHADES)
    palette = np.stack([np.interp(positions, _COLOURS[:, 0], _COLOURS[:, c]) for c in (1, 2, 3)], axis=1)
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.round().astype(np.uint8).tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
