"""Opening audio of any origin: what its header says is checked, and what it holds is read block by block."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from gense.limits import Limits

if TYPE_CHECKING:
    import soundfile

# How libsndfile's log tells of a file that holds less than its header says: "data : 96000 (should be 47978)"
_SHORT = re.compile(r"^\s*(?:data|SSND|Data Size|riff|Riff size)\s*: (\d+) \(should be \d+\)$", re.MULTILINE)
_OGG_END_MISSING = ("Last page lacks an end-of-stream bit", "Junk after the last page")
# Programs that write to a pipe cannot know the length and put a number near 2^31 or 2^32 there
_UNKNOWN_LENGTH = 2**31 - 2**16
# libsndfile's own mark of an unknown length, SF_COUNT_MAX, of FLAC that was written into a pipe
_UNKNOWN_FRAMES = 2**63 - 1
# A frame of MP3: sync, version and layer, any bit rate but the forbidden one
_MP3_FRAME = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x00-\xef]")
_MP3_JUNK = 1 << 16
_BLOCK_SAMPLES = 1 << 20


class AudioFile:
    """An audio file that is open for one reading from beginning to end; a context manager.

    Formats are told from the content alone: libsndfile would take any text for sound if its name ends in .au, and
    bytes and paths with the same content give the same samples.

    Args:
        source: a path, or a binary file object that can seek, which is read from its beginning and stays open.
        name: what messages call it; None takes the path, or "audio" for a file object.
        limits: what the file may announce; None takes those of the environment.

    Attributes:
        name: see above.
        size: bytes.
        rate: Hz.
        channels: how many.
        frames: samples of each channel that the header announces; None if it says that they are unknown.
        format: of the file as libsndfile calls it, "WAV".
        subtype: of the samples as libsndfile calls it, "PCM_16".

    Raises:
        FileNotFoundError: there is no such file.
        TypeError: a file object in text mode.
        ValueError: it is a folder, empty, no audio, cut off or beyond the limits, or a file object cannot seek.
    """

    def __init__(
        self, source: str | os.PathLike[str] | BinaryIO, *, name: str | None = None, limits: Limits | None = None
    ):
        import soundfile

        self.limits = Limits.from_environment() if limits is None else limits
        with contextlib.ExitStack() as stack:
            if isinstance(source, (str, os.PathLike)):
                self.name = str(Path(source)) if name is None else name
                self._source = _Source(stack.enter_context(_open(Path(source), self.name)), self.name)
            else:
                self.name = "audio" if name is None else name
                self._source = _Source(source, self.name)
            self.size = self._source.size
            if self.size == 0:
                raise ValueError(f"{self.name}: the file is empty (0 bytes)")
            with self._told():
                try:
                    file = _forward(self._source)
                except soundfile.LibsndfileError:
                    if not (self.name.lower().endswith(".mp3") and self._source.skip_to_mp3()):
                        raise
                    file = _forward(self._source)
                self._file = stack.enter_context(file)
            self.rate, self.channels = self._file.samplerate, self._file.channels
            self.format, self.subtype = self._file.format, self._file.subtype
            self.frames = None if self._file.frames == _UNKNOWN_FRAMES else self._file.frames
            self.limits.check_header(self.name, rate=self.rate, channels=self.channels)
            self._check_length(self.frames or 0)
            self._closing = stack.pop_all()

    def __enter__(self) -> AudioFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def blocks(self, frames: int | None = None) -> Iterator[np.ndarray]:
        """Read on from where the last call ended, to the end; then find out whether the file was whole.

        Args:
            frames: length of every block but the last; None takes 4 MB.

        Yields:
            Blocks (S, C) float32, full scale 1.

        Raises:
            ValueError: the file is damaged, cut off, holds no samples, or more than the limits allow. All but the
                first block may have been yielded before.
        """
        length = max(_BLOCK_SAMPLES // self.channels, 1) if frames is None else frames
        done = 0
        while True:
            block = np.empty((length, self.channels), dtype=np.float32)
            with self._told():
                block = self._file.read(out=block)
            done += len(block)
            self._check_length(done)
            if len(block):
                yield block
            if len(block) < length:
                break
        self._check_whole(done)

    def _check_length(self, frames: int) -> None:
        self.limits.check_length(self.name, frames=frames, rate=self.rate, channels=self.channels, size=self.size)

    def _check_whole(self, frames: int) -> None:
        log = self._file.extra_info
        short = any(int(length) < _UNKNOWN_LENGTH for length in _SHORT.findall(log))
        if frames < (self.frames or 0) or short or any(sign in log for sign in _OGG_END_MISSING):
            raise ValueError(
                f"{self.name}: cut off, its end is missing after {frames / self.rate:.2f} s; get a whole copy, or save "
                "what is there as a new file"
            )
        if frames == 0:
            raise ValueError(f"{self.name}: the file holds no samples")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say libsndfile's errors in gense's words; those of the file object under it as they are."""
        import soundfile

        failure: Exception | None = None
        try:
            yield
        except (soundfile.LibsndfileError, RuntimeError) as error:
            failure = error
        if self._source.error is not None:
            raise self._source.error
        if failure is not None:
            raise ValueError(
                f"{self.name}: cannot be read as audio ({reason(failure)}); is it cut off, or another kind of file?"
            ) from failure


