"""Files of any length, read, enhanced and written as a stream: once to measure, once to enhance."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gense import audio as audio_io
from gense.blocks import Meter, Resampler
from gense.chunking import Chunking
from gense.core import SILENCE, spare, tokens_of, whole_frames
from gense.enhancer import Enhancer
from gense.opening import AudioFile
from gense.pipe import Chunks, Pipe
from gense.signals import not_finite
from gense.types import Sampling


@dataclass(frozen=True)
class Measured:
    """What has to be known of a whole recording before any of it can be enhanced.

    Attributes:
        rate: Hz.
        channels: how many.
        samples: of each channel at the enhancer's rate.
        scales: what the enhancer's level divides each channel by, (C,); 0 for silence.
    """

    rate: int
    channels: int
    samples: int
    scales: Tensor


def measure(source: Path, enhancer: Enhancer) -> Measured:
    """Read a file from beginning to end in bounded memory.

    Raises:
        FileNotFoundError, ValueError: what `gense.audio.read` raises, or samples that are not finite.
    """
    with AudioFile(source) as file:
        given, meter = Meter(file.channels), Meter(file.channels)
        there = Resampler(file.rate, enhancer.sample_rate, file.channels)
        zeros = np.zeros((file.channels, spare(file.rate, enhancer.sample_rate)), np.float32)
        for block in file.blocks():
            given.add(torch.from_numpy(block.T))
            if not given.bad:
                meter.add(torch.from_numpy(there.push(block.T)))
        if given.bad:
            raise not_finite(file.name, given.bad, given.samples * file.channels)
        meter.add(torch.from_numpy(there.push(zeros, last=True)))
        scales = torch.where(meter.peak < SILENCE, 0.0, meter.scale(enhancer.level))
        return Measured(file.rate, file.channels, meter.samples, scales)


def enhance_recording(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    chunking: Chunking,
    *,
    sampling: Sampling | None,
    seed: int,
    text: str | None,
) -> None:
    """Enhance a file into a file, which appears whole or not at all; neither is ever whole in memory.

    The result is that of reading, enhancing and writing the whole; on a CPU bit for bit, but for the rounding of the
    level where the method has an `output_level`.

    Args:
        source: the file.
        target: the other; it is tried before any work.
        enhancer: a loaded one.
        chunking: how the file is cut.
        sampling: overrides the head's own.
        seed: of the noise.
        text: what is said, for methods that read it.

    Raises:
        ValueError: no audio, cut off, not finite, a format that cannot hold it, text that does not fit, or a sampling
            that diverged.
        OSError: no such file, or the target cannot be written.
    """
    from tqdm import tqdm

    texts = enhancer.transcripts(text, 1)
    with AudioFile(source) as file:
        audio_io.check_writable(target, file.rate, file.channels, like=source)
    found = measure(source, enhancer)
    plan = chunking.plan(found.samples, enhancer.sample_rate, enhancer.target.hop_length)
    ids = None if texts is None else tokens_of(enhancer, texts, [plan])
    tokens = None if ids is None else [ids[0, index] for index in range(len(plan.starts))]
    # disable=None: silent where standard error is no terminal; delay: and on short work
    total = found.channels * len(plan.starts)
    with (
        tqdm(total=total, unit="chunk", disable=None, delay=2.0, leave=False) as bar,
        audio_io.writing(target, found.rate, found.channels, like=source) as put,
    ):

        def progress(done: int) -> None:
            bar.update(done - bar.n)

        chunks = Chunks(
            enhancer, found.channels, found.scales, chunking, plan=plan, tokens=tokens, sampling=sampling, seed=seed,
            # Where batches are of use, wait until there is one
            together=1 if enhancer.device.type == "cpu" else -(-chunking.batch // found.channels),
            progress=progress,
        )
        if enhancer.output_level is None:
            _through(source, Pipe(chunks, enhancer, found.rate, found.channels), lambda block: put(block.T))
        else:
            _through_level(source, target, enhancer, chunks, found, put)


def _through(source: Path, pipe: Pipe, put: Callable[[np.ndarray], object]) -> None:
    """Read the file a second time, and put the results (C, S) as they come."""
    with AudioFile(source) as file:
        for block in file.blocks():
            put(pipe.push(block.T))
    put(pipe.finish())


def _through_level(
    source: Path,
    target: Path,
    enhancer: Enhancer,
    chunks: Chunks,
    found: Measured,
    put: Callable[[np.ndarray], None],
) -> None:
    """The same for a method that brings its result as a whole to a level: it waits on the disk, beside the target."""
    assert enhancer.output_level is not None
    whole = whole_frames(enhancer, -(-found.samples * enhancer.output_rate // enhancer.sample_rate))
    meter = Meter(found.channels)

    def measured(clean: Tensor) -> Tensor:
        meter.add(clean[:, : whole - meter.samples])
        return clean

    with tempfile.TemporaryFile(dir=target.parent) as held:
        pipe = Pipe(chunks, enhancer, found.rate, found.channels, measured)
        _through(source, pipe, lambda block: held.write(block.T.astype(np.float32, order="C").tobytes()))
        held.seek(0)
        gains = meter.scale(enhancer.output_level).numpy()
        size = 4 * found.channels * max(1, 2**18 // found.channels)
        while data := held.read(size):
            put(np.frombuffer(data, np.float32).reshape(-1, found.channels) / gains)
