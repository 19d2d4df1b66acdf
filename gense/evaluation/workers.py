"""Work spread over processes: one at a time each, on one thread each, replaced when they die."""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
# The child finds modules where the parent does. This file is run by its path, so that nothing is imported but what the
# function needs
_PROGRAM = "import pickle, runpy, sys; path, sys.path = pickle.load(sys.stdin.buffer); runpy.run_path(path)['serve']()"


@dataclass(frozen=True)
class Failed:
    """No result, and why."""

    reason: str


def outcomes(function: Callable[[Item], Any], items: Sequence[Item], workers: int) -> Iterator[tuple[Item, Any]]:
    """Call a function on every item and yield (item, result or `Failed`) in the order in which they finish.

    With one worker everything happens in this process. With more, each is a process of its own that is started anew,
    so that a calling script needs no `if __name__ == "__main__"`, and whose death (native code that writes where it
    should not) costs one item.

    Args:
        function: of one item. An exception makes the item fail; ImportError ends the whole, as it would come back for
            every item.
        items: given to the function one by one.
        workers: number of processes.

    Raises:
        ValueError: the function or an item cannot be sent to another process.
        ImportError: a package is missing.
        RuntimeError: a process cannot be started.
    """
    if workers <= 1:
        for item in items:
            yield item, _call(function, item)
        return
    try:
        parcel = pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ValueError(f"workers={workers}: a metric cannot be sent to other processes ({error}); use 1") from error
    pool = _Pool(parcel)
    with ThreadPoolExecutor(workers) as threads:
        waiting = {threads.submit(pool.call, item): item for item in items}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            pool.close()


def _call(function: Callable[[Item], Any], item: Item) -> Any:
    try:
        return function(item)
    except ImportError:
        raise
    except Exception as error:  # whatever a metric or a file brings up: the others go on
        return Failed(_reason(error))


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__


class _Pool:
    """Processes that are idle, and all that live."""

    def __init__(self, parcel: bytes):
        self.parcel, self.closed = parcel, False
        self.idle: queue.SimpleQueue[_Process] = queue.SimpleQueue()
        self.alive: set[_Process] = set()

    def call(self, item: Any) -> Any:
        try:
            process = self.idle.get_nowait()
        except queue.Empty:
            process = _Process()
            self.alive.add(process)
            if self.closed:  # meanwhile
                process.end()
            process.greet(self.parcel)
        answer = process.ask(item)
        if process.ended is None and not self.closed:
            self.idle.put(process)
        return answer

    def close(self) -> None:
        self.closed = True
        for process in list(self.alive):
            process.end()


class _Process:
    """One worker: pickles go in through its standard input and come back through its standard output."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**os.environ, **dict.fromkeys(_THREADS, "1")},
        )
        self.ended: int | None = None

    def greet(self, parcel: bytes) -> None:
        kind, reason = self._exchange(pickle.dumps((__file__, sys.path)) + pickle.dumps(parcel))
        if kind == "died":
            raise RuntimeError(f"a worker process {reason} when it was started; use 1 worker")
        if kind == "failed":
            raise ValueError(f"a metric cannot be loaded by other processes ({reason}); use 1 worker")

    def ask(self, item: Any) -> Any:
        kind, what = self._exchange(pickle.dumps(item))
        if kind == "missing":
            raise ImportError(what)
        if kind == "died":
            return Failed(f"the process that worked on it {what}")
        return Failed(what) if kind == "failed" else what

    def end(self) -> None:
        self.child.kill()
        self.child.wait()
        for pipe in (self.child.stdin, self.child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _exchange(self, message: bytes) -> tuple[str, Any]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        try:
            self.child.stdin.write(message)
            self.child.stdin.flush()
            return pickle.load(self.child.stdout)
        except (OSError, EOFError, pickle.UnpicklingError, ValueError):  # ValueError: closed by another thread
            self.child.kill()
            self.ended = self.child.wait()
            return "died", f"died (exit status {self.ended})"


def serve() -> None:
    """What a worker process does: load the function, then answer item after item until its input ends."""
    # What native code or a print writes to standard output must not fall among the answers
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)

    def answer(kind: str, what: Any) -> None:
        answers.write(pickle.dumps((kind, what)))
        answers.flush()

    with contextlib.suppress(KeyboardInterrupt, EOFError, BrokenPipeError):
        try:
            function = pickle.loads(pickle.load(sys.stdin.buffer))
        except Exception as error:  # anything may be missing here
            answer("failed", _reason(error))
            return
        answer("ready", None)
        while True:
            item = pickle.load(sys.stdin.buffer)
            try:
                answer("result", function(item))
            except ImportError as error:
                answer("missing", _reason(error))
            except Exception as error:  # as in _call; a class of this file would have another name here
                answer("failed", _reason(error))
