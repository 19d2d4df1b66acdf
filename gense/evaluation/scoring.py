"""Score folders: many files, in parallel, resumable, bad ones listed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gense.evaluation.clips import mean_scores, read_channels
from gense.evaluation.pairing import Job, Matched, match, texts_of
from gense.evaluation.result import Evaluation, FileScores
from gense.evaluation.table import Table, fingerprint, header, row_of, scores_of
from gense.evaluation.workers import Failed, outcomes
from gense.metrics.registry import DEFAULT, METRICS, Clip, Metric, chosen_metrics, score_clip
from gense.version import __version__

_WORTH_A_WORKER = 4  # files: a process takes seconds to start


@dataclass(frozen=True)
class _Task:
    job: Job
    text: str | None


def evaluate(
    enhanced: str | os.PathLike[str],
    clean: str | os.PathLike[str] | None = None,
    noisy: str | os.PathLike[str] | None = None,
    *,
    metrics: Sequence[str | Metric] | None = None,
    transcripts: str | os.PathLike[str] | Mapping[str, str] | None = None,
    workers: int | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = True,
    sample_rate: int | None = None,
    score_noisy: bool = True,
) -> Evaluation:
    """Score enhanced files, and their noisy inputs beside them.

    Files are matched by their path inside the folder without suffix (`pairing.match`). Channels are scored one by one
    and averaged. Lengths may differ by 0.1 s and 1 %, which is cut off at the end; more is refused, as is a file that
    cannot be read or scored: such files are listed, and the others go on.

    Args:
        enhanced: folder, searched recursively, or one file.
        clean: folder or file of clean references, sample-aligned.
        noisy: folder or file of what was enhanced, sample-aligned; scored in the same way unless `score_noisy` is off.
        metrics: names in `gense.metrics.METRICS`, "NAME:MODEL" as `gense.metrics.registry.chosen_metrics` takes them,
            or metrics; None takes those of `DEFAULT` that need no more than what is given.
        transcripts: what is said, for metrics that need it: a table as `gense.transcripts.read_transcripts` takes it,
            whose paths are those of enhanced, clean or noisy files; or a mapping by name (path without suffix).
        workers: processes; None takes one per core, but no more than one per four files, and one where a metric is not
            of the list `METRICS`, as every process would load the metric's model. One worker is this process itself.
        output: CSV to write, row by row into `<output>.part`, which is renamed at the end.
        resume: take over from `output`, or its `.part`, what was scored by the same metrics from files that are still
            the same (place, size, time of change).
        sample_rate: rate at which signals are compared, Hz; None takes that of the clean file, else of the noisy,
            else of the enhanced one. Metrics that are defined at a rate of their own resample from there.
        score_noisy: off saves the time where the scores of the noisy files are known or not asked for.

    Returns:
        The scores, and what failed.

    Raises:
        ValueError: nothing to score, an unknown metric or one that needs what is not given, `output` is a file of
            another kind, or bad settings.
        FileNotFoundError: no such file or folder.
        ImportError: a package that a metric needs is not installed.
        OSError: the output cannot be written.
    """
    if sample_rate is not None and sample_rate <= 0:
        raise ValueError(f"sample_rate={sample_rate}: expected Hz, such as 16000")
    if workers is not None and workers < 1:
        raise ValueError(f"workers={workers}: expected at least 1")
    given = {"clean": clean is not None, "noisy": noisy is not None, "text": transcripts is not None}
    chosen = _chosen(metrics, given)
    found = match(enhanced, clean, noisy)
    tasks = _tasks(found, transcripts, any("text" in metric.needs for metric in chosen))
    # By name where that says all: entries of the list hold local functions, which cannot be sent to other processes
    sent = [metric.name if METRICS.get(metric.name) is metric else metric for metric in chosen]
    function = partial(_score, metrics=sent, sample_rate=sample_rate, score_noisy=score_noisy)
    columns = [column for metric in chosen for column in metric.columns]
    lower = frozenset(column for metric in chosen if metric.lower_is_better for column in metric.columns)
    result = Evaluation([], found.failed, lower, found.left_out)
    settings = (__version__, [metric.name for metric in chosen], columns, sample_rate, score_noisy)
    states = {task.job.name: fingerprint(task.job.paths(), *settings, task.text) for task in tasks}
    if output is None:
        _run(tasks, function, workers, result, None)
    else:
        with Table(output, header(columns, noisy=noisy is not None and score_noisy), states, resume=resume) as table:
            result.files = [scores_of(row) for row in table.finished()]
            for name, reason in found.failed.items():
                table.add({"file": name, "error": reason})
            known = {file.name for file in result.files}
            _run([task for task in tasks if task.job.name not in known], function, workers, result, table)
    result.files.sort(key=lambda file: file.name)
    result.failed = dict(sorted(result.failed.items()))
    return result


def _run(
    tasks: list[_Task], function: partial[FileScores], workers: int | None, result: Evaluation, table: Table | None
) -> None:
    """Score what is not known yet, and write it down at once."""
    from tqdm import tqdm

    if workers is None:
        workers = _default_workers(len(tasks), all(isinstance(metric, str) for metric in function.keywords["metrics"]))
    # disable=None: silent where standard error is no terminal
    bar = tqdm(total=len(tasks), unit="file", desc="evaluate", disable=True if len(tasks) < 2 else None)
    with bar:
        for task, outcome in outcomes(function, tasks, min(workers, len(tasks))):
            if isinstance(outcome, Failed):
                result.failed[task.job.name] = outcome.reason
            else:
                result.files.append(outcome)
            if table is not None:
                failed = isinstance(outcome, Failed)
                table.add({"file": task.job.name, "error": outcome.reason} if failed else row_of(outcome))
            bar.update()


def _default_workers(files: int, by_name: bool) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, files // _WORTH_A_WORKER)) if by_name else 1


def _score(
    task: _Task, metrics: Sequence[str | Metric], sample_rate: int | None, score_noisy: bool
) -> FileScores:
    job = task.job
    channels, rate = read_channels(job.est, job.clean, job.noisy, sample_rate=sample_rate)
    scores = [score_clip(Clip(c.est, rate, c.clean, c.noisy, task.text), metrics) for c in channels]
    noisy = [
        score_clip(Clip(c.noisy, rate, c.clean, c.noisy, task.text), metrics)
        for c in channels
        if c.noisy is not None and score_noisy
    ]
    return FileScores(
        job.name, mean_scores(scores), mean_scores(noisy), len(channels[0].est) / rate, job.est, job.clean, job.noisy
    )


def _chosen(metrics: Sequence[str | Metric] | None, given: Mapping[str, bool]) -> list[Metric]:
    """The metrics, each once, if what is given allows them."""
    if metrics is None:
        chosen = [metric for metric in chosen_metrics(DEFAULT) if all(given[need] for need in metric.needs)]
    else:
        chosen = chosen_metrics(list(dict.fromkeys([metrics] if isinstance(metrics, str) else metrics)))
    if not chosen:
        raise ValueError("metrics: none given")
    for metric in chosen:
        if missing := missing_needs(metric, given):
            raise ValueError(f"metrics: {metric.name} needs {' and '.join(missing)}; give it, or leave the metric out")
    return chosen


def missing_needs(metric: Metric, given: Mapping[str, bool]) -> list[str]:
    """Names of the arguments of `evaluate` that a metric needs and that are not given.

    Args:
        metric: the metric.
        given: whether "clean", "noisy" and "text" are.
    """
    return ["transcripts" if need == "text" else need for need in metric.needs if not given[need]]


def _tasks(
    found: Matched, transcripts: str | os.PathLike[str] | Mapping[str, str] | None, needed: bool
) -> list[_Task]:
    """Add what is said; files without it fail if it is needed."""
    texts = texts_of(found.jobs, transcripts)
    tasks = [_Task(job, texts[job.name]) for job in found.jobs]
    if needed:
        found.failed.update({task.job.name: "no transcript" for task in tasks if task.text is None})
        tasks = [task for task in tasks if task.text is not None]
    return tasks
