"""Which weights a method has, as a checksum."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from gense.checkpoints import registry
from gense.checkpoints.fetch import file_hash, from_hub
from gense.checkpoints.folder import WEIGHTS
from gense.checkpoints.formats import checkpoint_in
from gense.checkpoints.load import cached


def weights_hash(method: str | os.PathLike[str]) -> str:
    """sha256, hexadecimal, of the file that holds the weights of a method which `gense.load` has loaded before.

    Where several bundled files hold them, it is the sha256 of their checksums in a row.

    Args:
        method: a name, folder, file or hub repository, as `gense.load` takes it.

    Raises:
        ValueError: a name of no method.
        FileNotFoundError: the file is not on this machine: load the method first.
    """
    entry = registry.find(method) if isinstance(method, str) else None
    if entry is not None:
        if len(entry.files) > 1:
            return hashlib.sha256("".join(file_hash(file) for file in entry.files).encode()).hexdigest()
        path = entry.bundled or cached(entry)
    else:
        path = Path(method)
        if path.is_dir():
            inside = path / WEIGHTS
            path = inside if inside.exists() else (checkpoint_in(path) or inside)
        elif path.name.endswith(".yaml"):
            path = path.with_name(WEIGHTS)
        elif not path.exists():
            path = from_hub(os.fspath(method), WEIGHTS)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; gense.load({os.fspath(method)!r}) fetches or names it")
    return file_hash(path)
