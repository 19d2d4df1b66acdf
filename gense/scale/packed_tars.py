"""A tar shard with enhanced clips in place of those of another one."""

from __future__ import annotations

import copy
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gense.files import SUFFIXES
from gense.scale.items import Item
from gense.scale.places import locate
from gense.scale.sources import Reader
from gense.scale.tars import members


def write_tar(target: Path, source: str, results: Mapping[int, Item], reader: Reader) -> dict[str, dict[str, Any]]:
    """Write a shard.

    Args:
        target: local file.
        source: URI of the shard whose members are copied.
        results: first byte of a clip in the source -> where its result lies.
        reader: reads results.

    Returns:
        Of every clip: key -> its sha256, and the name, first byte and size of its member.
    """
    found = list(members(source, []))
    # A sample without its audio would be half a sample to whoever trains on the shard
    lost = {_sample(member) for member in found if _is_clip(member) and member.offset_data not in results}
    written: dict[str, dict[str, Any]] = {}
    fs, path = locate(source)
    with fs.open(path, "rb") as original, tarfile.open(target, "w") as archive:
        for member in found:
            if _sample(member) in lost:
                continue
            entry = copy.copy(member)
            entry.pax_headers = {}  # they may hold the size and name of before; tarfile makes them anew
            result = results.get(member.offset_data)
            if result is None:
                original.seek(member.offset_data)
                archive.addfile(entry, original)
                continue
            data = reader.read(result)
            entry.size = len(data)
            entry.name = member.name.rpartition(".")[0] + "." + result.key.rpartition(".")[2]
            archive.addfile(entry, io.BytesIO(data))
            padded = -(-len(data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
            written[result.key] = {
                "sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "member": entry.name,
                "offset": archive.offset - padded,
            }  # fmt: skip
    return written


def _is_clip(member: tarfile.TarInfo) -> bool:
    name = member.name.rpartition("/")[2]
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def _sample(member: tarfile.TarInfo) -> str:
    """What WebDataset takes for the name of a sample: the path up to the first dot of the file's name."""
    folder, slash, name = member.name.rpartition("/")
    return folder + slash + name.partition(".")[0]
