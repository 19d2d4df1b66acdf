"""Corpora: enhanced by many workers, whatever happens to some of them."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from gense.api import load
from gense.choices import checked_dtype, checked_sampling, checked_seed
from gense.scale import manifest
from gense.scale.batches import batches, windows
from gense.scale.cluster import Workers, outcomes, ray_for
from gense.scale.items import Item
from gense.scale.journal import clear
from gense.scale.manifest import Row, Settings
from gense.scale.packing import pack
from gense.scale.places import OutputError, absolute
from gense.scale.processing import failed
from gense.scale.progress import Progress
from gense.scale.sinks import Layout, Sink
from gense.scale.sources import list_items
from gense.scale.weights import weights_hash
from gense.scale.worker import Job, Outcome

_WINDOW = 100_000  # clips that are sorted by length and sent out together; so many names are in memory


@dataclass
class CorpusReport:
    """What became of a corpus.

    Attributes:
        done: clips that were enhanced.
        skipped: clips that were done already.
        failed: key of a clip -> reason.
        hours: of audio that were enhanced.
        seconds: that the job took, its start included.
        manifest: path of the Parquet file with a row for each clip, of this job and those before it.
    """

    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    hours: float = 0.0
    seconds: float = 0.0
    manifest: str = ""


def enhance_corpus(
    source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    output: str | os.PathLike[str],
    *,
    method: str | os.PathLike[str] = "flowse",
    steps: int | None = None,
    sampler: str | None = None,
    schedule: str | None = None,
    options: dict[str, Any] | None = None,
    seed: int = 0,
    workers: int | None = None,
    cpus: float = 1,
    gpus: float = 0.0,
    address: str | None = None,
    dtype: str = "float32",
    compile: bool = False,
    trust: bool = False,
    batch_seconds: float = 120.0,
    dnsmos: bool = False,
    format: str | None = None,
    layout: Layout = "files",
    audio_column: str = "audio",
    key_column: str | None = None,
    resume: bool = True,
    limit: int | None = None,
    attempts: int = 3,
    progress: bool = True,
) -> CorpusReport:
    """Enhance a corpus with Ray Data: on one machine without any set-up, or on a cluster.

    Each result appears whole or not at all, and is what `gense.enhance_files` writes: it depends on the clip's content,
    the method, its weights and the seed, not on workers, batches or order; on CPUs bit for bit. A bad clip fails alone,
    and its reason is in the report and the manifest. Workers and nodes may die: their clips are done by others, and a
    clip that kills its worker every time fails. An interrupted job is continued by calling it again, which does only
    what is missing or was made with other settings.

    Args:
        source: a folder, a list of paths, tar shards or Parquet files, see `gense.scale.list_items`.
        output: folder, local or an fsspec URI, that every worker sees. Besides the results it gets `manifest.parquet`
            and, while a job runs, a folder `_gense`.
        method: a name, folder or file as `gense.load` takes it, which every worker finds there.
        steps: number of sampling steps; None takes the method's own.
        sampler: name in `gense.samplers` or dotted path; None takes the method's own.
        schedule: name in `gense.samplers.schedules` or dotted path; None takes the method's own.
        options: of the sampler and the schedule; guidance and guidance_interval.
        seed: of the noise, the same for every clip.
        workers: processes; None takes as many as there are cores, or GPUs, for.
        cpus: cores, and threads, of each worker.
        gpus: devices of each worker; 0.5 lets two share one; 0 computes on CPUs.
        address: of a Ray cluster to join, "auto" or "host:port"; None starts Ray on this machine, or joins the cluster
            that RAY_ADDRESS names.
        dtype: "float32", or "bfloat16" or "float16" for the network.
        compile: compile the networks.
        trust: let a folder's `method.yaml` name classes outside gense.
        batch_seconds: of audio that a worker takes at once, about.
        dnsmos: score each result with DNSMOS (needs gense[metrics]).
        format: suffix of the results without a dot, None keeps each clip's.
        layout: "files", or "tar" or "parquet" for shards like those of the input.
        audio_column: of Parquet files with audio bytes.
        key_column: column that names the results.
        resume: leave out what is done already; False does everything again.
        limit: stop after so many clips; the next call goes on behind them.
        attempts: how often a worker may die over one clip alone before that has failed.
        progress: show files, speed, time left and failures on standard error.

    Returns:
        What was done, skipped and failed. Failed clips are tried again by the next call.

    Raises:
        ValueError: bad arguments, a method, sampler or option that does not exist, nothing to enhance, or two clips
            with one name.
        FileNotFoundError: there is no such source.
        OSError: nothing can be written to the output, at the start or any more; what is there then is whole, and a
            second call goes on.
        ImportError: a package is missing; it is named.
        RuntimeError: Ray cannot keep any worker running.
        KeyboardInterrupt: results written so far are whole and in the manifest.
    """
    begun = time.monotonic()
    _check(workers, cpus, gpus, batch_seconds, limit, attempts)
    if isinstance(method, os.PathLike) or os.path.exists(method):
        method = os.path.abspath(method)
    sink = Sink(absolute(output), layout)
    settings = _settings(str(method), seed, steps, sampler, schedule, options or {}, dtype, trust, layout)
    if dnsmos:
        from gense.metrics.dnsmos import dnsmos as _needed  # noqa: F401 - what is missing is told before any work
    sink.check()
    listed = {"output": sink.output, "format": format, "audio_column": audio_column, "key_column": key_column}
    job = Job(
        uuid.uuid4().hex[:12], sink, settings, options or {}, "cuda" if gpus else "cpu", dtype, compile, trust, dnsmos,
        attempts,
    )
    finished = manifest.done(sink.output, settings, dnsmos=dnsmos) if resume else set()
    report = CorpusReport()
    clear(sink.output)
    keys: set[str] = set()
    found = _missing(list_items(source, **listed), finished, keys, report, limit)  # type: ignore[arg-type]
    parts = windows(found, _WINDOW)
    first = next(parts, None)  # before Ray is started, so that a wrong source is told at once
    try:
        if first is not None:
            line = Progress() if progress else Progress(None)
            with ray_for(workers, cpus, gpus, address) as team:
                _work(first, parts, job, team, batch_seconds, report, line)
    except BaseException:
        # After Ctrl-C, too. Where the disk is full the parts stay, which the next job reads just as well
        with contextlib.suppress(OSError):
            clear(sink.output)
            manifest.merge(sink.output)
        raise
    clear(sink.output)
    report.manifest = manifest.merge(sink.output, listed=keys if limit is None else None)
    if layout != "files":
        ok = manifest.done(sink.output, settings)
        pack(sink, list_items(source, **listed), ok)  # type: ignore[arg-type]
    report.seconds = time.monotonic() - begun
    return report


def _work(
    window: list[Item], rest: Iterator[list[Item]], job: Job, team: Workers, batch_seconds: float,
    report: CorpusReport, line: Progress,
) -> None:  # fmt: skip
    """Do window after window; the listing of the next one waits until the workers are done with the last."""
    number = 0
    unrecorded: list[Row] = []
    try:
        while window:
            line.expect(len(window), sum(item.size for item in window), complete=len(window) < _WINDOW)
            problems = [failed(item, item.problem) for item in window if item.problem is not None]
            sizes = {item.key: item.size for item in window}
            manifest.withdraw(job.sink.output, sizes, job.settings)
            if problems:
                manifest.write_part(job.sink.output, problems, job.settings)
                _count(problems, sizes, report, line)
            plan = batches([i for i in window if i.problem is None], batch_seconds, team.count, first=number)
            number += len(plan)
            for outcome in _once(outcomes(plan, job, team)):
                _count(outcome.rows, sizes, report, line)
                if not outcome.recorded:
                    unrecorded += outcome.rows
                if outcome.blocked is not None:
                    _stop_if_blocked(job.sink, report)
            window = next(rest, [])
    finally:
        line.close()
        if unrecorded:
            with contextlib.suppress(OSError):  # by now there may be room again
                manifest.write_part(job.sink.output, unrecorded, job.settings)


def _once(found: Iterator[Outcome]) -> Iterator[Outcome]:
    """Each batch's outcome, once."""
    seen = set()
    for outcome in found:
        if outcome.batch not in seen:
            seen.add(outcome.batch)
            yield outcome


