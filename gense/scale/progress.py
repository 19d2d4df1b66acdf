"""One line that says how far a job is."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Files done, speed in hours of audio per hour, time left, failures.

    A terminal shows one line that changes, anything else a line now and then.

    Args:
        stream: where it is written; None writes nothing.
        clock: seconds, rising.
        every: seconds between lines; None: a tenth for a terminal, a minute otherwise.
    """

    def __init__(
        self, stream: TextIO | None = sys.stderr, *, clock: Callable[[], float] = time.monotonic,
        every: float | None = None,
    ):  # fmt: skip
        self.stream, self.clock = stream, clock
        self.terminal = stream is not None and stream.isatty()
        self.every = every if every is not None else 0.1 if self.terminal else 60.0
        self.files, self.failed, self.audio, self.size = 0, 0, 0.0, 0
        self.all_files, self.all_size, self.complete = 0, 0, False
        self.begun = self.shown = clock()
        self.width = 0

    def expect(self, files: int, size: int, *, complete: bool) -> None:
        """Add work that was found.

        Args:
            files: how many more.
            size: their bytes, by which the time left is reckoned.
            complete: whether there is no more to come.
        """
        self.all_files, self.all_size, self.complete = self.all_files + files, self.all_size + size, complete

    def update(self, files: int, failed: int, audio: float, size: int) -> None:
        """Count work that is finished, and show it if the last line is old enough.

        Args:
            files: how many, with those that failed.
            failed: how many of them failed.
            audio: seconds of audio in them.
            size: their bytes.
        """
        self.files, self.failed, self.audio = self.files + files, self.failed + failed, self.audio + audio
        self.size += size
        if self.clock() - self.shown >= self.every:
            self.show()

    def show(self) -> None:
        """Write the line."""
        self.shown = self.clock()
        if self.stream is None:
            return
        text = self.line()
        self.stream.write(f"\r{text.ljust(self.width)}" if self.terminal else f"{text}\n")
        self.stream.flush()
        self.width = len(text)

    def line(self) -> str:
        """The line as text."""
        elapsed = max(self.clock() - self.begun, 1e-9)
        parts = [f"{self.files} of {self.all_files}{'' if self.complete else ' or more'} files"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.audio:
            parts.append(f"{self.audio / elapsed:.3g} hours of audio an hour")
        if self.complete and self.size and self.files < self.all_files:
            parts.append(f"{duration(elapsed * (self.all_size - self.size) / self.size)} left")
        return ", ".join(parts)

    def close(self) -> None:
        """Write the last line, and end it."""
        if self.files:
            self.show()
        if self.terminal and self.stream is not None and self.width:
            self.stream.write("\n")


def duration(seconds: float) -> str:
    """Time in the two units that matter: "3 d 4 h", "2 h 05 min", "1 min 30 s", "12 s"."""
    whole = round(max(seconds, 0.0))
    days, hours, minutes = whole // 86400, whole % 86400 // 3600, whole % 3600 // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {whole % 60:02d} s" if minutes else f"{whole} s"
