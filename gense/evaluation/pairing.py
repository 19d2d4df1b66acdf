"""Which files belong together: enhanced, clean and noisy, by name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from gense.files import SUFFIXES
from gense.transcripts import read_transcripts

MARK = ".enhanced"
"""What `gense.enhance` puts behind the name of a file that it writes beside its input."""


@dataclass(frozen=True)
class Job:
    """The files of one clip, by a name they share."""

    name: str
    est: Path
    clean: Path | None = None
    noisy: Path | None = None

    def paths(self) -> list[Path]:
        """The files there are."""
        return [path for path in (self.est, self.clean, self.noisy) if path is not None]


@dataclass
class Matched:
    """What matching found.

    Attributes:
        jobs: clips with all their files, sorted by name.
        failed: name -> which file is missing, or is there twice.
        left_out: names of clean or noisy files without an enhanced one.
    """

    jobs: list[Job] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def match(
    enhanced: str | os.PathLike[str],
    clean: str | os.PathLike[str] | None = None,
    noisy: str | os.PathLike[str] | None = None,
) -> Matched:
    """Match the files of folders by their path inside the folder without suffix, so that x/a.flac meets x/a.wav.

    The name of an enhanced file is also known without `.enhanced` at its end: beside the inputs, a.enhanced.wav is
    the result for a.wav. A file `enhanced` goes with files, whatever their names, and with the one of its name in a
    folder.

    Raises:
        ValueError: a folder without audio files, or a folder matched with a single file.
        FileNotFoundError: no such file or folder.
    """
    root = Path(enhanced)
    results, twice = _results(root)
    found = Matched(failed=dict(twice))
    partners: dict[str, dict[str, Path]] = {}
    for what, given in (("clean", clean), ("noisy", noisy)):
        if given is None:
            continue
        if Path(given).is_dir():
            partners[what], doubled = _unique(_audio(Path(given)), Path(given))
            found.failed.update({name: reason for name, reason in doubled.items() if name in results})
        elif not Path(given).exists():
            raise FileNotFoundError(f"{what} {given}: no such file or folder")
        elif root.is_dir():
            raise ValueError(f"{what} {given} is a file, but enhanced {root} is a folder: give a folder for both")
        else:
            partners[what] = dict.fromkeys(results, Path(given))
    for name, est in results.items():
        if name in found.failed:
            continue
        missing = [what for what, files in partners.items() if name not in files]
        if missing:
            found.failed[name] = f"no {' and no '.join(missing)} file of this name"
        else:
            found.jobs.append(Job(name, est, **{what: files[name] for what, files in partners.items()}))
    others = {name for files in partners.values() for name in files}
    found.left_out = sorted(others - results.keys() - found.failed.keys()) if root.is_dir() else []
    return found


def _results(root: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """Name -> enhanced file, and name -> why it is not clear which."""
    if not root.is_dir():
        if not root.exists():
            raise FileNotFoundError(f"enhanced {root}: no such file or folder")
        return {root.stem.removesuffix(MARK): root}, {}
    files = _audio(root, results=True)
    marked = {path.with_name(path.stem.removesuffix(MARK)) for path in files if path.stem.endswith(MARK)}
    # A file beside its result is the input
    return _unique((path for path in files if path.with_suffix("") not in marked), root)


def _unique(files: Iterable[Path], root: Path) -> tuple[dict[str, Path], dict[str, str]]:
    known: dict[str, Path] = {}
    twice: dict[str, str] = {}
    for path in files:
        name = path.relative_to(root).with_suffix("").as_posix().removesuffix(MARK)
        if known.setdefault(name, path) != path:
            twice[name] = f"both {known[name]} and {path} have this name: leave one of them"
    return known, twice


def _audio(root: Path, *, results: bool = False) -> list[Path]:
    """Audio files below a folder, sorted; results of `gense.enhance` among its inputs only if asked for."""
    files = sorted(
        path for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
        and (results or not path.stem.endswith(MARK))
    )
    if not files:
        raise ValueError(f"{root}: no audio files ({', '.join(SUFFIXES)}) in this folder")
    return files


def texts_of(
    jobs: Sequence[Job], transcripts: str | os.PathLike[str] | Mapping[str, str] | None
) -> dict[str, str | None]:
    """What is said in each clip, None where it is not known.

    Args:
        jobs: the clips.
        transcripts: a table as `read_transcripts` takes it, whose paths are those of enhanced, clean or noisy files; a
            mapping by name; or None.

    Raises:
        ValueError: it is no such table.
        FileNotFoundError: there is no such table.
    """
    if transcripts is None:
        return {job.name: None for job in jobs}
    if isinstance(transcripts, Mapping):
        return {job.name: transcripts.get(job.name) for job in jobs}
    known = read_transcripts(transcripts)
    return {job.name: next(filter(None, (known.get(path.resolve()) for path in job.paths())), None) for job in jobs}
