"""A sweep from beginning to end."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tqdm import tqdm

from gense.api import enhance, load
from gense.choices import checked_dtype, checked_seed
from gense.enhancer import Enhancer
from gense.metrics.registry import DEFAULT, Clip, Metric, chosen_metrics, score_clip
from gense.sweeps.cost import Counter, computing_in, counted, identity
from gense.sweeps.grid import Grid
from gense.sweeps.journal import Journal
from gense.sweeps.recordings import Files, Recording, recordings
from gense.sweeps.result import Cell, Sweep
from gense.sweeps.table import NOISY, Row, check_format, lower_is_better, summed, write_rows
from gense.version import __version__

Methods = str | Sequence[str | os.PathLike[str]] | Mapping[str, str | os.PathLike[str] | Enhancer]


def sweep(
    pairs: Files | Sequence[tuple[Files, Files]],
    methods: Methods,
    *,
    samplers: Sequence[str | None] | None = None,
    schedules: Sequence[str | None] | None = None,
    steps: Sequence[int | None] | None = None,
    options: Mapping[str, Sequence[Any]] | None = None,
    dtypes: Sequence[str] = ("float32",),
    metrics: Sequence[str | Metric] = DEFAULT,
    seed: int = 0,
    limit: int | None = None,
    output: str | os.PathLike[str] | None = None,
    resume: bool = True,
    device: str | None = None,
    trust: bool = False,
) -> Sweep:
    """Measure quality and cost of every combination of methods and settings over recorded pairs.

    All combinations are checked before the first network call; those that a method does not take are listed with the
    reason. A method that does not sample has one setting a dtype. Weights are loaded once, every setting sees the same
    noise. Work is timed alone, without reading and scoring, after one enhancement that is not counted, and on as many
    threads as PyTorch has: for a real-time factor of one thread, start with OMP_NUM_THREADS=1.

    With an output, each result is at once kept in `<output>.journal` beside it. A second run does only what is missing,
    be it after an interruption or because the grid or the set of files has grown.

    Args:
        pairs: a folder with `clean` and `noisy`, whose files have the same names; or pairs of files (clean, noisy).
            They are scored at the clean file's rate, whatever that of the method.
        methods: names, folders or files as `gense.load` takes them; or a mapping from a name to one of these or to an
            enhancer, which stays on its device.
        samplers: names in `gense.samplers`, or dotted paths. In every list, None is the method's own.
        schedules: names in `gense.samplers.schedules`, or dotted paths.
        steps: numbers of steps.
        options: name of an option of sampler or schedule, or of guidance -> its values.
        dtypes: of the networks: "float32", "bfloat16", "float16".
        metrics: names in `gense.metrics.METRICS`, or metrics.
        seed: of the noise, the same in every setting and for every file.
        limit: number of pairs, evenly picked; None takes all.
        output: table to write, a row a setting and file: .csv, or .parquet (needs pyarrow).
        resume: continue where the journal of this output ends; False begins anew.
        device: "cpu", "cuda", ...; None takes CUDA where there is one.
        trust: let a folder's `method.yaml` name classes outside gense.

    Returns:
        The results. What a setting cannot do, although it is accepted, ends up in `failed`, and the others go on.

    Raises:
        ValueError: an unknown method, metric or dtype, a metric that needs more than pairs, nothing to run, pairs
            without partners or of equal names, or a journal that was made otherwise.
        TypeError: an axis that is no list of names and numbers.
        ImportError: a package that a metric or Parquet needs is not installed.
        OSError: something cannot be read or written.
    """
    chosen = _usable(chosen_metrics(metrics))
    grid = Grid(samplers, schedules, steps, options, dtypes)
    target = check_format(output) if output is not None else None
    seed = checked_seed(seed)
    conditions = {
        "seed": seed, "metrics": [metric.name for metric in chosen],
        "threads": torch.get_num_threads(), "gense": __version__,
    }  # fmt: skip
    found = recordings(pairs, limit)
    sources = {recording.name: recording.digest() for recording in found}
    enhancers = _loaded(methods, device, trust)
    cells: list[Cell] = []
    refused: dict[str, str] = {}
    for name, enhancer in enhancers.items():
        accepted, reasons = grid.checked(name, enhancer)
        cells, refused = cells + accepted, refused | reasons
        sources[name] = identity(enhancer)
    if not cells:
        raise ValueError("no setting can be run:\n" + "\n".join(f"  {label}: {why}" for label, why in refused.items()))
    columns = [column for metric in chosen for column in metric.columns]
    path = target.with_name(f"{target.name}.journal") if target is not None else None
    journal = Journal(path, conditions, sources, resume=resume)
    failed = _Work(found, chosen, columns, seed, journal).do(cells, enhancers)
    wanted = [(cell, recording.name) for cell in (Cell(NOISY), *cells) for recording in found]
    rows = [journal.rows[key] for key in wanted if key in journal.rows and key[0].label not in failed]
    if target is not None:
        write_rows(target, rows, columns)
    names = [recording.name for recording in found]
    return summed(rows, names, columns, lower=lower_is_better(chosen), refused=refused, failed=failed)


def _usable(metrics: list[Metric]) -> list[Metric]:
    for metric in metrics:
        if lacking := set(metric.needs) - {"clean", "noisy"}:
            raise ValueError(f"metric {metric.name!r} needs {', '.join(sorted(lacking))}, which pairs of files lack")
    if not metrics:
        raise ValueError("metrics=[]: need at least one")
    return metrics


def _loaded(methods: Methods, device: str | None, trust: bool) -> dict[str, Enhancer]:
    """The methods by name, loaded."""
    given = [methods] if isinstance(methods, str) else methods
    named = given if isinstance(given, Mapping) else {os.fspath(method): method for method in given}
    if not named or len(named) < len(given):
        raise ValueError(f"methods={list(given)!r}: expected at least one, and each once")
    if NOISY in named:
        raise ValueError(f"a method cannot be called {NOISY!r}")
    return {
        name: source if isinstance(source, Enhancer) else load(source, device=device, trust=trust)
        for name, source in named.items()
    }


@dataclass
class _Work:
    """What is the same for every setting."""

    recordings: list[Recording]
    metrics: list[Metric]
    columns: list[str]
    seed: int
    journal: Journal

    def do(self, cells: list[Cell], enhancers: dict[str, Enhancer]) -> dict[str, str]:
        """Do what the journal lacks; returns what failed: label -> reason."""
        failed: dict[str, str] = {}
        inputs = self._missing(Cell(NOISY))
        missing = {cell: self._missing(cell) for cell in cells}
        with tqdm(total=len(inputs) + sum(map(len, missing.values())), unit="file", disable=None) as bar:
            # First of all, because a metric that cannot be computed at all is found out here
            for recording in inputs:
                clean, noisy, rate = recording.read()
                self.journal.add(
                    Row(Cell(NOISY), recording.name, 0, 0.0, len(noisy) / rate, self._scores(noisy, clean, noisy, rate))
                )
                bar.update()
            for name, enhancer in enhancers.items():
                for dtype in dict.fromkeys(cell.dtype for cell in cells if cell.method == name):
                    todo = {c: r for c, r in missing.items() if (c.method, c.dtype) == (name, dtype) and r}
                    with counted(enhancer) as counter, computing_in(enhancer, checked_dtype(dtype)):
                        self._do(todo, enhancer, counter, failed, bar)
        return failed

    def _do(
        self, todo: dict[Cell, list[Recording]], enhancer: Enhancer, counter: Counter, failed: dict[str, str],
        bar: tqdm[Any],
    ) -> None:  # fmt: skip
        """Run the settings of one method in one dtype."""
        warm = False
        for cell, missing in todo.items():
            for index, recording in enumerate(missing):
                bar.set_postfix_str(cell.label)
                clean, noisy, rate = recording.read()
                try:
                    if not warm:  # what happens on the first call alone is no cost of a setting
                        once = None if enhancer.head.sampling is None else 1
                        enhance(torch.from_numpy(noisy.copy()), enhancer, sample_rate=rate, steps=once, seed=self.seed)
                        warm = True
                    row = self._row(cell, recording.name, enhancer, counter, (clean, noisy, rate))
                # Whatever a sampler does not get along with: the settings after this one have a right to their turn
                except Exception as error:
                    failed[cell.label] = f"{recording.name}: {error or type(error).__name__}"
                    bar.update(len(missing) - index)
                    break
                self.journal.add(row)
                bar.update()

    def _row(self, cell: Cell, file: str, enhancer: Enhancer, counter: Counter, signals: tuple[Any, Any, int]) -> Row:
        clean, noisy, rate = signals
        source, before = torch.from_numpy(noisy.copy()), counter.calls
        start = time.perf_counter()
        est = enhance(
            source, enhancer, sample_rate=rate, seed=self.seed, steps=cell.steps, sampler=cell.sampler,
            schedule=cell.schedule, **dict(cell.options),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        scores = self._scores(est.numpy(), clean, noisy, rate)
        return Row(cell, file, counter.calls - before, seconds, len(noisy) / rate, scores)

    def _scores(self, est: Any, clean: Any, noisy: Any, rate: int) -> dict[str, float]:
        scores = score_clip(Clip(est, rate, clean=clean, noisy=noisy), self.metrics)
        return {column: float(scores[column]) for column in self.columns}

    def _missing(self, cell: Cell) -> list[Recording]:
        return [recording for recording in self.recordings if (cell, recording.name) not in self.journal.rows]