def _count(rows: list[Row], sizes: dict[str, int], report: CorpusReport, line: Progress) -> None:
    bad = [row for row in rows if row.status == "failed"]
    seconds = sum(row.seconds or 0.0 for row in rows if row.status == "ok")
    report.failed.update({row.key: row.reason or "" for row in bad})
    report.done += len(rows) - len(bad)
    report.hours += seconds / 3600
    line.update(len(rows), len(bad), seconds, sum(sizes[row.key] for row in rows))


def _stop_if_blocked(sink: Sink, report: CorpusReport) -> None:
    """Go on if the output takes files again, or never refused more than a large one."""
    try:
        sink.check()
    except OSError as error:
        raise OutputError(
            error.errno, f"{error.strerror or error}; stopped after {report.done} clips, which are whole; make room "
            "and call it again for the rest"
        ) from error


def _missing(
    items: Iterator[Item], finished: set[str], keys: set[str], report: CorpusReport, limit: int | None
) -> Iterator[Item]:
    """Items that need work, at most `limit`; the others are counted, and the keys of all are gathered."""
    taken = 0
    for item in items:
        keys.add(item.key)
        if item.key in finished:
            report.skipped += 1
        elif limit is not None and taken >= limit:
            return
        else:
            taken += 1
            yield item


def _settings(
    method: str, seed: int, steps: int | None, sampler: str | None, schedule: str | None, options: dict[str, Any],
    dtype: str, trust: bool, layout: str,
) -> Settings:  # fmt: skip
    """Check by loading the method what would fail in every worker; what results depend on."""
    checked_seed(seed)
    checked_dtype(dtype)
    checked_sampling(load(method, device="cpu", trust=trust), steps, sampler, schedule, options)
    told = options if dtype == "float32" else {**options, "dtype": dtype}
    return Settings(
        method, weights_hash(method), seed, sampler, steps, schedule, json.dumps(told, sort_keys=True), layout
    )


def _check(
    workers: int | None, cpus: float, gpus: float, batch_seconds: float, limit: int | None, attempts: int
) -> None:
    for name, value in (("workers", workers), ("limit", limit), ("attempts", attempts)):
        if value is not None and value < 1:
            raise ValueError(f"{name}={value}: need at least 1")
    if not (math.isfinite(cpus) and cpus > 0):
        raise ValueError(f"cpus={cpus}: need more than 0")
    if not (math.isfinite(gpus) and gpus >= 0):
        raise ValueError(f"gpus={gpus}: need at least 0")
    if not batch_seconds > 0:
        raise ValueError(f"batch_seconds={batch_seconds}: need more than 0")
