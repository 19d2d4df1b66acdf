"""What is done with a batch of requests: decoded, resampled, enhanced together, and encoded again."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from gense import audio
from gense.limits import Limits
from gense.serve.formats import NAME, Header, encode
from gense.serve.limits import RefusedError, ServerLimits
from gense.serve.offer import Choice
from gense.signals import Signal

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """An accepted request.

    Attributes:
        body: the bytes of the recording, a file object that can seek.
        header: what its header says.
        choice: method, sampling and seed.
        format: of the answer, a key of `gense.serve.formats.FORMATS`.
    """

    body: BinaryIO
    header: Header
    choice: Choice
    format: str

    def goes_with(self, other: Job) -> bool:
        """Whether both can be enhanced in one call."""
        mine, its = self.choice, other.choice
        return mine.method == its.method and mine.sampling == its.sampling

    @property
    def seconds(self) -> float:
        """Seconds of audio to enhance, all channels together."""
        return self.header.seconds * self.header.channels


@dataclass(frozen=True)
class Outcome:
    """What became of a job: the bytes of the answer, or why there is none."""

    answer: bytes | RefusedError
    seconds: float
    """Seconds that the batch took, all of it."""


def run(jobs: Sequence[Job], limits: ServerLimits) -> list[Outcome]:
    """Enhance jobs that go with each other; what is wrong with one does not touch the others."""
    start = time.perf_counter()
    answers: dict[int, bytes | RefusedError] = {}
    channels: dict[int, list[Tensor]] = {}
    for index, job in enumerate(jobs):
        try:
            channels[index] = _decoded(job, limits)
        except Exception as error:
            answers[index] = _refusal(error)
    for index, enhanced in _enhanced(jobs, channels).items():
        try:
            answers[index] = enhanced if isinstance(enhanced, RefusedError) else _encoded(jobs[index], enhanced)
        except Exception as error:
            answers[index] = _refusal(error)
    seconds = time.perf_counter() - start
    return [Outcome(answers[index], seconds) for index in range(len(jobs))]


def _decoded(job: Job, limits: ServerLimits) -> list[Tensor]:
    """The channels of a recording, each (S,), at the method's rate."""
    allowed = Limits(
        min_rate=limits.min_rate, max_rate=limits.max_rate, max_channels=limits.max_channels,
        max_seconds=limits.max_seconds,
    )  # fmt: skip
    wav, rate = audio.read(job.body, name=NAME, limits=allowed)
    to = job.choice.enhancer.sample_rate
    # As gense.enhance does it: resampling there and back loses up to a sample of the lower rate
    spare = 0 if rate == to else -(-rate // to)
    padded = (np.pad(channel, (0, spare)) if spare else channel for channel in Signal.of(wav.T, NAME).channels)
    return [torch.from_numpy(np.array(audio.resample(channel, rate, to))) for channel in padded]


def _enhanced(
    jobs: Sequence[Job], channels: dict[int, list[Tensor]]
) -> dict[int, list[Tensor] | RefusedError]:
    """Enhance all channels of all jobs in one call; should that fail, job by job, so that only those at fault fail."""
    if not channels:
        return {}
    order = [(index, channel) for index, every in channels.items() for channel in every]
    choice = jobs[order[0][0]].choice
    try:
        clean = choice.enhancer.enhance_many(
            [channel for _, channel in order], sampling=choice.sampling,
            seed=[jobs[index].choice.seed for index, _ in order],
        )  # fmt: skip
    except Exception as error:
        if len(channels) == 1:
            return {next(iter(channels)): _refusal(error)}
        alone = [_enhanced(jobs, {index: every}) for index, every in channels.items()]
        return {index: result for one in alone for index, result in one.items()}
    results: dict[int, list[Tensor] | RefusedError] = {index: [] for index in channels}
    for (index, _), one in zip(order, clean, strict=True):
        results[index].append(one)  # type: ignore[union-attr]
    return results


def _encoded(job: Job, enhanced: Sequence[Tensor]) -> bytes:
    header, rate = job.header, job.choice.enhancer.output_rate
    channels = [audio.resample(one.cpu().numpy(), rate, header.rate) for one in enhanced]
    wav = np.stack(channels, axis=1)[: header.frames]
    if not np.isfinite(wav).all():
        raise ValueError("the result holds NaN: sampling diverged; leave sampler and options to the method")
    return encode(wav, header.rate, job.format, header.subtype)


def _refusal(error: Exception) -> RefusedError:
    """What a client is told of an error; only what the library says on purpose is told word by word."""
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, (ValueError, TypeError)):
        return RefusedError(422, str(error))
    _LOG.error("a request failed", exc_info=error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return RefusedError(503, "out of memory: send a shorter recording, or try again later", retry_after=10)
    return RefusedError(500, "enhancing failed; the server's log says why")
