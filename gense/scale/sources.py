"""The clips of a corpus: folders, lists of paths, tar shards, Parquet files; on any path that fsspec opens."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from gense.files import SUFFIXES
from gense.scale.folders import clips_in_folder
from gense.scale.items import Item, key_of, refused
from gense.scale.lists import LISTS, clips_in_list
from gense.scale.places import absolute, join, locate, uri_of
from gense.scale.tables import Rows, clips_in_table, has_audio
from gense.scale.tars import clips_in_tar

_CHOICE = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def list_items(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str] | None = None,
    format: str | None = None,
    audio_column: str = "audio",
    key_column: str | None = None,
) -> Iterator[Item]:
    """Find the clips of a corpus, one after the other, in an order that depends on names alone.

    Paths are local or fsspec URIs ("s3://bucket/corpus"); credentials and endpoints come from fsspec's own
    configuration and environment. What is wrong with the arguments is said at once, not when the listing gets there.

    Args:
        source: one of these, or several of them:
            a folder, walked recursively for files with `gense.files.SUFFIXES`, hidden ones and linked folders left out;
            a list of paths: .csv, .tsv, .jsonl, .json (a JSON object a line) or .parquet with a column `path` or
            `audio_filepath`, relative to the list's folder, absolute or URIs;
            tar shards: "shard-{000..009}.tar" or "shards/*.tar", every member with an audio suffix a clip;
            Parquet files, or a pattern of them, with the audio's bytes in a column, plain or as the struct
            {bytes, path}.
        output: folder of the results; what lies in it is not listed if it lies inside a source folder.
        format: suffix of the results without a dot ("flac"), None keeps that of each clip.
        audio_column: of Parquet files with bytes.
        key_column: column of a Parquet file, or of a list of paths, that names the results; None takes for Parquet
            `key`, `__key__`, `id` or the struct's path, whichever there is first, or else the number of the row; and
            for lists the path.

    Yields:
        Clips, and items with a `problem` for what cannot be read. A shard that is damaged is one such item, named like
        the shard; its whole members are clips all the same. A file that is listed twice is one clip.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: nothing to enhance in it, a kind of file or columns that are not known, an unknown format, a result
            that would replace its source, or two clips whose results would have the same name.
        ImportError: Parquet without pyarrow.
    """
    if format is not None and f".{format.lower()}" not in SUFFIXES:
        raise ValueError(f"format={format!r}: expected one of {', '.join(suffix[1:] for suffix in SUFFIXES)}")
    target = None if output is None else absolute(output)
    given = [source] if isinstance(source, (str, os.PathLike)) else list(source)
    found = [place for one in given for place in _expand(os.fspath(one))]
    if not found:
        raise ValueError("no source: expected a folder, a list of paths, tar shards or Parquet files")
    listing = (
        item for uri, name in found
        for item in _clips(uri, name, target, format, audio_column, key_column)
    )  # fmt: skip
    return _distinct(listing, target, found[0][0])


class Reader:
    """Reads the bytes of items; holds the Parquet file that it read last, at the row after the last one.

    Rows are cheap in ascending order; every step back reads the row group from its beginning. A worker keeps one
    reader; it does not pickle.
    """

    def __init__(self) -> None:
        self._rows: Rows | None = None

    def read(self, item: Item) -> bytes:
        """Return a clip as it is stored.

        Raises:
            ValueError: the item has a `problem`, the shard has changed since it was listed or is damaged, or a row is
                empty.
            OSError: it cannot be read.
        """
        if item.problem is not None:
            raise ValueError(item.problem)
        if item.row is not None and item.column is not None:
            return self._of(item.uri, item.column).read(item.row)
        fs, path = locate(item.uri)
        if item.offset is None:
            return fs.cat_file(path)
        data = fs.cat_file(path, start=item.offset, end=item.offset + item.size) if item.size else b""
        if len(data) != item.size:
            raise ValueError(f"{item.source}: {len(data)} bytes of {item.size}; the shard has changed, list it again")
        return data

    def close(self) -> None:
        """Close the file that is open."""
        if self._rows is not None:
            self._rows.close()
        self._rows = None

    def _of(self, uri: str, column: str) -> Rows:
        if self._rows is None or (self._rows.uri, self._rows.column) != (uri, column):
            self.close()
            self._rows = Rows(uri, column)
        return self._rows


def read_bytes(item: Item) -> bytes:
    """Return a clip as it is stored: by offset for a member of a shard, by row group for a row; see `Reader.read`."""
    reader = Reader()
    try:
        return reader.read(item)
    finally:
        reader.close()


def _clips(
    uri: str, name: str, output: str | None, format: str | None, audio_column: str, key_column: str | None
) -> Iterator[Item]:
    """The clips of a folder, list, shard or file; its name is relative to where the listing began."""
    suffix = os.path.splitext(uri)[1].lower()
    fs, path = locate(uri)
    if fs.isdir(path):
        yield from clips_in_folder(uri, format=format, output=output)
    elif suffix == ".tar":
        yield from clips_in_tar(uri, name, format=format)
    elif suffix in LISTS:
        yield from clips_in_list(uri, format=format, key_column=key_column)
    elif suffix == ".parquet":
        if _is_list(uri, audio_column):
            yield from clips_in_list(uri, format=format, key_column=key_column)
        else:
            yield from clips_in_table(uri, name, format=format, column=audio_column, key_column=key_column)
    else:
        try:
            yield Item(key=key_of(name, format), uri=uri, size=fs.info(path)["size"])
        except (ValueError, OSError) as error:
            yield refused(name, uri, error)


def _is_list(uri: str, audio_column: str) -> bool:
    """Whether a Parquet file names files instead of holding them; a damaged one does not, and is reported later."""
    try:
        return not has_audio(uri, audio_column)
    except (ValueError, OSError):
        return False


def _distinct(items: Iterator[Item], output: str | None, first: str) -> Iterator[Item]:
    """Leave out what comes twice, refuse two results of one name, and a result in place of its source."""
    seen: dict[str, Item] = {}
    for item in items:
        if item.problem is not None and item.key in seen and seen[item.key].uri != item.uri:
            item = replace(item, key=f"{item.key} {len(seen)}")  # two reports may share a name
        if output is not None and item.problem is None and item.shard is None and join(output, item.key) == item.uri:
            raise ValueError(f"{item.uri} would be replaced by its own result: give another output folder")
        other = seen.setdefault(item.key, item)
        if other is item:
            yield item
        elif (other.uri, other.offset, other.row) != (item.uri, item.offset, item.row):
            raise ValueError(f"{other.source} and {item.source} would both be written to {item.key}: rename one")
    if not seen:
        raise ValueError(f"{first}: nothing to enhance in it; expected audio files ({', '.join(SUFFIXES)})")


def _expand(source: str) -> list[tuple[str, str]]:
    """(URI, name relative to the folder in which the pattern begins) of every file or folder that a source means."""
    if not source:
        raise ValueError("the source is an empty name")
    found = []
    for pattern in _choices(source) if not _there(source) else [source]:
        fs, path = locate(pattern)
        if any(mark in path for mark in "*?[") and not _there(pattern):
            found += [uri_of(fs, name) for name in sorted(fs.glob(path))]
        else:
            found.append(uri_of(fs, path.rstrip("/") or path))
    if not any(_there(uri) for uri in found):
        raise FileNotFoundError(f"{source}: no such file or folder")
    for uri in found:
        suffix = os.path.splitext(uri)[1].lower()
        if suffix not in (*SUFFIXES, *LISTS, ".tar", ".parquet") and not _is_folder(uri):
            packed = ".tar." in uri or suffix == ".tgz"
            hint = "; unpack it to .tar, whose members can be read one by one" if packed else ""
            raise ValueError(f"{uri}: neither a folder, audio, a list ({', '.join(LISTS)}), .tar nor .parquet{hint}")
    marks = [source.find(mark) for mark in "{*?[" if mark in source] if not _there(source) else []
    base = source[: min(marks)].rpartition("/")[0] if marks else source.rstrip("/").rpartition("/")[0]
    fs, root = locate(base or ("." if not source.startswith("/") else "/"))
    prefix = uri_of(fs, root).rstrip("/") + "/"
    return [(uri, uri.removeprefix(prefix)) for uri in found]


def _choices(pattern: str) -> list[str]:
    """Every name that "{a,b}" and "{000..009}" in a pattern stand for; numbers keep the width of the first."""
    match = _CHOICE.search(pattern)
    if match is None:
        return [pattern]
    bounds = _RANGE.fullmatch(match[1])
    if bounds:
        first, last = int(bounds[1]), int(bounds[2])
        if last < first:
            raise ValueError(f"{pattern}: {match[0]} counts backwards; write {{{bounds[2]}..{bounds[1]}}}")
        choices = [str(number).zfill(len(bounds[1])) for number in range(first, last + 1)]
    else:
        choices = match[1].split(",")
    rest = _choices(pattern[match.end() :])
    return [f"{pattern[: match.start()]}{choice}{end}" for choice in choices for end in rest]


def _there(uri: str) -> bool:
    fs, path = locate(uri)
    return fs.exists(path)


def _is_folder(uri: str) -> bool:
    fs, path = locate(uri)
    return fs.isdir(path)
