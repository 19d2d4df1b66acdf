"""What a worker is about to do, on disk before it begins: a clip that kills its worker is known by it afterwards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from gense.scale.items import OWN_FOLDER
from gense.scale.manifest import Row
from gense.scale.places import join, locate, put

FOLDER = "attempts"


@dataclass
class Attempt:
    """How far the work on a batch has come.

    Attributes:
        alone: the clip that is being worked on by itself; None while several are.
        deaths: clip -> how often its worker died while that clip was alone with it.
        rows: of the clips that are finished.
        complete: whether all of them are, and the manifest has them.
    """

    alone: str | None = None
    deaths: dict[str, int] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    complete: bool = False


@dataclass(frozen=True)
class Journal:
    """One small file a batch below OUT/_gense/attempts, seen by all workers; removed when the job ends.

    Args:
        output: folder of the job, absolute or a URI.
        run: name of this job, so that nothing of an earlier one is taken for its own.
    """

    output: str
    run: str

    def recall(self, batch: str) -> Attempt | None:
        """What an attempt at the batch that did not come back left behind; None at the first one."""
        fs, path = locate(self._place(batch))
        try:
            entry = json.loads(fs.cat_file(path))
        except FileNotFoundError:
            return None
        return Attempt(**{**entry, "rows": [Row(**row) for row in entry["rows"]]})

    def note(self, batch: str, attempt: Attempt) -> None:
        """Write how far the work has come, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        put(self._place(batch), json.dumps(asdict(attempt)).encode())

    def _place(self, batch: str) -> str:
        return join(_folder(self.output), f"{self.run}-{batch}.json")


def clear(output: str, names: Sequence[str] = (FOLDER, "work")) -> None:
    """Remove what jobs leave behind for themselves while they run: attempts, and unfinished long files."""
    for name in names:
        fs, path = locate(join(join(output, OWN_FOLDER), name))
        with contextlib.suppress(OSError):
            fs.rm(path, recursive=True)


def _folder(output: str) -> str:
    return join(join(output, OWN_FOLDER), FOLDER)
