"""Input and output side by side, frame by frame: what the checks on signals read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gense.audio import resample

RATE = 16000
WIDTH, HOP = 1024, 256
SECONDS = HOP / RATE
"""From frame to frame; frame t has its middle at t SECONDS."""
BANDS = 20
MARGIN = 4.0
"""Power by which a cell of the output may exceed the input's: noise can cancel speech in a cell of the input."""
_BLOCK = 4096
_EMPTY = 1e-10


@dataclass(frozen=True)
class Frames:
    """Both signals at one level.

    Attributes:
        seconds: length of the signals.
        output: power of the output, full scale 1, (T,).
        input: power of the input, (T,).
        unexplained: power of the output that its input has not, over all cells of the spectrogram, (T,).
        output_bands: dB in bands that are narrow at low frequencies and wide at high ones, (T, BANDS).
        input_bands: the same of the input, (T, BANDS).
        voicing: of the input, 0 to 1: how periodic it is at the pitches of voices, (T,).
    """

    seconds: float
    output: np.ndarray
    input: np.ndarray
    unexplained: np.ndarray
    output_bands: np.ndarray
    input_bands: np.ndarray
    voicing: np.ndarray

    @property
    def active(self) -> float:
        """Power of active output: the 95th percentile of the frames that are not empty; 1 where all are."""
        heard = self.output[self.output > 1e-9]
        return float(np.percentile(heard, 95)) if heard.size else 1.0


def frames_of(output: np.ndarray, source: np.ndarray, sample_rate: int) -> Frames:
    """Analyse two signals (S,) in frames of 64 ms every 16 ms, in blocks, so that memory hardly grows with length.

    A method may bring its output to a level of its own, so the output is first brought to the input's: by the lower
    quartile of the ratio in their strongest cells, where these agree upon one.
    """
    seconds = len(output) / sample_rate
    output, source = (resample(x.astype(np.float32, copy=False), sample_rate, RATE) for x in (output, source))
    output = output * np.float32(_gain(output, source))
    parts: list[list[np.ndarray]] = []
    bank = _bank()
    for y, x in zip(_blocks(output), _blocks(source), strict=True):
        y_power, x_power = _power(y), _power(x)
        smooth_y, smooth_x = _smoothed(y_power), _smoothed(x_power)
        unexplained = (smooth_y - MARGIN * smooth_x).clamp_min(0).sum(-1)
        y_power, x_power = y_power[1:-1], x_power[1:-1]
        values = (
            y_power.sum(-1), x_power.sum(-1), unexplained, _decibels(y_power @ bank), _decibels(x_power @ bank),
            _voicing(x[1:-1]),
        )
        parts.append([value.numpy() for value in values])
    return Frames(seconds, *(np.concatenate(part) for part in zip(*parts, strict=True)))


def _blocks(signal: np.ndarray) -> Iterator[Tensor]:
    """Windowed frames (T + 2, WIDTH) of a block: with a neighbour at each side, empty at the ends of the signal."""
    frames = len(signal) // HOP + 1
    padded = np.pad(signal, (WIDTH // 2 + HOP, WIDTH // 2 + 2 * HOP))
    window = torch.hann_window(WIDTH) / math.sqrt(WIDTH * 3 / 8)
    for first in range(0, frames, _BLOCK):
        count = min(_BLOCK, frames - first) + 2
        piece = torch.from_numpy(padded[first * HOP : (first + count - 1) * HOP + WIDTH])
        yield piece.unfold(0, WIDTH, HOP)[:count] * window


def _power(frames: Tensor) -> Tensor:
    """(T, WIDTH) -> (T, WIDTH / 2 + 1), whose sum over frequency is the power of the frame."""
    return torch.fft.rfft(frames).abs().square() * (2 / WIDTH)


def _smoothed(power: Tensor) -> Tensor:
    """Mean over 3 frames and 3 bins; the frames at both ends are used up."""
    return torch.nn.functional.avg_pool2d(power[None, None], 3, stride=1, padding=(0, 1))[0, 0]


def _bank() -> Tensor:
    hertz = torch.arange(WIDTH // 2 + 1) * (RATE / WIDTH)
    edges = torch.logspace(math.log10(300), math.log10(7200), BANDS + 1) - 200
    return ((hertz[:, None] >= edges[:-1]) & (hertz[:, None] < edges[1:])).float()


def _decibels(power: Tensor) -> Tensor:
    return 10 * torch.log10(power + _EMPTY)


def _voicing(frames: Tensor) -> Tensor:
    """Highest autocorrelation between 70 and 400 Hz of the frame between 80 and 2000 Hz, relative to lag 0."""
    hertz = torch.arange(WIDTH + 1) * (RATE / WIDTH / 2)
    heard = torch.fft.rfft(frames, 2 * WIDTH).abs().square() * ((hertz > 80) & (hertz < 2000))
    window = torch.fft.irfft(torch.fft.rfft(torch.hann_window(WIDTH), 2 * WIDTH).abs().square())
    lags = slice(RATE // 400, RATE // 70 + 1)
    correlation = torch.fft.irfft(heard)
    peak = (correlation[:, lags] / (window / window[0])[lags]).amax(-1)
    return (peak / (correlation[:, 0] + 1e-20)).clamp(0, 1)


def _gain(output: np.ndarray, source: np.ndarray) -> float:
    """What the output must be multiplied by to have the input's level; 1 where its strongest cells tell none."""
    whole = len(output) // HOP * HOP
    level = np.square(output[:whole].reshape(-1, HOP), dtype=np.float64).mean(axis=-1)
    heard = level[level > 1e-9]
    if not heard.size:
        return 1.0
    loud = np.flatnonzero(level > 0.1 * np.percentile(heard, 95))
    starts = loud[:: max(1, len(loud) // 500)] * HOP
    window = np.hanning(WIDTH + 1)[:-1].astype(np.float32)
    padded = [np.pad(signal, (0, WIDTH)) for signal in (output, source)]
    y, x = (_power(torch.from_numpy(np.stack([p[s : s + WIDTH] for s in starts]) * window)).numpy() for p in padded)
    strong = y > np.percentile(y, 97)
    ratio = 10 * np.log10((x[strong] + 1e-14) / (y[strong] + 1e-14))
    low, high = np.percentile(ratio, [25, 75])  # noise only adds to the input: the low ones tell the level
    return float(10 ** (low / 20)) if high - low < 8 else 1.0
