"""Clips in tar shards as WebDataset writes them: found by their headers, read by offset, whatever is damaged."""

from __future__ import annotations

import tarfile
from collections.abc import Generator, Iterator
from typing import BinaryIO

from gense.files import SUFFIXES
from gense.scale.items import Item, key_of, refused
from gense.scale.places import locate

_BLOCK = tarfile.BLOCKSIZE
_STRIDE = 1 << 20


def clips_in_tar(uri: str, shard: str, *, format: str | None) -> Iterator[Item]:
    """Every audio member of a shard; then, if the shard is damaged, one item that says so.

    Keys are the shard's name without its suffix and the member's name, because other shards may have such members, too.

    Args:
        uri: of an uncompressed tar file.
        shard: its name relative to where the listing began.
        format: of the results, None keeps that of each member.
    """
    problems: list[str] = []
    stem = shard.removesuffix(".tar")
    for member in members(uri, problems):
        name = member.name.rpartition("/")[2]
        if not name.lower().endswith(SUFFIXES) or name.startswith("."):
            continue
        try:
            key = key_of(f"{stem}/{key_of(member.name, format)}", format)
        except ValueError as error:
            yield refused(f"{stem}/{member.name}", uri, error)
            continue
        yield Item(key=key, uri=uri, size=member.size, shard=shard, member=member.name, offset=member.offset_data)
    if problems:
        yield refused(shard, uri, f"the shard is damaged: {'; '.join(problems[:3])}")


def members(uri: str, problems: list[str]) -> Iterator[tarfile.TarInfo]:
    """The regular files of a tar file that are there as a whole; reads headers only, unless one is damaged.

    After a damaged header the next whole one is searched. What is wrong is appended to `problems` on the way; an error
    of the file system is one of these, too.
    """
    fs, path = locate(uri)
    try:
        # Small blocks, because what follows a header is skipped
        with fs.open(path, "rb", block_size=1 << 16) as file:
            size = file.seek(0, 2)
            start: int | None = 0
            while start is not None and start < size:
                start = yield from _run(file, start, size, problems)
            if size == 0:
                problems.append("the file is empty (0 bytes)")
    except OSError as error:
        problems.append(f"it cannot be read ({error})")


def _run(
    file: BinaryIO, start: int, size: int, problems: list[str]
) -> Generator[tarfile.TarInfo, None, int | None]:
    """Members from an offset to the next damage; returns where to go on behind it, None at the end."""
    at = start
    file.seek(start)
    try:
        archive = tarfile.TarFile(fileobj=file, mode="r", errorlevel=2)
        while (member := archive.next()) is not None:
            if member.size < 0 or archive.offset <= at:
                raise tarfile.ReadError("a member of negative length")
            if member.offset_data + member.size > size:
                problems.append(f"cut off inside of {member.name}")
                return None
            at = archive.offset
            archive.members = []  # type: ignore[attr-defined]  # otherwise they are all kept
            if member.isreg() and not member.issparse():
                yield member
    except (tarfile.TarError, ValueError, EOFError, OverflowError, UnicodeError) as error:
        if at >= size:
            problems.append("cut off before its end mark")
            return None
        problems.append(f"no header at byte {at} ({error})")
        return _next_header(file, max(at, start) + _BLOCK, size)
    file.seek(at)
    block = file.read(_BLOCK)
    if block == bytes(_BLOCK):
        return None
    if len(block) < _BLOCK:
        problems.append("cut off before its end mark")
        return None
    problems.append(f"no header at byte {at}")
    return _next_header(file, at + _BLOCK, size)


def _next_header(file: BinaryIO, start: int, size: int) -> int | None:
    """Offset of the next block that is a whole header, None if there is none."""
    for base in range(start, size, _STRIDE):
        file.seek(base)
        data = file.read(_STRIDE)
        for at in range(0, len(data) - _BLOCK + 1, _BLOCK):
            block = data[at : at + _BLOCK]
            if block[257:262] != b"ustar":
                continue
            try:
                tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
            except tarfile.HeaderError:
                continue
            return base + at
    return None
