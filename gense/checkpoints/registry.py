"""The methods and weights that can be loaded by name."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Entry:
    """One set of weights of one method, as `registry.yaml` describes it.

    Attributes:
        method: name of the method.
        weights: name of the weights.
        default: whether the method's bare name means these.
        summary: what the method is.
        source: where the weights come from and what they were trained on.
        licence: as stated by the authors, None where they state none.
        sample_rate: Hz, None where it stands in the file only.
        file: name of a bundled file, or None.
        config: name of the bundled method file that belongs to `file`.
        parts: parts of the method, by dotted name, that `file` leaves out because they are the heads of other bundled
            weights: part -> method/weights.
        without: representations of the method that training alone reads, for which `file` has no weights.
        url: address of a published file, or None.
        beside: name -> address of files that are kept beside it, because its format looks for them there.
        sha256: of the file, where known.
        sampling: replaces the default sampling of a published checkpoint.
        unsupported: why this version cannot load it, None where it can.
    """

    method: str
    weights: str
    default: bool
    summary: str
    source: str
    licence: str | None
    sample_rate: int | None
    file: str | None = None
    config: str | None = None
    parts: dict[str, str] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    url: str | None = None
    beside: dict[str, str] = field(default_factory=dict)
    sha256: str | None = None
    sampling: dict[str, Any] | None = None
    unsupported: str | None = None

    @property
    def name(self) -> str:
        """What users type: method/weights."""
        return f"{self.method}/{self.weights}"

    @property
    def bundled(self) -> Path | None:
        """Path of the bundled weights, None for published ones."""
        return Path(str(resources.files("gense.weights") / self.file)) if self.file else None

    @property
    def others(self) -> dict[str, Entry]:
        """The bundled weights that `parts` names, by part."""
        found = {part: find(name) for part, name in self.parts.items()}
        return {part: entry for part, entry in found.items() if entry is not None}

    @property
    def files(self) -> tuple[Path, ...]:
        """All bundled files that are read for these weights, `bundled` first; none for published ones."""
        return (self.bundled, *(file for entry in self.others.values() for file in entry.files)) if self.bundled else ()


@cache
def entries() -> tuple[Entry, ...]:
    """All entries, in the order of the file."""
    text = (resources.files("gense.checkpoints") / "registry.yaml").read_text(encoding="utf-8")
    return tuple(
        Entry(method=method, weights=name, default=name == block["default"], summary=block["summary"], **fields)
        for method, block in yaml.safe_load(text).items()
        for name, fields in block["weights"].items()
    )


def find(name: str) -> Entry | None:
    """Return the entry called "method" (its default weights) or "method/weights"; None if no method has that name.

    Raises:
        ValueError: the method exists, the weights do not; the message lists them.
    """
    method, _, weights = name.partition("/")
    of_method = [entry for entry in entries() if entry.method == method]
    for entry in of_method:
        if entry.weights == weights or (entry.default and not weights):
            return entry
    if of_method:
        known = ", ".join(entry.name for entry in of_method)
        raise ValueError(f"{name!r}: method {method!r} has no weights {weights!r}; there are {known}")
    return None


def nearest(name: str, *, least: float = 0.4) -> str:
    """A hint for a misspelt name: the nearest one, if it is alike to this degree (0 to 1), and where all are listed."""
    names = sorted({entry.method for entry in entries()} | {entry.name for entry in entries()})
    close = difflib.get_close_matches(name, names, n=1, cutoff=least)
    return (f"nearest: {close[0]!r}. " if close else "") + "gense.methods() lists all"
