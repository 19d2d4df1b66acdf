"""Where results go: files that mirror the keys, or shards like those that came in."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Literal

import numpy as np

from gense.checkpoints.fetch import file_hash
from gense.scale.coding import encode
from gense.scale.items import OWN_FOLDER, STAGED, Item
from gense.scale.places import OutputError, absolute, join, put, put_file, remove

__all__ = ["Layout", "OutputError", "Sink", "Written"]

Layout = Literal["files", "tar", "parquet"]
_ENDINGS = {"tar": ".tar", "parquet": ".parquet"}


@dataclass(frozen=True)
class Written:
    """One result, as the manifest records it.

    Attributes:
        output: name relative to the output folder: a file, or the shard in which it ends up.
        size: bytes of the result.
        sha256: of the bytes, hexadecimal.
    """

    output: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Sink:
    """Writes results below an output folder, each whole or not at all; pickles.

    With the layout "tar" or "parquet" results are files below OUT/_gense/staged at first;
    `gense.scale.packing.pack` makes shards of them when a job ends.

    Args:
        output: folder, local or an fsspec URI; made as needed. A relative path is made absolute, because other
            processes may have another working folder.
        layout: "files": OUT/key; "tar" and "parquet": shards named like those of the input, which must be such.

    Raises:
        ValueError: unknown layout.
    """

    output: str
    layout: Layout = "files"

    def __post_init__(self) -> None:
        if self.layout not in ("files", *_ENDINGS):
            raise ValueError(f"layout={self.layout!r}: expected files, tar or parquet")
        object.__setattr__(self, "output", absolute(self.output))

    def check(self) -> None:
        """Write and remove a few bytes: find out whether anything can be written at all.

        Raises:
            OutputError: saying why not.
            OSError: the output is no folder.
        """
        probe = join(self.output, f"{OWN_FOLDER}/probe-{os.getpid()}")
        put(probe, bytes(4096))
        remove(probe)

    def write(self, item: Item, wav: np.ndarray, sample_rate: int, *, like: bytes | None = None) -> Written:
        """Write a result under the item's key.

        Args:
            item: whose result it is.
            wav: float (S, C) or (S,), full scale 1.
            sample_rate: Hz.
            like: the input's bytes; their sample format is kept where the output's format has it.

        Raises:
            ValueError: a rate or channel count that the format does not take, or a clip that is in no shard of the
                layout's kind.
            OutputError: the disk is full or the folder cannot be written; nothing is left behind.
        """
        output = self._output(item)
        data = encode(wav, sample_rate, item.key, like=like)
        put(self.place(item), data)
        return Written(output, len(data), hashlib.sha256(data).hexdigest())

    def adopt(self, item: Item, path: str | os.PathLike[str]) -> Written:
        """Move a finished local file to where the item's result belongs, without reading it into memory.

        The time stamps and random numbers that `gense.scale.coding.steady` takes out of a file stay in this one: two
        runs over float WAV or Ogg give equal samples and unequal checksums.

        Raises:
            ValueError: as `write`.
            OutputError: as `write`.
        """
        written = Written(self._output(item), os.path.getsize(path), file_hash(path))
        put_file(self.place(item), path)
        return written

    def place(self, item: Item) -> str:
        """Path or URI of the file that `write` makes for an item."""
        return join(self.output, item.key if self.layout == "files" else f"{STAGED}/{item.key}")

    def _output(self, item: Item) -> str:
        if self.layout == "files":
            return item.key
        if item.shard is None or not item.shard.endswith(_ENDINGS[self.layout]):
            raise ValueError(f"layout={self.layout!r}: {item.source} is in no {self.layout} shard; use layout 'files'")
        return item.shard
