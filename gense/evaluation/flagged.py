"""Which enhanced files say something else than their inputs, and where."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

import numpy as np

from gense.check import Checks, Flag, check
from gense.evaluation.clips import read_channels
from gense.evaluation.pairing import Job, match
from gense.evaluation.workers import Failed, outcomes


@dataclass
class Flagged:
    """What the checks found.

    Attributes:
        flags: name -> flags, empty for a file without; sorted by name.
        failed: name -> why the file could not be checked.
        left_out: names of noisy files without an enhanced one.
    """

    flags: dict[str, list[Flag]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def flag_files(
    enhanced: str | os.PathLike[str], noisy: str | os.PathLike[str], *, checks: Checks | None = None
) -> Flagged:
    """Check enhanced files against their inputs, matched as by `evaluate`; see `gense.check.check`.

    Args:
        enhanced: folder or file.
        noisy: folder or file of what was enhanced, sample-aligned.
        checks: which checks; None makes those that need no model.

    Raises:
        ValueError: what matching refuses.
        FileNotFoundError: no such file or folder.
        ImportError: a package that a check needs is not installed.
    """
    from tqdm import tqdm

    def flags_of(job: Job) -> list[Flag]:
        channels, rate = read_channels(job.est, None, job.noisy)
        inputs = [channel.noisy for channel in channels if channel.noisy is not None]
        return check(np.stack([channel.est for channel in channels]), np.stack(inputs), rate, checks)

    found = match(enhanced, None, noisy)
    result = Flagged(failed=found.failed, left_out=found.left_out)
    # disable=None: silent where standard error is no terminal
    bar = tqdm(total=len(found.jobs), unit="file", desc="check", disable=True if len(found.jobs) < 2 else None)
    with bar:
        for job, outcome in outcomes(flags_of, found.jobs, 1):
            if isinstance(outcome, Failed):
                result.failed[job.name] = outcome.reason
            else:
                result.flags[job.name] = outcome
            bar.update()
    return result


def write_flags(path: str | os.PathLike[str], flags: Mapping[str, list[Flag]]) -> Path:
    """Write a CSV with one row per flag: file, then the fields of `Flag`.

    Raises:
        OSError: the folder cannot be made or written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.DictWriter(file, ["file", *(entry.name for entry in fields(Flag))])
        rows.writeheader()
        rows.writerows({"file": name, **asdict(flag)} for name, found in flags.items() for flag in found)
    return path
