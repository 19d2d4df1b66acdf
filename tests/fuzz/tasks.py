"""The child's side of the sandbox: reads one file after the other, under a limit on memory."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from gense import audio
from gense.checkpoints.build import build, read_config
from gense.checkpoints.folder import read_state
from gense.checkpoints.load import load_enhancer
from gense.checkpoints.pickled import read_checkpoint


def read_audio(path: Path) -> str:
    wav, rate = audio.read(path)
    assert wav.dtype.name == "float32"
    assert wav.ndim == 2
    return f"{wav.shape[0]} {wav.shape[1]} {rate}"


def load_model(path: Path) -> str:
    load_enhancer(path)
    return "loaded"


TASKS: dict[str, Callable[[Path], object]] = {
    "audio": read_audio,
    "tensors": read_state,
    "pickle": read_checkpoint,
    "yaml": read_config,
    "build": lambda path: build(read_config(path)),
    "load": load_model,
}


def outcome(task: str, path: Path) -> dict[str, str]:
    """What came of it: "ok", or the kind and message of the exception."""
    try:
        told = TASKS[task](path)
    except ValueError as error:
        return {"kind": "ValueError", "told": str(error)}
    except BaseException as error:  # the parent judges what else may come
        return {"kind": type(error).__name__, "told": str(error), "trace": traceback.format_exc(limit=-8)}
    return {"kind": "ok", "told": told if isinstance(told, str) else ""}


def main(extra: int) -> None:
    """Answer lines {"task", "path"} of the input with lines of the output, in `extra` bytes beyond what is used now."""
    warnings.simplefilter("ignore")
    # What the libraries used print themselves must not get between the answers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for task in TASKS:  # imports and caches are no part of what a hostile file costs
        with contextlib.suppress(OSError, ValueError):
            TASKS[task](Path("missing"))
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + extra, used + extra))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        print(json.dumps(outcome(job["task"], Path(job["path"]))), file=answers, flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
