"""A clip of a corpus: where its bytes lie, and the name under which its result appears."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from gense.files import SUFFIXES

OWN_FOLDER = "_gense"  # beside the results: what a job writes for itself
PARTS = f"{OWN_FOLDER}/parts"  # rows of the manifest
STAGED = f"{OWN_FOLDER}/staged"  # results that wait for their shard
PACKED = f"{OWN_FOLDER}/packed"  # what the finished shards hold
MANIFEST = "manifest.parquet"
_LONGEST = 200  # bytes of one part of a key: most file systems take 255, and temporary names are longer


@dataclass(frozen=True)
class Item:
    """One clip; pickles, and is small enough that millions fit into memory.

    Attributes:
        key: name of the result relative to the output folder, with "/" between folders and a suffix that names the
            format; unique in a job. See `checked_key`.
        uri: path or fsspec URI of the file that holds the bytes: the clip itself, a tar shard or a Parquet file.
        size: bytes of the clip as it is stored; for a row of a Parquet file the mean of its row group, as the lengths
            stand among the bytes.
        shard: for clips in tar shards and Parquet files, the file's name relative to where the listing began, with its
            suffix; None for a file of its own.
        member: name inside the tar shard.
        offset: first byte of the member inside the tar shard.
        row: number of the row in the Parquet file, from 0.
        column: of the audio in the Parquet file.
        problem: why this cannot be enhanced (a shard that is cut off, a row without a path, a name that leaves the
            output folder); the job reports it as a failed item and reads nothing. None for a clip.
        extra: the other columns of the list that named it, as JSON.
    """

    key: str
    uri: str
    size: int = 0
    shard: str | None = None
    member: str | None = None
    offset: int | None = None
    row: int | None = None
    column: str | None = None
    problem: str | None = None
    extra: str | None = None

    @property
    def source(self) -> str:
        """Where the clip comes from, for people; fsspec opens what it says of a file or of a member of a shard."""
        if self.member is not None:
            return f"tar://{self.member}::{self.uri}"
        return self.uri if self.row is None else f"{self.uri}#row={self.row}"


def checked_key(name: str) -> str:
    """Return the name as a key: relative, "/" between its parts, none of them empty, "." or "..".

    Raises:
        ValueError: it would leave the output folder or meet what the job writes there for itself, a part of it is too
            long, or it holds control characters, a backslash or bytes that are no UTF-8.
    """
    if not name or name.startswith("/") or re.match("[A-Za-z]:/", name):
        raise ValueError(f"{name!r} is no relative name")
    if "\\" in name or any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        raise ValueError(f"{name!r} holds characters that no file name should have")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise ValueError(f"{name!r} leads out of the output folder, or is the folder itself")
    if parts[0] == OWN_FOLDER or parts == [MANIFEST]:
        raise ValueError(f"{name!r}: results of that name would meet what the job keeps in the output folder")
    if any(len(part.encode()) > _LONGEST for part in parts):
        raise ValueError(f"{name[:60]!r}... has a part of more than {_LONGEST} bytes")
    return "/".join(parts)


def key_of(name: str, format: str | None, otherwise: str = ".wav") -> str:
    """The key of a clip of that name.

    Args:
        name: relative, with the suffix of the clip or without one.
        format: suffix of the results without a dot, None keeps that of the name.
        otherwise: suffix where the name has none that is known.

    Raises:
        ValueError: as `checked_key`.
    """
    key = checked_key(name)
    stem, dot, suffix = key.rpartition(".")
    known = bool(dot) and f".{suffix.lower()}" in SUFFIXES and not stem.endswith("/") and bool(stem)
    if known and format is None:
        return key
    return checked_key(f"{stem if known else key}{otherwise if format is None else '.' + format}")


def refused(name: str, uri: str, error: Exception | str) -> Item:
    """The item that reports what cannot be enhanced.

    Its key is made of the name: unsafe characters become "_", and what looks like the key of a clip gets a mark, as
    there may be a clip of that key.
    """
    parts = [re.sub(r"[^\w .()+,=@-]", "_", part)[:60].strip(". ") for part in name.split("/")]
    key = "/".join(part for part in parts if part) or "_"
    key = f"_/{key}" if key.split("/")[0] == OWN_FOLDER else key
    return Item(key=f"{key} (refused)" if key.lower().endswith(SUFFIXES) else key, uri=uri, problem=str(error))
