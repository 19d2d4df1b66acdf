"""Enhancing what is not there as a whole: blocks in, enhanced blocks out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from gense.blocks import delay
from gense.chunking import Chunking
from gense.core import SILENCE
from gense.pipe import Chunks, Pipe
from gense.types import Sampling

if TYPE_CHECKING:
    from gense.enhancer import Enhancer

Block = TypeVar("Block", np.ndarray, Tensor)


class Stream:
    """Enhances blocks as they come, made by `Enhancer.stream`.

    Attributes:
        latency: seconds that a sample waits at most from coming in to its result going out, the time for computing
            apart: a chunk is enhanced when its last sample is there, and its first is ready then. To this come the
            filters of the resampling, where the rate is not the method's. A shorter chunk makes it shorter, and gives
            the network less context; the overlap only costs work.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        sample_rate: int,
        *,
        channels: int,
        scales: Tensor | None,
        chunking: Chunking,
        sampling: Sampling | None,
        seed: int,
    ):
        chunks = Chunks(enhancer, channels, scales, chunking, sampling=sampling, seed=seed)
        self._pipe = Pipe(chunks, enhancer, sample_rate, channels, self._levelled)
        self._enhancer, self._channels = enhancer, channels
        self._gains: list[Tensor | None] = [None] * channels
        self._finished = False
        # What the caller last gave, without samples: finish returns its kind and shape
        self._kind: Any = np.zeros((channels, 0), np.float32)
        length = chunking.length(enhancer.sample_rate, enhancer.target.hop_length) + 1
        there, back = delay(sample_rate, enhancer.sample_rate), delay(enhancer.output_rate, sample_rate)
        self.latency = length / enhancer.sample_rate + there + back

    def push(self, block: Block) -> Block:
        """Take the next samples and return what is ready of the result.

        Args:
            block: array or tensor, floating point, full scale 1: (channels, S), or (S,) for one channel; of any length,
                also 0, and of another one each time.

        Returns:
            As many samples as are ready, of the block's kind, type and number of axes; often none.

        Raises:
            ValueError: wrong shape, samples that are not finite (nothing of the block is taken then), a stream that is
                finished, or a sampling that diverged.
            TypeError: no array or tensor of floating point.
        """
        if self._finished:
            raise ValueError("this stream is finished: make another with Enhancer.stream")
        wav = self._checked(block)
        self._kind = block[..., :0]
        return _like(self._pipe.push(wav), block)

    def finish(self) -> Any:
        """Return the rest of the result, of the kind and type of the last block.

        Raises:
            ValueError: it was finished before, or the sampling diverged.
        """
        if self._finished:
            raise ValueError("this stream is finished: make another with Enhancer.stream")
        self._finished = True
        return _like(self._pipe.finish(), self._kind)

    def over(self, blocks: Iterable[Block]) -> Iterator[Block]:
        """Push every block, yield the results that are not empty, and finish."""
        for block in blocks:
            out = self.push(block)
            if out.shape[-1]:
                yield out
        rest = self.finish()
        if rest.shape[-1]:
            yield rest

    def _checked(self, block: np.ndarray | Tensor) -> np.ndarray:
        """The block as float32 (C, S)."""
        if isinstance(block, Tensor) and block.is_floating_point():
            wav = block.detach().to("cpu", torch.float32).numpy()
        elif isinstance(block, np.ndarray) and block.dtype.kind == "f":
            wav = block.astype(np.float32, copy=False)
        else:
            what = getattr(block, "dtype", type(block).__name__)
            raise TypeError(f"block is {what}: expected an array or tensor of floating point with full scale 1")
        if wav.ndim == 1 and self._channels == 1:
            wav = wav[None]
        if wav.ndim != 2 or len(wav) != self._channels:
            alone = ", or (samples,)" if self._channels == 1 else ""
            raise ValueError(f"block has shape {tuple(block.shape)}: expected ({self._channels}, samples){alone}")
        if not np.isfinite(wav).all():
            raise ValueError(f"block holds {int((~np.isfinite(wav)).sum())} NaN or infinite samples: repair them first")
        return wav

    def _levelled(self, clean: Tensor) -> Tensor:
        """Bring results (C, S) to the method's level of outputs, as measured where there first is any sound."""
        level = self._enhancer.output_level
        if level is None:
            return clean
        rows = []
        for index, row in enumerate(clean):
            if self._gains[index] is None and float(row.abs().max()) >= SILENCE:
                self._gains[index] = level.scale(row[None])[0, 0]
            gain = self._gains[index]
            rows.append(row if gain is None else row / gain)
        return torch.stack(rows)


def open_stream(
    enhancer: Enhancer,
    sample_rate: int,
    channels: int,
    scale: float | Sequence[float] | Tensor | None,
    chunking: Chunking | None,
    sampling: Sampling | None,
    seed: int,
) -> Stream:
    """Check the settings of `Enhancer.stream`, and make the stream."""
    if not (isinstance(sample_rate, (int, np.integer)) and 1000 <= sample_rate <= 768000):
        raise ValueError(f"sample_rate={sample_rate!r}: expected whole Hz between 1000 and 768000")
    if not (isinstance(channels, (int, np.integer)) and channels >= 1):
        raise ValueError(f"channels={channels!r}: need a whole number, at least 1")
    if chunking is None:
        raise ValueError("this method takes recordings whole: give chunking=gense.chunking.Chunking() to stream it")
    if sampling is not None and enhancer.head.sampling is None:
        raise ValueError("this method is deterministic: it takes no steps, sampler or options")
    scales = None
    if scale is not None:
        scales = torch.as_tensor(scale, dtype=torch.float32, device="cpu").flatten()
        if len(scales) not in (1, channels) or not (scales.isfinite() & (scales > 0)).all():
            raise ValueError(f"scale={scale}: need a number above 0, or one for each of {channels} channels")
        scales = scales.expand(channels)
    return Stream(
        enhancer, int(sample_rate), channels=int(channels), scales=scales, chunking=chunking, sampling=sampling,
        seed=seed,
    )


def _like(out: np.ndarray, block: Block) -> Block:
    """Float32 (C, S) in the kind, type and number of axes of a block."""
    shaped = out[0] if block.ndim == 1 else out
    if isinstance(block, Tensor):
        return torch.from_numpy(np.ascontiguousarray(shaped)).to(block.device, block.dtype)
    return shaped.astype(block.dtype, copy=False)
