"""Clips in, rows of the manifest out: read, enhanced, scored, written; whatever a clip brings up fails it alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gense.api import enhance_file
from gense.clips import enhance_clips
from gense.enhancer import Enhancer
from gense.scale.coding import decode
from gense.scale.items import OWN_FOLDER, Item
from gense.scale.manifest import Row
from gense.scale.places import OutputError, is_local, join, locate
from gense.scale.sinks import Sink, Written
from gense.scale.sources import Reader
from gense.signals import Signal
from gense.types import Sampling

WORK_FOLDER = "work"
_GROUPS = 4  # batches of the network that go in at once where clips share them
_SCORED = 600.0  # seconds of a long result that are scored at once


@dataclass(frozen=True)
class _Clip:
    """A decoded clip: its bytes, float32 (N, S) and Hz."""

    data: bytes
    channels: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        return self.channels.shape[-1] / self.rate


@dataclass
class _Made:
    """A result (N, S), or why there is none, and the seconds that it took."""

    result: np.ndarray | Exception
    seconds: float


class Processing:
    """Works on clips with one enhancer. Results depend on a clip's content and the settings, not on its company.

    Args:
        enhancer: ready for use.
        sink: where results go.
        sampling: overrides the enhancer's own.
        seed: of the noise, the same for every clip.
        dnsmos: whether results are scored; the mean over channels, and of long results over blocks of ten minutes.

    Attributes:
        blocked: why a result could not be written though nothing was wrong with it; None if there was no such case.
    """

    def __init__(self, enhancer: Enhancer, sink: Sink, *, sampling: Sampling | None, seed: int, dnsmos: bool = False):
        self.enhancer, self.sink, self.sampling, self.seed, self.dnsmos = enhancer, sink, sampling, seed, dnsmos
        self.reader = Reader()
        self.blocked: str | None = None
        chunking = enhancer.chunking
        # Seconds of audio that go in at once. On a CPU company makes nothing faster, so each clip goes alone there, and
        # its time is its own
        self._together = 0.0
        if chunking is not None and enhancer.device.type != "cpu":
            self._together = _GROUPS * chunking.batch * chunking.seconds

    def rows(self, items: Sequence[Item], long: bool = False) -> list[Row]:
        """Enhance clips and write the results; a row each, in their order.

        The next clips are read while the device computes, and results are written behind it.

        Args:
            items: of near length.
            long: read, enhance and write each as a stream, never whole in memory.
        """
        if long:
            return [self._long(item) for item in items]
        writing: list[Future[Row]] = []
        with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(1) as behind:
            for group in self._groups(zip(items, ahead.map(self._load, items), strict=True)):
                for (item, clip), made in zip(group, self._enhanced([clip for _, clip in group]), strict=True):
                    writing.append(behind.submit(self._finished, item, clip, made))
        return [future.result() for future in writing]

    def _load(self, item: Item) -> _Clip | Exception:
        try:
            data = self.reader.read(item)
            wav, rate = decode(data, item.source)
            return _Clip(data, Signal.of(wav.T, item.source).channels, rate)
        except Exception as error:  # whatever a file brings up: the others go on
            return error

    def _groups(
        self, loaded: Iterable[tuple[Item, _Clip | Exception]]
    ) -> Iterator[list[tuple[Item, _Clip | Exception]]]:
        """Neighbours that go through the network together."""
        group: list[tuple[Item, _Clip | Exception]] = []
        held = 0.0
        for item, clip in loaded:
            group.append((item, clip))
            held += 0.0 if isinstance(clip, Exception) else clip.seconds * len(clip.channels)
            if held >= self._together:
                yield group
                group, held = [], 0.0
        if group:
            yield group

    def _enhanced(self, clips: Sequence[_Clip | Exception]) -> list[_Made]:
        """The result of each clip that was read; where all fail together, each is tried alone."""
        whole = [clip for clip in clips if not isinstance(clip, Exception)]
        start = time.perf_counter()
        try:
            pairs = [(clip.channels, clip.rate) for clip in whole]
            results = iter(enhance_clips(self.enhancer, pairs, sampling=self.sampling, seed=self.seed))
            pace = (time.perf_counter() - start) / max(1e-9, sum(clip.seconds * len(clip.channels) for clip in whole))
            return [
                _Made(clip, 0.0) if isinstance(clip, Exception)
                else _Made(next(results), pace * clip.seconds * len(clip.channels))
                for clip in clips
            ]
        except Exception as error:  # such as a device whose memory is full
            if len(clips) == 1:
                return [_Made(error, 0.0)]
            return [made for clip in clips for made in self._enhanced([clip])]

    def _finished(self, item: Item, clip: _Clip | Exception, made: _Made) -> Row:
        """Write a result; a row on what became of it."""
        if isinstance(clip, Exception):
            return failed(item, clip)
        known: dict[str, Any] = {
            "seconds": clip.seconds, "sample_rate": clip.rate, "channels": len(clip.channels),
            "input_bytes": len(clip.data),
        }
        if isinstance(made.result, Exception):
            return replace(failed(item, made.result), **known)
        try:
            score = self._score([made.result], clip.rate) if self.dnsmos else None
            written = self.sink.write(item, made.result.T, clip.rate, like=clip.data)
        except Exception as error:
            self._note(error)
            return replace(failed(item, error), **known)
        return replace(_done(item, written), real_time_factor=made.seconds / clip.seconds, dnsmos=score, **known)

    def _long(self, item: Item) -> Row:
        import soundfile

        try:
            with tempfile.TemporaryDirectory(dir=self._beside()) as folder:
                suffix = item.key[item.key.rindex(".") :]
                source, target = self._on_disk(item, Path(folder)), Path(folder) / f"out{suffix}"
                start = time.perf_counter()
                enhance_file(source, target, self.enhancer, self.sampling, self.seed)
                seconds = time.perf_counter() - start
                info = soundfile.info(str(target))
                score = self._score(_blocks(target, info.samplerate), info.samplerate) if self.dnsmos else None
                size = source.stat().st_size
                written = self.sink.adopt(item, target)
        except Exception as error:  # as in _load
            self._note(error)
            return failed(item, error)
        return replace(
            _done(item, written), real_time_factor=seconds / info.duration, dnsmos=score, seconds=info.duration,
            sample_rate=info.samplerate, channels=info.channels, input_bytes=size,
        )

    def _note(self, error: Exception) -> None:
        if isinstance(error, OutputError):
            self.blocked = str(error)

    def _beside(self) -> str | None:
        """A folder on the output's disk, where moving a result into its place copies nothing; None: the usual one."""
        fs, path = locate(join(join(self.sink.output, OWN_FOLDER), WORK_FOLDER))
        if not is_local(fs):
            return None
        Path(path).mkdir(parents=True, exist_ok=True)
        return path

    def _on_disk(self, item: Item, folder: Path) -> Path:
        """The clip as a local file: where it lies, or a copy of it."""
        copy = folder / f"in.{(item.member or item.uri if item.row is None else item.key).rpartition('.')[2]}"
        if item.member is not None or item.row is not None or item.problem is not None:
            copy.write_bytes(self.reader.read(item))
            return copy
        fs, path = locate(item.uri)
        if is_local(fs):
            return Path(path)
        fs.get_file(path, str(copy))
        return copy

    def _score(self, blocks: Iterable[np.ndarray], rate: int) -> float | None:
        """Mean overall DNSMOS of blocks (N, S), over their channels; None where all of it is silent.

        What is beyond full scale is heard clipped, and scored so.
        """
        from gense.metrics.dnsmos import dnsmos

        scores = []
        for block in blocks:
            scores += [dnsmos(np.clip(channel, -1, 1), rate).ovrl for channel in block if np.any(channel)]
        return float(np.mean(scores)) if scores else None


def failed(item: Item, why: Exception | str) -> Row:
    """The row of a clip that has no result; the clip's name in front of the reason is taken off."""
    reason = str(why).removeprefix(f"{item.source}: ") or type(why).__name__
    return Row(item.key, item.source, "failed", reason=reason, input_bytes=item.size, extra=item.extra)


def _done(item: Item, written: Written) -> Row:
    return Row(
        item.key, item.source, "ok", sha256=written.sha256, output=written.output, output_bytes=written.size,
        extra=item.extra,
    )


def _blocks(path: Path, rate: int) -> Iterator[np.ndarray]:
    """Blocks (N, S) of a file; a short rest goes unscored if there is anything before it."""
    import soundfile

    size = round(_SCORED * rate)
    for number, block in enumerate(soundfile.blocks(str(path), size, dtype="float32", always_2d=True)):
        if number == 0 or len(block) > size // 10:
            yield block.T
