"""Many files in one call: names kept, good files finished, bad ones listed."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gense.api import enhance_file, load
from gense.check import Checks, Flag
from gense.choices import checked_sampling, checked_seed
from gense.enhancer import Enhancer
from gense.transcripts import transcripts_of

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif", ".w64", ".caf", ".au")


@dataclass
class Report:
    """What became of the files.

    Attributes:
        done: written outputs.
        skipped: outputs that were there already.
        failed: input -> reason.
        flagged: output -> where it says something else than the input, for those that do.
    """

    done: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: dict[Path, str] = field(default_factory=dict)
    flagged: dict[Path, list[Flag]] = field(default_factory=dict)


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
    text: str | None = None,
    text_file: str | os.PathLike[str] | None = None,
    transcripts: str | os.PathLike[str] | None = None,
    options: dict[str, Any] | None = None,
    check: bool | Checks = False,
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
        text: what is said in a single input file, for methods that read it.
        text_file: text file that says it.
        transcripts: CSV or TSV with columns path and text: a transcript for every input, see `read_transcripts`.
        options: options of the sampler and the schedule; guidance and guidance_interval.
        check: find where outputs say something else than their inputs, see `gense.check.check`.

    Returns:
        What was done, skipped and failed.

    Raises:
        ValueError: no inputs, two inputs with the same output, a method, sampler or option that does not exist, or
            transcripts that are missing, empty or not for this method.
        FileNotFoundError: an input does not exist.
        OSError: the output folder cannot be made or written.
    """
    checked_seed(seed)
    plan = _plan(inputs, output)
    report = Report()
    waiting = []
    for source, target in plan:
        if resume and target.exists():
            report.skipped.append(target)
        else:
            waiting.append((source, target))
    if not waiting:
        return report
    texts = transcripts_of([source for source, _ in waiting], text, text_file, transcripts)
    for folder in {target.parent for _, target in waiting}:
        _check_folder(folder)
    if not isinstance(method, Enhancer):
        loaded = load(method, device=device, dtype=dtype, compile=compile, trust=trust)
    elif device is not None or dtype != "float32" or compile:
        raise ValueError("device, dtype and compile belong to gense.load, which has made this enhancer already")
    else:
        loaded = method
    # What is wrong with the settings is wrong for every file: say it once, before any of them
    sampling = checked_sampling(loaded, steps, sampler, schedule, options or {})
    if texts:
        loaded.transcripts(list(texts.values()), len(texts))
    for source, target in tqdm(waiting, unit="file", disable=True if len(waiting) == 1 else None):
        made: list[Path] = []
        try:
            made = _make_folders(target.parent)
            flags = enhance_file(source, target, loaded, sampling, seed, texts.get(source), check)
        except (ValueError, TypeError, OSError, RuntimeError) as error:
            report.failed[source] = str(error).removeprefix(f"{source}: ") or type(error).__name__
            for folder in made:
                folder.rmdir()
        else:
            report.done.append(target)
            if flags:
                report.flagged[target] = flags
    return report


def _check_folder(folder: Path) -> None:
    """Refuse a folder that neither exists nor can be made, before any work."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"output {folder}: {there} is a file; give another folder")
    if not os.access(there, os.W_OK):
        raise PermissionError(f"output {folder}: {there} cannot be written; give another folder")


def _make_folders(folder: Path) -> list[Path]:
    """Make a folder and what is missing above it; returns the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _plan(inputs: Sequence[str | os.PathLike[str]], output: str | os.PathLike[str]) -> list[tuple[Path, Path]]:
    """Pair every input file with its output."""
    target = Path(output)
    sources = [pair for given in inputs for pair in _expand(given, target)]
    if not sources:
        raise ValueError("no input files")
    is_folder = target.is_dir() or os.fspath(output).endswith(("/", os.sep))
    single = len(inputs) == 1 and len(sources) == 1 and not Path(inputs[0]).is_dir()
    if single and target.suffix and not is_folder:
        plan = [(sources[0][0], target)]
    elif not is_folder and (target.is_file() or target.suffix.lower() in SUFFIXES):
        raise ValueError(f"output {target} is a file name, but there may be several inputs: give a folder")
    else:
        plan = [(source, target / relative) for source, relative in sources]
    sources_of: dict[Path, Path] = {}
    for source, path in plan:
        if path.resolve() == source.resolve():
            raise ValueError(f"output {path} is the input itself: give another folder or name")
        other = sources_of.setdefault(path, source)
        if other.resolve() != source.resolve():
            raise ValueError(f"{other} and {source} would both be written to {path}: give the folder above them")
    return [(source, path) for path, source in sources_of.items()]


def _expand(given: str | os.PathLike[str], output: Path) -> list[tuple[Path, Path]]:
    """(file, its path relative to the output folder) of a file, a folder or a pattern."""
    path = Path(given)
    if path.is_dir():
        # Results may lie inside the input folder; a second run must not enhance them
        inside = output.resolve() if path.resolve() in output.resolve().parents else None
        files = sorted(
            p for p in path.rglob("*")
            if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
            and (inside is None or inside not in p.resolve().parents)
        )
        if not files:
            raise ValueError(f"{path}: no audio files ({', '.join(SUFFIXES)}) in this folder")
        return [(p, p.relative_to(path)) for p in files]
    if path.exists():
        return [(path, Path(path.name))]
    matches = sorted(Path(p) for p in glob.glob(os.fspath(given), recursive=True) if Path(p).is_file())
    if not matches:
        raise FileNotFoundError(f"{given}: no such file or folder")
    return [(p, Path(p.name)) for p in matches]
