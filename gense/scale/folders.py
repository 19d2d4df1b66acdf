"""Audio files in a folder."""

from __future__ import annotations

from collections.abc import Iterator

from gense.files import SUFFIXES
from gense.scale.items import Item, key_of, refused
from gense.scale.places import is_local, locate, uri_of


def clips_in_folder(folder: str, *, format: str | None, output: str | None) -> Iterator[Item]:
    """Every audio file below a folder, folder by folder in the order of their names.

    Hidden files and folders are left out, and linked folders, as they may lead in circles.

    Args:
        folder: path or URI.
        format: of the results, None keeps that of each file.
        output: folder of the results, which is not entered.
    """
    fs, root = locate(folder)
    root = root.rstrip("/") or "/"
    prefix = "/" if root == "/" else f"{root}/"
    waiting = [root]
    while waiting:
        path = waiting.pop()
        try:
            entries = sorted(fs.ls(path, detail=True), key=lambda entry: entry["name"])
        except OSError as error:
            yield refused(path.removeprefix(prefix), uri_of(fs, path), f"the folder cannot be read ({error})")
            continue
        inner = []
        for entry in entries:
            name = entry["name"].rstrip("/")
            if name == path or name.rpartition("/")[2].startswith("."):  # some object stores list the folder itself
                continue
            uri = uri_of(fs, name)
            if entry["type"] == "directory":
                if uri != output and not (is_local(fs) and entry.get("islink")):
                    inner.append(name)
            elif entry["type"] == "file" and name.lower().endswith(SUFFIXES):
                try:
                    yield Item(key=key_of(name.removeprefix(prefix), format), uri=uri, size=entry["size"] or 0)
                except ValueError as error:
                    yield refused(name.removeprefix(prefix), uri, error)
        waiting += reversed(inner)
