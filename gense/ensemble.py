"""Several samples of one recording: what the method is sure of, and what it makes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gense.check.flags import Flag
from gense.clips import at_rate, back_at_rate
from gense.enhancer import Enhancer
from gense.types import Sampling

WINDOW = 0.032
FLOOR_DB = -60.0
_BLOCK = 1024


@dataclass(frozen=True)
class Spread:
    """How far samples lie apart, over time and frequency.

    Attributes:
        seconds: middle of each frame, (T,).
        hertz: of each bin, (F,).
        db: standard deviation (of a sample of a population: n - 1) over the samples of the log-magnitude STFT, dB,
            float32 (*leading axes of the audio, F, T). What is fainter than 60 dB under the loudest cell of all samples
            of its channel counts as being there, so that silence has no spread.
    """

    seconds: np.ndarray
    hertz: np.ndarray
    db: np.ndarray


@dataclass(frozen=True)
class Enhanced:
    """What `gense.enhance` returns where samples or a check were asked for.

    Attributes:
        audio: what it returns without them; of several samples the mean.
        samples: all samples, of the audio's kind with an axis in front: (samples, *axes of the audio); float32
            (samples, channels, time) for a file. None where one was drawn.
        spread: how far they lie apart; None where one was drawn.
        flags: where the output says something else than the input; None where it was not checked.
    """

    audio: str | Path | np.ndarray | Tensor
    samples: np.ndarray | Tensor | None = None
    spread: Spread | None = None
    flags: list[Flag] | None = None


def draw(
    enhancer: Enhancer,
    channels: np.ndarray,
    rate: int,
    *,
    sampling: Sampling | None,
    seeds: Sequence[int],
    text: str | None,
) -> np.ndarray:
    """Enhance float32 (N, S) at `rate` channel by channel, once for each seed: (len(seeds), N, S).

    Raises:
        ValueError: a sampling diverged, or what `Enhancer.enhance` raises.
    """
    from tqdm import tqdm

    out = np.empty((len(seeds), *channels.shape), channels.dtype)
    # disable=None: silent where standard error is no terminal; delay: and on short work
    total = len(channels) * len(seeds)
    with tqdm(total=total, unit="channel", disable=None, delay=2.0, leave=False) as bar:
        for index, channel in enumerate(channels):
            source = at_rate(channel, rate, enhancer)
            for number, seed in enumerate(seeds):

                def progress(done: int, whole: int, before: int = index * len(seeds) + number) -> None:
                    bar.update(before + done / whole - bar.n)

                clean = enhancer.enhance(source[None], text=text, sampling=sampling, seed=seed, progress=progress)
                out[number, index] = back_at_rate(clean[0], rate, out.shape[-1], enhancer)
    return out


def mean(samples: np.ndarray) -> np.ndarray:
    """Mean of the waveforms (K, N, S) over K, float32.

    The mean of the posterior is the estimate of least squared error, and the waveform is where it is one: what all
    samples have in common stays, with its phase, and what each makes up differently cancels. A mean of magnitudes would
    keep the invented energy and leave the phase open.
    """
    total = samples[0].astype(np.float32)
    for sample in samples[1:]:
        total += sample
    total /= len(samples)
    return total


def spread(samples: np.ndarray, rate: int) -> Spread:
    """The spread of (K, N, S) at `rate`, K >= 2, with `db` of shape (N, F, T); Hann windows of 32 ms, every 16 ms.

    It is computed in blocks; the result has about as many values as one sample.
    """
    width = max(4, 2 * round(WINDOW * rate / 2))
    hop = width // 2
    length = samples.shape[-1]
    frames = length // hop + 1
    hertz = np.arange(hop + 1) * (rate / width)
    db = np.empty((samples.shape[1], hop + 1, frames), np.float32)
    firsts = range(0, frames, _BLOCK)
    for index in range(samples.shape[1]):
        loudest = max(float(_power(samples[:, index], first, frames, width).max()) for first in firsts)
        floor = max(loudest * 10 ** (FLOOR_DB / 10), 1e-30)
        for first in firsts:
            power = _power(samples[:, index], first, frames, width).clamp_min(floor)
            db[index, :, first : first + _BLOCK] = (10 * power.log10()).std(dim=0).T.numpy()
    return Spread(np.arange(frames) * (hop / rate), hertz, db)


def _power(samples: np.ndarray, first: int, frames: int, width: int) -> torch.Tensor:
    """Power spectra (K, T, F) of frames `first` and following of (K, S); frame t has its middle at t width / 2."""
    hop, count = width // 2, min(_BLOCK, frames - first)
    start, stop = first * hop - hop, (first + count - 1) * hop + hop
    length = samples.shape[-1]
    piece = np.pad(samples[:, max(0, start) : min(stop, length)], ((0, 0), (max(0, -start), max(0, stop - length))))
    windowed = torch.from_numpy(piece).unfold(-1, width, hop) * torch.hann_window(width)
    return torch.fft.rfft(windowed).abs().square().float()
