"""Many files in one call: names kept, good files finished, bad ones listed."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gense.api import enhance, load
from gense.enhancer import Enhancer

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".w64", ".caf", ".au")


@dataclass
class Report:
    """What became of the files.

    Attributes:
        done: written outputs.
        skipped: outputs that were there already.
        failed: input -> reason.
    """

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)


def enhance_files(
    inputs: Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    method: str | os.PathLike[str] | Enhancer = "flowse",
    steps: int | None = None,
    sampler: str | None = None,
    schedule: str | None = None,
    seed: int = 0,
    device: str | None = None,
    dtype: str = "float32",
    compile: bool = False,
    trust: bool = False,
    resume: bool = False,
    options: dict[str, Any] | None = None,
) -> Report:
    """Enhance files, folders (recursively) and glob patterns, one file after the other.

    Names, folder structure, formats and sampling rates are kept. Each file appears whole or not at all; a bad file is
    reported and the others go on.

    Args:
        inputs: files, folders, or patterns such as "talks/*.wav".
        output: a file name for one input file, otherwise a folder, made as needed.
        method: a name, folder or file as `gense.load` takes it, or a loaded enhancer.
        steps: number of sampling steps; None takes the method's own.
        sampler: name in `gense.samplers` or dotted path; None takes the method's own.
        schedule: name in `gense.samplers.schedules` or dotted path; None takes the method's own.
        seed: of the noise, the same for every file.
        device: "cpu", "cuda", ...; None takes CUDA where there is one.
        dtype: "float32", or "bfloat16" or "float16" for the network.
        compile: compile the networks; pays off on many files of like length.
        trust: let a folder's `method.yaml` name classes outside gense.
        resume: skip inputs whose output file is already there.
        options: options of the sampler and the schedule.

    Returns:
        What was done, skipped and failed.

    Raises:
        ValueError: no inputs, two inputs with the same output, or a method, sampler or option that does not exist.
        FileNotFoundError: an input does not exist.
        OSError: the output folder cannot be made.
    """
    plan = _plan(inputs, Path(output))
    report = Report()
    waiting = []
    for source, target in plan:
        if resume and target.exists():
            report.skipped.append(target)
        else:
            waiting.append((source, target))
    if not waiting:
        return report
    loaded = method if isinstance(method, Enhancer) else load(
        method, device=device, dtype=dtype, compile=compile, trust=trust
    )
    choice: dict[str, Any] = {"steps": steps, "sampler": sampler, "schedule": schedule, "seed": seed, **(options or {})}
    for source, target in tqdm(waiting, unit="file", disable=True if len(waiting) == 1 else None):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            enhance(str(source), loaded, output=target, **choice)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            report.failed[source] = str(error) or type(error).__name__
            tqdm.write(f"failed: {source}: {report.failed[source]}", file=sys.stderr)
        else:
            report.done.append(target)
    return report


def _plan(inputs: Sequence[str | os.PathLike[str]], output: Path) -> list[tuple[Path, Path]]:
    """Pair every input file with its output."""
    sources = [pair for given in inputs for pair in _expand(given)]
    if not sources:
        raise ValueError("no input files")
    single = len(inputs) == 1 and len(sources) == 1 and not Path(inputs[0]).is_dir()
    if single and output.suffix.lower() in SUFFIXES and not output.is_dir():
        plan = [(sources[0][0], output)]
    else:
        if output.is_file() or output.suffix.lower() in SUFFIXES:
            raise ValueError(f"output {output} is a file name, but there are {len(sources)} inputs: give a folder")
        plan = [(source, output / relative) for source, relative in sources]
    taken: dict[Path, Path] = {}
    for source, target in plan:
        if target.resolve() == source.resolve():
            raise ValueError(f"output {target} is the input itself: give another folder or name")
        if target in taken:
            raise ValueError(f"{taken[target]} and {source} would both be written to {target}: give their folder instead")
        taken[target] = source
    return plan


def _expand(given: str | os.PathLike[str]) -> list[tuple[Path, Path]]:
    """(file, its path relative to the output folder) of a file, a folder or a pattern."""
    path = Path(given)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not files:
            raise ValueError(f"{path}: no audio files ({', '.join(SUFFIXES)}) in this folder")
        return [(p, p.relative_to(path)) for p in files]
    if path.exists():
        return [(path, Path(path.name))]
    matches = sorted(Path(p) for p in glob.glob(os.fspath(given), recursive=True) if Path(p).is_file())
    if not matches:
        raise FileNotFoundError(f"{given}: no such file or folder")
    return [(p, Path(p.name)) for p in matches]
