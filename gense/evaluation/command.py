"""`gense evaluate`: scores of a folder as a table, a CSV and a page."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from gense.evaluation.printed import comparison_table, prism_table, recognition_table, scores_table
from gense.evaluation.scoring import evaluate, missing_needs
from gense.metrics.registry import DEFAULT, METRICS, chosen_metrics
from gense.metrics.with_models import WITH_MODEL


def evaluate_parser() -> ArgumentParser:
    """The parser of `gense evaluate`."""
    parser = ArgumentParser(
        prog="gense evaluate", exit_on_error=False,
        description="Score enhanced files: means with 95 % confidence intervals, a CSV with every file, a page.",
    )
    add = parser.add_argument
    add("enhanced", metavar="ENHANCED", help="folder (searched recursively) or file; matched by name without suffix")
    add("--clean", type=str | None, metavar="DIR", help="clean references, sample-aligned")
    add("--noisy", type=str | None, metavar="DIR", help="what was enhanced; scored as well")
    add("--against", type=str | None, metavar="DIR", help="another system's results: paired test for every metric; and "
        "PRISM, with --metrics pesq stoi si_sdr dnsmos dnsmos_p808")
    models = ", ".join(f"{name}:MODEL" for name in WITH_MODEL)
    add(
        "--metrics", nargs="+", type=str, metavar="M",
        help=f"of {', '.join(METRICS)}, or, with a model, {models}; without it those of {', '.join(DEFAULT)} that the "
        "given files allow",
    )
    add("--transcripts", type=str | None, metavar="CSV", help="table with columns path and text: what is said")
    add("--asr", type=str | None, metavar="MODEL", help="recogniser: does it make fewer errors, and how much input to "
        "mix back; alone it is all that is run, so name --metrics to score as well")
    add("--check", action="store_true", help="list where outputs say something else than their inputs; needs --noisy")
    add("--weights", nargs="+", type=float, metavar="W", help="with --asr: shares of the input to try; 0, 0.1, ... 1")
    add("-o", "--output", type=str | None, metavar="CSV", help="write every file's scores, as they come; "
        "beside scores.csv, --against writes scores.against.csv, --asr scores.asr.csv and --check scores.flags.csv")
    add("--report", type=str | None, metavar="HTML", help="write one page with tables, plots and players")
    add("--resume", action="store_true", help="take over from --output what is known of unchanged files")
    add("--workers", type=int | None, metavar="N", help="processes; without it one per core, or fewer for few files")
    add("--sample-rate", "--sample_rate", type=int | None, metavar="HZ", help="to compare at; else the clean file's")
    return parser


def run(args: list[str], write_report: Callable[..., Path], checked_report: Callable[[str], Path]) -> int:
    """Run `gense evaluate`; returns the exit status: 1 if a file failed.

    Args:
        args: the command line.
        write_report: `gense.report.write_evaluation_report`, which lies above.
        checked_report: refuses a path to which it cannot be written, likewise.

    Raises:
        ArgumentError: wrong usage.
        ValueError: what `evaluate` and `recognise` refuse.
        OSError: a file that is not there, or cannot be written.
        ImportError: a package that a metric or the recogniser needs is not installed.
    """
    settings = evaluate_parser().parse_args(args)
    metrics = _metrics(settings)
    _check(settings)
    if settings.report is not None:
        checked_report(settings.report)
    status = 0
    if settings.asr is None or metrics or settings.against or settings.report:
        status = _score(settings, metrics, write_report)
    if settings.asr is not None:
        status = max(status, _recognise(settings))
    if settings.check:
        status = max(status, _flag(settings))
    return status


def _score(settings: Namespace, metrics: list[str] | None, write_report: Callable[..., Path]) -> int:
    shared = {
        "metrics": metrics, "transcripts": settings.transcripts, "workers": settings.workers,
        "resume": settings.resume, "sample_rate": settings.sample_rate,
    }
    evaluation = evaluate(settings.enhanced, settings.clean, settings.noisy, output=settings.output, **shared)
    others = {}
    if settings.against is not None:
        output = settings.output and beside(settings.output, "against")
        others[settings.against] = evaluate(
            settings.against, settings.clean, settings.noisy, output=output, score_noisy=False, **shared
        )
    if evaluation.files:
        print(scores_table(evaluation))
    for name, other in others.items():
        print(f"\nPaired test of {settings.enhanced} against {name}, each metric for itself:")
        print(comparison_table(evaluation, other))
    named = {settings.enhanced: evaluation.means(), **{name: other.means() for name, other in others.items()}}
    if before := evaluation.means(noisy=True):
        named = {"noisy input": before, **named}
    systems = {name: {column: mean.mean for column, mean in means.items()} for name, means in named.items()}
    if others and (table := prism_table(systems)):
        print(f"\nPRISM without NISQA, relative to these systems alone:\n{table}")
    if settings.report is not None and evaluation.files:
        print(f"\nreport: {write_report(settings.report, evaluation, title=settings.enhanced, others=others)}")
    tables = {settings.enhanced: evaluation, **others}
    return max(tell(name, table.failed, len(table.files), table.left_out) for name, table in tables.items())


def _recognise(settings: Namespace) -> int:
    from gense.evaluation.recognition import WEIGHTS, recognise
    from gense.metrics.asr import recogniser

    recognition = recognise(
        settings.enhanced, settings.noisy, settings.clean, recogniser=recogniser(settings.asr), name=settings.asr,
        transcripts=settings.transcripts, weights=WEIGHTS if settings.weights is None else settings.weights,
        output=settings.output and beside(settings.output, "asr"), resume=settings.resume,
        sample_rate=settings.sample_rate,
    )
    if recognition.files:
        print(recognition_table(recognition))
    return tell(settings.enhanced, recognition.failed, len(recognition.files), recognition.left_out)


def _flag(settings: Namespace) -> int:
    from gense.evaluation.flagged import flag_files, write_flags

    found = flag_files(settings.enhanced, settings.noisy)
    some = {name: flags for name, flags in found.flags.items() if flags}
    print(f"\n{len(some)} of {len(found.flags)} files say something else than their inputs in places")
    for name, flags in some.items():
        print(f"  {name}:", *flags, sep="\n    ")
    if settings.output is not None:
        write_flags(beside(settings.output, "flags"), found.flags)
    return tell(settings.enhanced, found.failed, len(found.flags), [])


def _check(settings: Namespace) -> None:
    """Refuse what cannot be meant before any work."""
    if settings.asr is not None and settings.noisy is None:
        raise ArgumentError(None, "--asr compares enhanced with noisy speech: give --noisy")
    if settings.check and settings.noisy is None:
        raise ArgumentError(None, "--check compares enhanced with noisy speech: give --noisy")
    if settings.asr is not None and settings.clean is None and settings.transcripts is None:
        raise ArgumentError(None, "--asr counts errors against --transcripts, or --clean in their place: give one")
    if settings.weights is not None and settings.asr is None:
        raise ArgumentError(None, "--weights belong to --asr")
    if settings.resume and settings.output is None:
        raise ArgumentError(None, "--resume goes on with the file of an earlier run: give it as --output")


def beside(path: str, what: str) -> Path:
    """`scores.csv` -> `scores.<what>.csv`."""
    return Path(path).with_suffix(f".{what}{Path(path).suffix}")


def _metrics(settings: Namespace) -> list[str] | None:
    """What --metrics names, apart at commas; what cannot be meant is wrong usage."""
    if settings.metrics is None:
        return None
    names = [name for given in settings.metrics for name in given.split(",") if name]
    flags = {"clean": settings.clean, "noisy": settings.noisy, "text": settings.transcripts}
    try:
        chosen = chosen_metrics(names)
    except ValueError as error:
        raise ArgumentError(None, str(error)) from error
    for metric in chosen:
        if missing := missing_needs(metric, {need: value is not None for need, value in flags.items()}):
            raise ArgumentError(None, f"--metrics {metric.name} needs {' and '.join(f'--{name}' for name in missing)}")
    return names


def tell(what: str, failed: Mapping[str, str], done: int, left_out: Sequence[str]) -> int:
    """Say on standard error which files have no scores; returns 1 if one failed."""
    if left_out:
        first = ", ".join(left_out[:3]) + (", ..." if left_out[3:] else "")
        print(f"{len(left_out)} files have no partner in {what} and are left out: {first}", file=sys.stderr)
    if not failed:
        return 0
    print(f"gense evaluate: {len(failed)} of {len(failed) + done} files of {what} failed:", file=sys.stderr)
    for name, reason in failed.items():
        print(f"  {name}: {reason}", file=sys.stderr)
    return 1
