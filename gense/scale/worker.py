"""A worker of a job: one enhancer, batches of clips in, rows of the manifest out."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gense.api import load
from gense.choices import checked_sampling
from gense.scale.batches import Batch
from gense.scale.items import Item
from gense.scale.journal import Attempt, Journal
from gense.scale.manifest import Row, Settings, write_part
from gense.scale.processing import Processing, failed
from gense.scale.sinks import Sink


@dataclass(frozen=True)
class Job:
    """What every worker of a job has to know; pickles.

    Attributes:
        run: name of the job.
        sink: where results go.
        settings: what results depend on; the manifest records them.
        options: of sampler and schedule.
        device: "cpu" or "cuda".
        dtype: of the networks.
        compile: whether they are compiled.
        trust: let a folder's `method.yaml` name classes outside gense.
        dnsmos: whether results are scored.
        attempts: how often a worker may die over a clip alone before the clip is given up.
    """

    run: str
    sink: Sink
    settings: Settings
    options: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    dtype: str = "float32"
    compile: bool = False
    trust: bool = False
    dnsmos: bool = False
    attempts: int = 3


@dataclass(frozen=True)
class Outcome:
    """What became of a batch.

    Attributes:
        batch: its name.
        rows: one a clip.
        blocked: why something could not be written, whose reason lies in the output and not in a clip.
        recorded: whether the rows are on disk.
    """

    batch: str
    rows: list[Row]
    blocked: str | None = None
    recorded: bool = True


class Worker:
    """Enhances batches, and survives everything about a clip but the end of its own process.

    That end is survived by whoever takes its place: the journal says that the batch was begun, and its clips are now
    worked on one by one. A clip that was alone with its worker as often as `attempts` when that died has failed.

    Args:
        job: what to do.

    Raises:
        ValueError, OSError: what `gense.load` raises, or a sampling that the method does not take.
    """

    def __init__(self, job: Job):
        self.job, settings = job, job.settings
        enhancer = load(settings.method, device=job.device, dtype=job.dtype, compile=job.compile, trust=job.trust)
        sampling = checked_sampling(enhancer, settings.steps, settings.sampler, settings.schedule, job.options)
        self.processing = Processing(enhancer, job.sink, sampling=sampling, seed=settings.seed, dnsmos=job.dnsmos)
        self.journal = Journal(job.sink.output, job.run)

    def __call__(self, block: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Take pickled batches from column `batch` and return their pickled outcomes in column `outcome`."""
        answers = [pickle.dumps(self.work(pickle.loads(parcel))) for parcel in block["batch"]]
        return {"outcome": np.array(answers, dtype=object)}

    def work(self, batch: Batch) -> Outcome:
        """Enhance a batch, or what an attempt at it that did not come back has left of it."""
        self.processing.blocked = None
        rows: list[Row] = []
        try:
            past = self.journal.recall(batch.name)
            if past is not None and past.complete:
                return Outcome(batch.name, past.rows)
            if past is None:
                self.journal.note(batch.name, Attempt(alone=batch.items[0].key if len(batch.items) == 1 else None))
                rows += self.processing.rows(batch.items, batch.long)
            else:
                self._carefully(batch, past, rows)
            write_part(self.job.sink.output, rows, self.job.settings)
            self.journal.note(batch.name, Attempt(rows=rows, complete=True))
        except OSError as error:  # the journal or the manifest cannot be written; clips' own errors are in their rows
            rows += self._left_out(batch.items, rows, str(error))
            return Outcome(batch.name, rows, blocked=str(error), recorded=False)
        return Outcome(batch.name, rows, blocked=self.processing.blocked)

    def _carefully(self, batch: Batch, past: Attempt, rows: list[Row]) -> None:
        """Work on clip after clip and say before each which it is; what was finished in the past stays."""
        if past.alone is not None:
            past.deaths[past.alone] = past.deaths.get(past.alone, 0) + 1
        rows += past.rows
        finished = {row.key for row in rows}
        for item in batch.items:
            deaths = past.deaths.get(item.key, 0)
            if item.key in finished:
                continue
            if deaths >= self.job.attempts:
                rows.append(failed(item, f"its worker process died {deaths} times while it was working on it alone"))
                continue
            self.journal.note(batch.name, Attempt(alone=item.key, deaths=past.deaths, rows=rows))
            rows += self.processing.rows([item], batch.long)

    @staticmethod
    def _left_out(items: Sequence[Item], rows: Sequence[Row], reason: str) -> list[Row]:
        known = {row.key for row in rows}
        return [failed(item, reason) for item in items if item.key not in known]
