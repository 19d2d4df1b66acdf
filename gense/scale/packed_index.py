"""What the finished shards hold: a JSON file for each, written after the shard itself."""

from __future__ import annotations

import json
from typing import Any

from gense.scale.items import PACKED
from gense.scale.places import join, locate, put


def index_name(shard: str) -> str:
    """Name of a shard's index, relative to the output folder."""
    return f"{PACKED}/{shard}.json"


def write_index(folder: str, shard: str, *, size: int, sha256: str, members: dict[str, dict[str, Any]]) -> None:
    """Record a shard that is in place.

    Args:
        folder: of the output.
        shard: its name relative to the folder.
        size: of the shard in bytes.
        sha256: of the shard, hexadecimal.
        members: of every clip its sha256 and size, and where it lies, by its key.

    Raises:
        OutputError: it cannot be written.
    """
    index = {"output": shard, "size": size, "sha256": sha256, "members": members}
    put(join(folder, index_name(shard)), json.dumps(index).encode())


def read_index(folder: str, name: str, there: dict[str, int]) -> dict[str, dict[str, Any]]:
    """The members of a shard by their keys; none if the shard is not there, or not as it was.

    Args:
        folder: of the output.
        name: of the index, relative to the folder.
        there: bytes of the files in the folder.
    """
    if name not in there:
        return {}
    fs, path = locate(join(folder, name))
    try:
        index = json.loads(fs.cat_file(path))
    except ValueError:  # emptied by a power failure: its clips are done again
        return {}
    return index["members"] if there.get(index["output"]) == index["size"] else {}


def packed_keys(folder: str, there: dict[str, int]) -> dict[str, str]:
    """sha256 of every result that lies in a finished shard, by its key.

    Args:
        folder: of the output.
        there: bytes of the files in it.
    """
    names = [name for name in there if name.startswith(f"{PACKED}/")]
    return {
        key: member["sha256"] for name in names for key, member in read_index(folder, name, there).items()
    }
