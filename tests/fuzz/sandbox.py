"""A process in which hostile files are read: libraries in C may crash it, hang, or ask for all memory."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 10.0
# How many times as long a file may take by the clock, for those that sleep or wait
_PATIENCE = 12
MEMORY = 1536 << 20


def _worked(process: int) -> float:
    """Seconds of processor time that a process has taken: on a busy machine the clock tells little."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Sandbox:
    """Runs one task of `tests.fuzz.tasks` after the other in a child, and starts another one when that has died.

    Args:
        folder: for the files.
        seconds: of processor time that one file may take.
        memory: bytes that reading one file may take beyond what the libraries take.
    """

    def __init__(self, folder: Path, *, seconds: float = SECONDS, memory: int = MEMORY):
        self.folder, self.seconds, self.memory = folder, seconds, memory
        self.ran = 0
        self._child: subprocess.Popen[str] | None = None

    def run(self, task: str, content: bytes, name: str) -> tuple[str, str]:
        """Read one file.

        Returns:
            ("ok", what the task tells) or ("ValueError", message).

        Raises:
            AssertionError: anything else: another exception, a message of several lines, a crash, too much time.
        """
        path = self.folder / name
        path.write_bytes(content)
        return self.run_path(task, path)

    def run_path(self, task: str, path: Path) -> tuple[str, str]:
        """Read a file or folder that is there already; see `run`."""
        child = self._running()
        assert child.stdin is not None
        assert child.stdout is not None
        self.ran += 1
        begun, worked = time.monotonic(), _worked(child.pid)
        child.stdin.write(json.dumps({"task": task, "path": str(path)}) + "\n")
        child.stdin.flush()
        while not select.select([child.stdout], [], [], 0.5)[0]:
            spent, waited = _worked(child.pid) - worked, time.monotonic() - begun
            if spent > self.seconds or waited > _PATIENCE * self.seconds:
                self.close()
                raise AssertionError(f"{task} {path.name}: no answer after {spent:.1f} s of work in {waited:.1f} s")
        line = child.stdout.readline()
        if not line:
            status = child.wait()
            self._child = None
            raise AssertionError(f"{task} {path.name}: the process died with status {status}")
        answer = json.loads(line)
        spent = time.monotonic() - begun
        told = f"{answer['kind']} after {spent:.1f} s: {answer['told']}\n{answer.get('trace', '')}"
        assert answer["kind"] in ("ok", "ValueError"), told
        assert "\n" not in answer["told"], told
        assert len(answer["told"]) < 2000, told
        return answer["kind"], answer["told"]

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _running(self) -> subprocess.Popen[str]:
        if self._child is None:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.tasks", str(self.memory)], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=Path(__file__).parents[2],
            )  # fmt: skip
            assert self._child.stdout is not None
            assert self._child.stdout.readline() == "ready\n"
        return self._child
