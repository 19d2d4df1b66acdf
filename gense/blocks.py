"""Audio block by block: resampled and measured without ever being whole in memory."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from gense.audio import Level


class Resampler:
    """Resamples blocks of (C, S) as `gense.audio.resample` does the whole: what it returns adds up to the same bits.

    Args:
        rate_in: Hz.
        rate_out: Hz; the same rate hands blocks through.
        channels: how many.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int):
        self._stream = None
        if rate_in != rate_out:
            import soxr

            self._stream = soxr.ResampleStream(rate_in, rate_out, channels, dtype="float32", quality="VHQ")

    def push(self, block: np.ndarray, *, last: bool = False) -> np.ndarray:
        """Take float32 (C, S), S may be 0; return what is ready of the result (C, S'), with `last` all the rest."""
        if self._stream is None:
            return block
        # soxr takes only rows of its own kind of memory, and gives (S,) for one channel where (S, 1) came in
        out = self._stream.resample_chunk(np.ascontiguousarray(block.T), last=last)
        return out.reshape(-1, len(block)).T


@lru_cache
def delay(rate_in: int, rate_out: int) -> float:
    """How long a sample waits in a `Resampler` at most, seconds: found by running one on blocks of a millisecond.

    It collects blocks for its filters, so the wait varies; this is the longest, with a millisecond for the blocks.
    """
    if rate_in == rate_out:
        return 0.0
    resampler, step = Resampler(rate_in, rate_out, 1), max(1, rate_in // 1000)
    block = np.zeros((1, step), np.float32)
    taken, given, longest = 0, 0, 0.0
    while taken < 2 * rate_in:
        taken += step
        longest = max(longest, taken / rate_in - given / rate_out)
        given += resampler.push(block).shape[-1]
    return longest


class Meter:
    """Measures (C, S) given in blocks: what a `Level` needs to know, and whether all samples are finite.

    Attributes:
        samples: measured so far, of each channel.
        bad: how many of all of them are NaN or infinite.
        peak: largest magnitude of each channel, (C,).
    """

    def __init__(self, channels: int):
        self.samples, self.bad = 0, 0
        self.peak = torch.zeros(channels)
        self._squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, block: Tensor) -> None:
        """Measure the next (C, S), S may be 0."""
        if block.shape[-1] == 0:
            return
        self.samples += block.shape[-1]
        low, high = torch.aminmax(block, dim=-1)
        largest = torch.maximum(-low, high)
        if not torch.isfinite(largest).all():
            self.bad += int((~torch.isfinite(block)).sum())
        self.peak = torch.maximum(self.peak, largest.float())
        self._squares += block.double().square().sum(dim=-1)

    def scale(self, level: Level) -> Tensor:
        """What `level.scale` returns for the whole, (C,) float32."""
        return level.of(self.peak, (self._squares / max(self.samples, 1)))
