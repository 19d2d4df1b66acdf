"""The line that says how far a job is."""

from __future__ import annotations

import io

import pytest

from gense.scale.progress import Progress, duration


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_line_has_speed_time_left_and_failures() -> None:
    clock = Clock()
    line = Progress(io.StringIO(), clock=clock)
    line.expect(100, 1000, complete=True)
    clock.now += 90
    line.update(10, 1, 3600.0, 250)
    assert line.line() == "10 of 100 files, 1 failed, 40 hours of audio an hour, 4 min 30 s left"
    clock.now += 10
    line.update(90, 0, 0.0, 750)
    assert line.line() == "100 of 100 files, 1 failed, 36 hours of audio an hour"


def test_time_left_waits_until_all_work_is_known() -> None:
    line = Progress(None, clock=Clock())
    line.expect(10, 100, complete=False)
    line.update(5, 0, 10.0, 50)
    assert line.line().startswith("5 of 10 or more files")
    assert "left" not in line.line()


@pytest.mark.parametrize(("stream", "lines"), [(Terminal(), 4), (io.StringIO(), 2)], ids=["terminal", "file"])
def test_a_terminal_shows_one_line_that_changes_and_a_file_one_a_minute(stream: io.StringIO, lines: int) -> None:
    clock = Clock()
    line = Progress(stream, clock=clock)
    line.expect(3, 3, complete=True)
    for _ in range(3):
        clock.now += 40
        line.update(1, 0, 1.0, 1)
    line.close()
    shown = stream.getvalue().split("\r")[1:] if stream.isatty() else stream.getvalue().splitlines()
    assert len(shown) == lines
    assert shown[-1].startswith("3 of 3 files")


def test_without_a_stream_nothing_is_written() -> None:
    line = Progress(None)
    line.update(1, 0, 1.0, 1)
    line.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.6, "1 min 00 s"), (90, "1 min 30 s"), (7500, "2 h 05 min"), (273600, "3 d 4 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
