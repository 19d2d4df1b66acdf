"""`gense stream`: raw PCM on standard input, enhanced PCM on standard output, for pipes of ffmpeg, sox and the like."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np
from jsonargparse import ArgumentParser

from gense.api import load
from gense.choices import checked_sampling, checked_seed
from gense.chunking import Chunking
from gense.streaming import Stream

FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
_PIPE_BYTES = 1 << 16
_EXAMPLE = "ffmpeg -i talk.mp4 -f s16le -ar 16000 -ac 1 - | gense stream --rate 16000 > clean.raw"


def parser() -> ArgumentParser:
    """The parser of `gense stream`."""
    about = f"Enhance raw PCM from standard input to standard output, as it comes. {_EXAMPLE}"
    made = ArgumentParser(prog="gense stream", description=about, exit_on_error=False)
    made.add_argument("--method", default="flowse", metavar="M", help="name, folder or checkpoint, see gense methods")
    made.add_argument("--rate", type=int, required=True, metavar="HZ", help="sampling rate of input and output")
    made.add_argument("--channels", type=int, default=1, metavar="N", help="interleaved channels")
    made.add_argument("--format", choices=list(FORMATS), default="s16le", help="of the samples, in and out")
    made.add_argument("--chunk", type=float | None, metavar="S", help="seconds that are enhanced at once: the latency")
    made.add_argument("--overlap", type=float | None, metavar="S", help="seconds that chunks share")
    made.add_argument(
        "--scale", type=float | None, metavar="X",
        help="what to divide the input by to bring it to the model's level; without it, that of the first chunk",
    )
    made.add_argument("--steps", type=int | None, help="number of sampling steps")
    made.add_argument("--sampler", type=str | None, help="name in gense.samplers or dotted path")
    made.add_argument("--schedule", type=str | None, help="name in gense.samplers.schedules or dotted path")
    made.add_argument("--seed", type=int, default=0, help="of the noise")
    made.add_argument("--device", type=str | None, help="cpu, cuda, ...; without it CUDA where there is one")
    made.add_argument("--dtype", default="float32", help="float32, or bfloat16 or float16 for the network")
    made.add_argument("--trust", action="store_true", help="let a folder's method.yaml name classes outside gense")
    return made


def run(args: list[str]) -> int:
    """Run the command; returns the exit status.

    A reader that goes away ends it without a word. The first interrupt ends the input: what has come is enhanced and
    written; a second one ends it at once.

    Raises:
        ValueError: impossible settings, input that is no raw PCM, or a sampling that diverged.
    """
    settings = parser().parse_args(args)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    if source.isatty():
        raise ValueError(f"standard input is a terminal: pipe raw PCM into it, such as {_EXAMPLE}")
    checked_seed(settings.seed)
    enhancer = load(settings.method, device=settings.device, dtype=settings.dtype, trust=settings.trust)
    sampling = checked_sampling(enhancer, settings.steps, settings.sampler, settings.schedule, {})
    stream = enhancer.stream(
        settings.rate, channels=settings.channels, scale=settings.scale, sampling=sampling, seed=settings.seed,
        chunking=_chunking(enhancer.chunking, settings.chunk, settings.overlap),
    )
    if sys.stderr.isatty():
        print(f"gense stream: {settings.rate} Hz, latency {stream.latency:.2f} s", file=sys.stderr)
    interrupt = _Interrupt()
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        _through(stream, source, sink, FORMATS[settings.format], settings.channels, interrupt)
    except BrokenPipeError:
        # Python would try once more to write what the reader did not want
        os.dup2(os.open(os.devnull, os.O_WRONLY), sink.fileno())
    finally:
        signal.signal(signal.SIGINT, before)
    return 130 if interrupt.asked else 0


def _chunking(own: Chunking | None, seconds: float | None, overlap: float | None) -> Chunking:
    """The method's chunking with the user's changes; of a shorter chunk the overlap is at most a quarter."""
    own = own or Chunking()
    length = own.seconds if seconds is None else seconds
    return Chunking(length, min(own.overlap, length / 4) if overlap is None else overlap, own.batch)


class _Interrupt:
    """What SIGINT does: nothing while the network works, but that no more is read; a second one ends all."""

    def __init__(self) -> None:
        self.asked = self.waiting = False

    def __call__(self, number: int, frame: object) -> None:
        again, self.asked = self.asked, True
        if self.waiting or again:
            raise KeyboardInterrupt

    def reads(self, source: BinaryIO) -> Iterator[bytes]:
        """Yield what comes, as soon as it comes, until the end or the interrupt."""
        while not self.asked:
            try:
                self.waiting = True
                data = source.read1(_PIPE_BYTES)  # type: ignore[attr-defined]
                self.waiting = False
            except KeyboardInterrupt:
                self.waiting = False
                return
            if not data:
                return
            yield data


def _through(
    stream: Stream, source: BinaryIO, sink: BinaryIO, kind: np.dtype, channels: int, interrupt: _Interrupt
) -> None:
    frame = kind.itemsize * channels
    rest, first = b"", True
    for data in interrupt.reads(source):
        if first and data.startswith((b"RIFF", b"fLaC", b"OggS", b"FORM", b"ID3")):
            raise ValueError(f"standard input is an audio file, not raw PCM: decode it first, such as {_EXAMPLE}")
        first = False
        data = rest + data
        whole = len(data) // frame * frame
        rest = data[whole:]
        samples = np.frombuffer(data[:whole], kind).reshape(-1, channels).T
        out = stream.push(samples / np.float32(32768) if kind.kind == "i" else samples)
        if out.shape[-1]:
            sink.write(_coded(out, kind))
            sink.flush()
    sink.write(_coded(stream.finish(), kind))
    sink.flush()
    if rest:
        print(f"gense stream: the input ended inside a sample; {len(rest)} bytes are left out", file=sys.stderr)


def _coded(wav: np.ndarray, kind: np.dtype) -> bytes:
    """Interleaved samples of (C, S); integers are rounded and clipped."""
    if kind.kind == "i":
        wav = np.clip(np.round(wav.astype(np.float64) * 32768), -32768, 32767)
    return wav.T.astype(kind, order="C").tobytes()
