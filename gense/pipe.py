"""The way of a recording through an enhancer, chunk by chunk as it is read, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gense.blocks import Resampler
from gense.chunking import Chunking, Plan
from gense.core import DIVERGED, SILENCE, Piece, enhance_pieces, spare
from gense.types import Sampling

if TYPE_CHECKING:
    from gense.enhancer import Enhancer


class Chunks:
    """Cuts what arrives into chunks, enhances each as soon as it is there, and joins them.

    Without a plan the end is not known: every chunk lies on the regular grid, what no later chunk can touch is given
    away at once, and the last chunk, moved back to end with the input, is faded in where that leaves off. With the plan
    of a recording the result is that of `Enhancer.enhance` on the whole of it, in every sample.

    Args:
        enhancer: whose network.
        channels: how many, enhanced one by one with the same noise.
        scales: what each channel is divided by before, and multiplied by afterwards, (C,); 0 for one that is silence
            and stays so. None takes each channel's level from its first chunk that is not silent.
        chunking: how it is cut.
        plan: the cuts of a recording whose length is known.
        tokens: ids of what is said in each chunk of the plan.
        sampling: overrides the head's own.
        seed: of the noise, the same for all channels.
        together: enhance when so many chunks are there, or at the end: more fill the batches of a GPU.
        progress: called with the number of (channel, chunk) pairs done.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        channels: int,
        scales: Tensor | None,
        chunking: Chunking,
        *,
        plan: Plan | None = None,
        tokens: Sequence[Tensor] | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        together: int = 1,
        progress: Callable[[int], None] | None = None,
    ):
        self._together = together
        self._enhancer, self._chunking, self._plan, self._tokens = enhancer, chunking, plan, tokens
        self._sampling, self._seed, self._progress = sampling, seed, progress
        self._scales: list[Tensor | None] = [None] * channels if scales is None else list(scales)
        rate, self._hop = enhancer.sample_rate, enhancer.target.hop_length
        self._length = chunking.length(rate, self._hop)
        self._step = self._length - chunking.shared(rate, self._hop)
        # Any three neighbours of an endless recording: what they are faded with
        self._grid = Plan(0, self._length, self._length - self._step, (0, self._step, 2 * self._step))
        self._cuts = plan or self._grid
        self._joined = self._at_output(self._cuts)
        self._blocks: list[Tensor] = []
        self._first = self._received = self._index = 0
        self._open = torch.zeros(channels, 0)
        self._given = 0

    def push(self, block: Tensor) -> Tensor:
        """Take the next float32 (C, S), S may be 0; return what is ready of the result, (C, S').

        Raises:
            ValueError: there are more samples than planned.
        """
        self._blocks.append(block)
        self._received += block.shape[-1]
        self._check(self._plan is None or self._received <= self._plan.samples)
        starts: list[int] = []
        # One sample more than a chunk, and it cannot be the last
        while self._received > (start := self._start(self._index + len(starts))) + self._length:
            starts.append(start)
        if len(starts) >= self._together:
            self._enhance(starts, self._cuts, late=False)
        return self._take(self._out(self._start(self._index)))

    def finish(self) -> Tensor:
        """Return the rest, (C, S').

        Raises:
            ValueError: there were more or fewer samples than planned.
        """
        self._check(self._plan is None or self._received == self._plan.samples)
        if self._received:
            plan = self._plan or self._chunking.plan(self._received, self._enhancer.sample_rate, self._hop)
            self._enhance(plan.starts[self._index :], plan, late=self._plan is None)
        return self._take(self._out(self._received))

    def _start(self, index: int) -> int:
        """Where a chunk begins, unless it is the last of a stream."""
        return index * self._step if self._plan is None else self._plan.starts[index]

    def _check(self, planned: bool) -> None:
        if not planned:
            raise ValueError("the recording has another length than when it was measured: leave it alone meanwhile")

    def _at_output(self, plan: Plan) -> Plan:
        return plan.at(self._enhancer.output_rate, self._enhancer.sample_rate)

    def _out(self, samples: int) -> int:
        return -(-samples * self._enhancer.output_rate // self._enhancer.sample_rate)

    def _enhance(self, starts: Sequence[int], plan: Plan, *, late: bool) -> None:
        """Enhance the next chunks of all channels and add them to what is open."""
        held, before = torch.cat(self._blocks, dim=-1), self._first
        jobs, pieces = [], []
        for index, start in enumerate(starts, self._index):
            part = held[:, start - before : start - before + plan.length]
            for channel, wav in enumerate(plan.cut(row, 0) for row in part):
                scale = self._scale(channel, wav)
                if scale is not None:
                    tokens = None if self._tokens is None else self._tokens[index]
                    pieces.append(Piece(wav / scale, start, self._seed, tokens))
                    jobs.append((index, start, channel, scale))
        # The last chunk of a stream may begin anywhere behind the beginning of the one before
        self._blocks, self._first = [held[:, starts[-1] - before :].clone()], starts[-1]
        self._index += len(starts)
        clean = enhance_pieces(
            self._enhancer, pieces, chunk=plan.length, batch=self._chunking.batch, sampling=self._sampling
        )
        grid, joined = plan is self._grid, self._joined if plan is self._cuts else self._at_output(plan)
        end = self._out(starts[-1]) + joined.length
        if not grid:
            end = min(end, joined.samples)
        self._open = torch.nn.functional.pad(self._open, (0, max(0, end - self._given - self._open.shape[-1])))
        for (index, start, channel, scale), piece in zip(jobs, clean, strict=True):
            weight = joined.weight(min(index, 1) if grid else index, late=late)
            at = self._out(start) - self._given
            stop = min(at + joined.length, self._open.shape[-1])
            # In a stream, what lies before `given` has no weight
            self._open[channel, max(at, 0) : stop] += (piece * weight * scale)[max(-at, 0) : stop - at]
            if self._progress:
                self._progress(index * len(self._scales) + channel + 1)

    def _scale(self, channel: int, wav: Tensor) -> Tensor | None:
        """The channel's scale, found in this chunk if there is none yet; None where it is silence that stays so."""
        if self._scales[channel] is None and float(wav.abs().max()) >= SILENCE:
            self._scales[channel] = self._enhancer.level.scale(wav[None])[0, 0]
        scale = self._scales[channel]
        return scale if scale is not None and scale > 0 else None

    def _take(self, until: int) -> Tensor:
        """Cut off and return the result up to this sample."""
        ready = until - self._given
        out, self._open = self._open[:, :ready], self._open[:, ready:].clone()
        self._given = until
        return out


class Pipe:
    """`Chunks` between two resamplers, from and to the rate of a recording: float32 NumPy (C, S) in and out.

    Args:
        chunks: what enhances.
        enhancer: whose rates they are.
        sample_rate: of the recording, Hz.
        channels: how many.
        after: what to do with results at the enhancer's output rate, (C, S) -> (C, S).
    """

    def __init__(
        self,
        chunks: Chunks,
        enhancer: Enhancer,
        sample_rate: int,
        channels: int,
        after: Callable[[Tensor], Tensor] = lambda clean: clean,
    ):
        self._chunks, self._after, self._channels = chunks, after, channels
        self._there = Resampler(sample_rate, enhancer.sample_rate, channels)
        self._back = Resampler(enhancer.output_rate, sample_rate, channels)
        self._spare = spare(sample_rate, enhancer.sample_rate)
        self._taken = self._given = 0

    @torch.inference_mode()
    def push(self, block: np.ndarray) -> np.ndarray:
        """Take the next (C, S); return what is ready of the result, (C, S').

        Raises:
            ValueError: the sampling diverged.
        """
        self._taken += block.shape[-1]
        return self._out(self._chunks.push(_tensor(self._there.push(block))), last=False)

    @torch.inference_mode()
    def finish(self) -> np.ndarray:
        """Return the rest, (C, S'): all in all as many samples as came in.

        Raises:
            ValueError: the sampling diverged.
        """
        if self._taken == 0:
            return np.zeros((self._channels, 0), np.float32)
        rest = self._there.push(np.zeros((self._channels, self._spare), np.float32), last=True)
        ready = self._chunks.push(_tensor(rest))
        return self._out(torch.cat([ready, self._chunks.finish()], dim=-1), last=True)

    def _out(self, clean: Tensor, *, last: bool) -> np.ndarray:
        if clean.shape[-1]:
            if not torch.isfinite(clean).all():
                raise ValueError(DIVERGED)
            clean = self._after(clean)
        elif not last:
            return np.zeros((self._channels, 0), np.float32)
        out = self._back.push(clean.numpy(), last=last)[:, : self._taken - self._given]
        self._given += out.shape[-1]
        return out


def _tensor(block: np.ndarray) -> Tensor:
    """(C, S) that nobody else writes into: blocks are held until their chunk is complete."""
    return torch.from_numpy(np.array(block, order="C"))
