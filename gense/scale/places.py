"""Paths on any file system that fsspec knows: found, joined, written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

# Where writing one file in place may be seen half done, and renaming is a single cheap step. Object stores are the
# other way round: a put is seen whole, and a rename copies
_RENAMING = {"sftp", "ssh", "hdfs", "arrow_hdfs", "webhdfs", "smb", "dbfs"}
_LASTING = {
    code
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EPERM", "EIO", "ESTALE", "ENODEV", "ENOTCONN")
    if (code := getattr(errno, name, None)) is not None
}
_SCRAP = re.compile(r"\.[0-9a-f]{32}\.part")
_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC), errno.EFBIG}


class OutputError(OSError):
    """The output cannot be written, and likely no other file there either: disk full, no permission, disk lost."""


def locate(uri: str | os.PathLike[str]) -> tuple[Any, str]:
    """The file system of a path or fsspec URI, and the path on it; local ones absolute.

    Raises:
        ValueError: an unknown protocol.
        ImportError: the protocol needs a package that is not installed; fsspec says which.
    """
    import fsspec

    text = os.fspath(uri)
    if "://" not in text:  # a local name may hold "::", which would be a chain of file systems
        return fsspec.filesystem("file"), os.path.abspath(os.path.expanduser(text))
    fs, path = fsspec.core.url_to_fs(text)
    return fs, path


def is_local(fs: Any) -> bool:
    """Whether its paths are those of this machine."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def uri_of(fs: Any, path: str) -> str:
    """What `locate` takes for a path on this file system: the path itself for local ones, otherwise a URI."""
    return path if is_local(fs) else fs.unstrip_protocol(path)


def absolute(uri: str | os.PathLike[str]) -> str:
    """The same place in one way of writing, which other processes with other working folders understand."""
    fs, path = locate(uri)
    return uri_of(fs, path.rstrip("/") or path)


def join(base: str, name: str) -> str:
    """A path or URI below another one."""
    return f"{base.rstrip('/')}/{name}"


def put(uri: str, data: bytes) -> None:
    """Write a file whole or not at all; folders are made as needed, an existing file is replaced.

    On local disks and file servers under a temporary name first, on object stores in one put. Nothing is synced to the
    disk: after a power failure files may be shorter than they were, which is why sizes are recorded and compared.

    Raises:
        OutputError: nothing can be written there, and why.
        OSError: this file cannot be written.
    """
    fs, path = locate(uri)
    if is_local(fs):
        _place_locally(path, lambda file: file.write(data))
    else:
        _place_remotely(fs, path, lambda target: fs.pipe_file(target, data))


def put_file(uri: str, source: str | os.PathLike[str]) -> None:
    """Move a local file to a place, whole or not at all; the source is gone afterwards.

    Raises:
        OutputError, OSError: as `put`; the source is left where it is.
    """
    fs, path = locate(uri)
    if not is_local(fs):
        _place_remotely(fs, path, lambda target: fs.put_file(os.fspath(source), target))
    elif os.path.isdir(path) or not _renamed(source, path):
        with open(source, "rb") as data:
            _place_locally(path, lambda file: shutil.copyfileobj(data, file, 1 << 20))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(source)


def remove(uri: str) -> None:
    """Remove a file if it is there."""
    fs, path = locate(uri)
    with contextlib.suppress(FileNotFoundError):
        fs.rm_file(path)


@contextlib.contextmanager
def scratch(uri: str) -> Iterator[str]:
    """Path of a local file to write what is then moved to a place with `put_file`; gone at the end in any case.

    It lies beside the place where that is on a disk of this machine, so that moving it is renaming it.

    Raises:
        OutputError: the folder cannot be made.
    """
    fs, path = locate(uri)
    with contextlib.ExitStack() as stack:
        folder = os.path.dirname(path) if is_local(fs) else stack.enter_context(tempfile.TemporaryDirectory())
        with _told(path):
            os.makedirs(folder, exist_ok=True)
        temporary = _temporary(folder)
        stack.callback(_discard, temporary)
        with _told(path):
            yield temporary


def clear_scraps(folder: str) -> None:
    """Remove what killed processes left half written below a folder; nothing may be writing there."""
    for name in sizes(folder):
        if _SCRAP.fullmatch(name.rpartition("/")[2]):
            remove(join(folder, name))


def sizes(folder: str) -> dict[str, int]:
    """Bytes of every file below a folder, by its name relative to it; none if there is no such folder."""
    fs, path = locate(folder)
    fs.invalidate_cache()
    try:
        found = fs.find(path, detail=True)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    root = path.rstrip("/") + "/"
    return {
        name.removeprefix(root): info["size"] or 0 for name, info in found.items() if name.startswith(root)
    }


def _renamed(source: str | os.PathLike[str], path: str) -> bool:
    """Whether moving it needed no copying: both lie on one disk."""
    with _told(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        try:
            os.replace(source, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            return False
    return True


def _place_locally(path: str, write: Callable[[BinaryIO], Any]) -> None:
    folder, name = os.path.split(path)
    temporary = _temporary(folder)
    with _told(path):
        os.makedirs(folder, exist_ok=True)
        if os.path.isdir(path):
            raise IsADirectoryError(f"{path} is a folder, where the result {name} should be written")
        try:
            with open(temporary, "wb") as file:
                write(file)
            os.replace(temporary, path)
        finally:
            _discard(temporary)


def _temporary(folder: str) -> str:
    """A name for this attempt alone: after a crash another worker may be at the same file."""
    return f"{folder}/.{uuid.uuid4().hex}.part"


def _discard(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _place_remotely(fs: Any, path: str, write: Callable[[str], Any]) -> None:
    protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
    with _told(path):
        if not protocols & _RENAMING:
            write(path)
            return
        folder = path.rpartition("/")[0]
        temporary = _temporary(folder)
        fs.makedirs(folder, exist_ok=True)
        try:
            write(temporary)
            fs.mv(temporary, path)
        finally:
            with contextlib.suppress(OSError):
                fs.rm_file(temporary)


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Errors that concern more than one file become `OutputError`."""
    try:
        yield
    except OSError as error:
        if error.errno not in _LASTING and not isinstance(error, PermissionError):
            raise
        what = "the disk is full" if error.errno in _FULL else "the output cannot be written"
        raise OutputError(error.errno, f"{path}: {what} ({error.strerror or error})") from error