def _forward(source: _Source) -> soundfile.SoundFile:
    """Open for reading forward.

    After each block soundfile seeks to where it is already. That takes time, changes the last bits of MP3, so that they
    depended on the length of the blocks, and fails at the end of FLAC of unknown length.
    """
    import soundfile

    class Forward(soundfile.SoundFile):
        def seekable(self) -> bool:
            return False

    return Forward(source)


def reason(error: Exception) -> str:
    """libsndfile's words without its prefix and the file's name."""
    return getattr(error, "error_string", str(error)).strip().removeprefix("Error : ").rstrip(".")


def _open(path: Path, name: str) -> BinaryIO:
    if path.is_dir():
        raise ValueError(f"{name} is a folder: give audio files, or use the command line, which walks folders")
    if not path.exists():
        raise FileNotFoundError(f"{name}: no such file")
    return path.open("rb")


class _Source:
    """What libsndfile reads from: a file object that never raises, because C code calls it.

    A hostile header leads to reads of terabytes and to places before the beginning; neither reaches the file object.
    """

    def __init__(self, file: BinaryIO, name: str):
        if isinstance(file, io.TextIOBase):
            raise TypeError(f"{name} is a file opened as text: open it as binary, mode 'rb'")
        try:
            self.size = file.seek(0, os.SEEK_END)
        except (io.UnsupportedOperation, AttributeError) as error:
            raise ValueError(
                f"{name} cannot seek: read it into io.BytesIO first, or give a file that lies on a disk"
            ) from error
        self._file = file
        self._start = self._at = 0
        self._lost = False
        self.error: BaseException | None = None

    def skip_to_mp3(self) -> bool:
        """Leave out what stands before the first frame of MP3, as players do; whether there is something to leave out.

        Recorded radio streams begin in the middle of a frame, some programs put zeros first.
        """
        self._at = 0
        found = _MP3_FRAME.search(self.read(_MP3_JUNK))
        self._at = 0
        if found is None or found.start() == 0:
            return False
        self._start = found.start()
        self.size -= self._start
        return True

    def seek(self, offset: int, whence: int) -> None:
        target = offset + (0, self._at, self.size)[whence]
        self._lost = target < 0
        if not self._lost:
            self._at = target

    def tell(self) -> int:
        """The position, or once -1 after a seek to before the beginning, as lseek returns it."""
        lost, self._lost = self._lost, False
        return -1 if lost else self._at

    def read(self, count: int) -> bytes:
        count = min(count, max(self.size - self._at, 0))
        try:
            self._file.seek(self._start + self._at)
            data = self._file.read(count)
        except BaseException as error:  # Ctrl-C, too: it is raised again outside the C code, which would swallow it
            self.error = error
            return b""
        self._at += len(data)
        return data
