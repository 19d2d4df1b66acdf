"""What a sweep has done so far, kept beside its output: one line a setting and file, written as soon as it is known."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gense.sweeps.result import Cell
from gense.sweeps.table import NOISY, Row, settled


class Journal:
    """Remembers rows, in a file if there is a path.

    Rows of other settings and files than those of this run stay in the file, so that a sweep can be widened and
    narrowed. What they must share is given by `conditions` and `sources`.

    Args:
        path: JSON lines; None keeps nothing beyond this run.
        conditions: what holds for every row, such as the seed, by name; values that JSON can hold.
        sources: identity of the content of every file and of the weights of every method, by name.
        resume: continue a file that is there instead of beginning anew.

    Raises:
        ValueError: the file was made under other conditions or from other sources, or is no journal.
        OSError: it cannot be read or written.
    """

    def __init__(
        self, path: Path | None, conditions: Mapping[str, Any], sources: Mapping[str, str], *, resume: bool = True
    ):
        self.path, self.sources = path, dict(sources)
        self.rows: dict[tuple[Cell, str], Row] = {}
        if path is None:
            return
        head = json.loads(json.dumps({"conditions": dict(conditions)}))
        there = path.read_bytes() if resume and path.exists() else b""
        there = there[: there.rfind(b"\n") + 1]  # an interruption may have left half a line
        if there:
            self._recall(there.decode().splitlines(), head["conditions"])
            os.truncate(path, len(there))
        else:
            path.write_text(json.dumps(head) + "\n", encoding="utf-8")

    def add(self, row: Row) -> None:
        """Remember a row, and put it on disk."""
        self.rows[row.cell, row.file] = row
        if self.path is not None:
            entry = asdict(row) | {"sources": [self.sources.get(row.cell.method, ""), self.sources[row.file]]}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")

    def _recall(self, lines: list[str], conditions: dict[str, Any]) -> None:
        try:
            before = json.loads(lines[0])["conditions"]
            entries = [json.loads(line) for line in lines[1:]]
            for entry in entries:
                options = tuple((name, settled(value)) for name, value in entry["cell"].pop("options"))
                entry["cell"] = Cell(**entry["cell"], options=options)
            found = [(Row(**{k: v for k, v in e.items() if k != "sources"}), *e["sources"]) for e in entries]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise ValueError(f"{self.path}: not the journal of a sweep ({error}); remove it") from error
        differing = [
            f"{name}={before.get(name)!r}, now {conditions.get(name)!r}"
            for name in dict.fromkeys([*before, *conditions]) if before.get(name) != conditions.get(name)
        ]
        for row, method, file in found:
            known = {row.cell.method: method} if row.cell.method != NOISY else {}
            known[row.file] = file
            differing += [
                f"other content of {name}" for name, content in known.items()
                if self.sources.get(name, content) != content and f"other content of {name}" not in differing
            ]
            self.rows[row.cell, row.file] = row
        if differing:
            raise ValueError(
                f"{self.path} holds results made otherwise: {'; '.join(differing)}. Give another output, or start anew "
                "with resume=False (--resume false)"
            )
