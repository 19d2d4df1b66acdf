"""Where recordings come from: folders, tables, lists and tar shards, all named by a string.

    data/speech                        a folder, searched recursively
    data/speech/a.wav                  a file
    data/all.csv?kind=noise&split=train  rows of a table (CSV, TSV, JSON lines) whose columns have these values
    data/wav.scp                       a list as Kaldi writes it: an identifier and a path per line
    data/speech-{000..041}.tar?ext=flac  members of WebDataset shards that have this extension
"""

from __future__ import annotations

import glob
import io
import os
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

import numpy as np

from gense.audio import read
from gense.data import manifest

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")


@dataclass(frozen=True)
class Recording:
    """A file, or a part of a tar file, that holds audio.

    Attributes:
        file: where it lies.
        key: by which pairs find each other: the path below its folder without suffix, the identifier of a list, or the
            name of a shard's sample.
        speaker: who speaks, if known.
        name: what messages call it.
        offset: first byte of a tar member; None for a whole file.
        size: its bytes.
    """

    file: Path
    key: str
    name: str
    speaker: str | None = None
    offset: int | None = None
    size: int = 0

    def read(self) -> tuple[np.ndarray, int]:
        """Return float32 (S, C) and the rate in Hz.

        Raises:
            FileNotFoundError, ValueError: what `gense.audio.read` raises.
        """
        if self.offset is None:
            return read(self.file)
        return read(io.BytesIO(self.data()), name=self.name)

    def data(self) -> bytes:
        """The bytes of the encoded file."""
        with open(self.file, "rb") as file:
            file.seek(self.offset or 0)
            return file.read(self.size if self.offset is not None else -1)


def recordings(source: str | os.PathLike[str]) -> list[Recording]:
    """All recordings of a source, in a fixed order; files of tables and lists need not exist.

    Raises:
        FileNotFoundError: no such folder or file.
        ValueError: no recording in it, or conditions that it does not know.
    """
    path, _, query = os.fspath(source).partition("?")
    conditions = dict(parse_qsl(query, keep_blank_values=True))
    suffix = Path(path).suffix.lower()
    if suffix == ".tar":
        found = _members(path, conditions)
    elif suffix in manifest.SUFFIXES:
        found = _rows(path, conditions)
    elif conditions:
        raise ValueError(f"{source}: conditions after ? are for tables and tar shards")
    elif suffix == ".scp":
        found = _listed(Path(path))
    elif Path(path).is_file():
        found = [Recording(Path(path), Path(path).stem, path)]
    else:
        found = [Recording(file, file.relative_to(path).with_suffix("").as_posix(), str(file))
                 for file in audio_files(path)]  # fmt: skip
    if not found:
        raise ValueError(f"{source}: no recordings" + (" that fulfil the conditions" if conditions else ""))
    return found


def all_recordings(sources: Sequence[str]) -> list[Recording]:
    """The recordings of several sources, one after the other."""
    return [recording for source in sources for recording in recordings(source)]


def audio_files(root: str | os.PathLike[str]) -> list[Path]:
    """All audio files below a folder, sorted.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: no audio file in it.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files:
        raise ValueError(f"{root}: no audio files ({', '.join(SUFFIXES)}) below this folder")
    return files


def shards(pattern: str) -> list[Path]:
    """Tar files by a pattern: with braces as of a shell, {000..041} and {a,b}, or with * and ?; sorted.

    Raises:
        FileNotFoundError: one of them does not exist, or none fits.
    """
    if "{" in pattern:
        try:
            from braceexpand import braceexpand
        except ModuleNotFoundError as error:
            raise ImportError(f"{pattern}: braces need webdataset: pip install gense[data]; or use *") from error
        files = [Path(name) for name in braceexpand(pattern)]
    else:
        files = sorted(map(Path, glob.glob(pattern))) or [Path(pattern)]
    if missing := [file for file in files if not file.is_file()]:
        others = f" (and {len(missing) - 1} more)" if missing[1:] else ""
        raise FileNotFoundError(f"{missing[0]}: no such file{others}")
    return files


def _members(pattern: str, conditions: dict[str, str]) -> list[Recording]:
    """Audio in tar files. As in WebDataset, a sample's name ends at the first dot of the last part of its path."""
    wanted = conditions.pop("ext", None)
    if conditions:
        raise ValueError(f"{pattern}: unknown condition {', '.join(conditions)}; tar shards know ext")
    found = []
    for file in shards(pattern):
        try:
            with tarfile.open(file, "r:") as tar:
                members = [member for member in tar if member.isfile()]
        except tarfile.TarError as error:
            raise ValueError(f"{file}: no plain tar file ({error}); compressed ones cannot be read in parts") from error
        for member in members:
            folder, _, last = member.name.rpartition("/")
            stem, _, extension = last.partition(".")
            audio = f".{extension.rpartition('.')[2].lower()}" in SUFFIXES
            if stem and (extension.lower() == wanted.lower() if wanted else audio):
                key = f"{folder}/{stem}" if folder else stem
                name = f"{file}:{member.name}"
                found.append(Recording(file, key, name, offset=member.offset_data, size=member.size))
    return found


def _rows(path: str, conditions: dict[str, str]) -> list[Recording]:
    rows = manifest.read_manifest(path)
    known = {key for row in rows for key in row}
    if unknown := set(conditions) - known:
        raise ValueError(f"{path}: no column {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    return [
        Recording(Path(row["path"]), row.get("id") or Path(row["path"]).stem, row["path"], row.get("speaker") or None)
        for row in rows if all(row.get(key) == value for key, value in conditions.items())
    ]  # fmt: skip


def _listed(path: Path) -> list[Recording]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        words = line.split(maxsplit=1)
        if words:
            name = words[-1].strip()
            if name.endswith("|"):
                raise ValueError(f"{path}: {words[0]} is a command; write the files first and name them")
            here = path.parent / name
            file = here if here.exists() or not Path(name).exists() else Path(name)
            found.append(Recording(file, words[0] if words[1:] else Path(name).stem, str(file)))
    return found
