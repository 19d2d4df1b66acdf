"""Finished shards: copies of those that came in, with enhanced audio in place of the clips."""

from __future__ import annotations

import os
from collections.abc import Container, Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from gense.checkpoints.fetch import file_hash
from gense.scale.items import Item
from gense.scale.packed_index import index_name, read_index, write_index
from gense.scale.packed_tables import write_table
from gense.scale.packed_tars import write_tar
from gense.scale.places import join, put_file, remove, scratch, sizes
from gense.scale.sinks import Sink, Written
from gense.scale.sources import Reader

_WRITERS = {"tar": write_tar, "parquet": write_table}


@dataclass(frozen=True)
class Packed:
    """A finished shard.

    Attributes:
        output: its name relative to the output folder, and its size and checksum.
        clips: how many it holds.
    """

    output: Written
    clips: int


def pack(sink: Sink, items: Iterable[Item], ok: Container[str]) -> list[Packed]:
    """Make the output shards of finished clips and remove the files from which they were made.

    A shard holds what the input's shard holds, in its order: other members or columns are copied, clips that failed are
    left out, in tar shards with everything else of their sample (what has the same name up to the first dot). A shard
    that is whole already is left alone; one that gained clips is made anew from the old one and the new clips.

    Args:
        sink: with the layout "tar" or "parquet".
        items: of the job; those of one shard follow one another, as `list_items` gives them.
        ok: keys of finished clips, see `gense.scale.manifest.done`.

    Returns:
        The shards that were written.

    Raises:
        ValueError: the layout has no shards.
        OutputError: one cannot be written; its clips stay where they are.
        OSError: an input shard can no longer be read.
    """
    if sink.layout not in _WRITERS:
        raise ValueError(f"layout={sink.layout!r} has no shards to pack")
    by_shard: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        if item.shard is not None and item.problem is None:
            by_shard.setdefault((item.shard, item.uri), []).append(item)
    there = sizes(sink.output)
    written = (_shard(sink, shard, uri, clips, ok, there) for (shard, uri), clips in by_shard.items())
    return [packed for packed in written if packed is not None]


def _shard(
    sink: Sink, shard: str, uri: str, clips: list[Item], ok: Container[str], there: dict[str, int]
) -> Packed | None:
    old = _old(sink, shard, there)
    results: dict[int, Item] = {}  # where the clip lies in the input shard: where its result lies
    staged: dict[str, str] = {}
    for clip in clips:
        if clip.key not in ok:
            continue
        place = sink.place(clip)
        waiting = there.get(place.removeprefix(join(sink.output, "")))
        if waiting is not None:
            results[_position(clip)] = Item(key=clip.key, uri=place, size=waiting, column=clip.column)
            staged[clip.key] = place
        elif clip.key in old:
            results[_position(clip)] = replace(old[clip.key], column=clip.column)
    if not staged or not results:
        return None
    place = join(sink.output, shard)
    with scratch(place) as temporary, closing(Reader()) as reader:
        members = _WRITERS[sink.layout](Path(temporary), uri, results, reader)
        output = Written(shard, os.path.getsize(temporary), file_hash(temporary))
        put_file(place, temporary)
    write_index(sink.output, shard, size=output.size, sha256=output.sha256, members=members)
    for key in staged.keys() & members.keys():  # one whose sample has lost another clip goes on waiting for it
        remove(staged[key])
    return Packed(output, len(members))


def _position(clip: Item) -> int:
    """What tells a clip from the others of its shard."""
    position = clip.offset if clip.row is None else clip.row
    assert position is not None
    return position


def _old(sink: Sink, shard: str, there: dict[str, int]) -> dict[str, Item]:
    """Where the results lie in the shard that an earlier job made."""
    return {
        key: Item(
            key=key, uri=join(sink.output, shard), size=member["size"], offset=member.get("offset"),
            row=member.get("row"), member=member.get("member"),
        )
        for key, member in read_index(sink.output, index_name(shard), there).items()
    }  # fmt: skip
