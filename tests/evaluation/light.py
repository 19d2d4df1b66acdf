"""Functions for worker processes, in a file that imports next to nothing."""

from __future__ import annotations

import os
import time


def half(number: int) -> int:
    """Half of an even number; what else can happen to an item, for some others."""
    print("noise on standard output", flush=True)
    if number == 13:
        os._exit(7)
    if number == 1000:
        raise ImportError("nothing is not installed: pip install gense[metrics]")
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number // 2


def process_and_threads(item: int) -> tuple[int, str | None]:
    time.sleep(0.2)  # long enough for the others to take the next
    return os.getpid(), os.environ.get("OMP_NUM_THREADS")


def forever(item: int) -> None:
    if item:
        time.sleep(600)
