"""The command `gense sweep`."""

from __future__ import annotations

import sys
from typing import Any

from jsonargparse import ArgumentParser

from gense.metrics.registry import DEFAULT, METRICS
from gense.metrics.with_models import WITH_MODEL
from gense.report.page import checked_path
from gense.sweeps.plot import check_picture, plot_pareto
from gense.sweeps.run import sweep
from gense.sweeps.words import BUDGETS, markdown, summary

_PLOTTED = 4  # Qualities drawn in a report; its table has all of them


def sweep_parser() -> ArgumentParser:
    """The parser: a flag for each argument of `gense.sweep`, and what to print and draw."""
    parser = ArgumentParser(
        prog="gense sweep", exit_on_error=False,
        description="Measure quality and cost of methods and settings over recorded pairs; recommend settings.",
    )  # fmt: skip
    parser.add_argument("--config", action="config", help="YAML with any of the settings below")
    parser.add_argument("pairs", metavar="PAIRS", help="folder with clean/ and noisy/, whose files have the same names")
    # Lists are given as on any command line, --steps 1 2 4; a signature's would want brackets
    parser.add_argument("--methods", nargs="+", type=str, required=True, metavar="M", help="names, folders or files")
    for name, kind, what in (
        ("samplers", str | None, "names in gense.samplers or dotted paths; null is the method's own"),
        ("schedules", str | None, "names in gense.samplers.schedules or dotted paths; null is the method's own"),
        ("steps", int | None, "numbers of steps; null is the method's own"),
    ):
        parser.add_argument(f"--{name}", nargs="+", type=kind, default=None, metavar="X", help=what)
    parser.add_argument(
        "--options", type=dict[str, list[Any]] | None, default=None, metavar="JSON",
        help="values of options of sampler and schedule, and of guidance: --options '{\"snr\": [0.3, 0.5]}'",
    )
    parser.add_argument("--dtypes", nargs="+", type=str, default=["float32"], metavar="D", help="of the networks")
    parser.add_argument(
        "--metrics", nargs="+", type=str, default=list(DEFAULT), metavar="X",
        help=f"some of {', '.join(METRICS)}, or, with a model, {', '.join(f'{name}:MODEL' for name in WITH_MODEL)}",
    )  # fmt: skip
    parser.add_argument("--trust", action="store_true", help="let a folder's method.yaml name classes outside gense")
    parser.add_function_arguments(
        sweep,
        skip={"pairs", "methods", "samplers", "schedules", "steps", "options", "dtypes", "metrics", "trust"},
    )
    parser.add_argument("--quality", type=str | None, default=None, help="score to choose by; default: the first one")
    for cost, usual in BUDGETS.items():
        parser.add_argument(
            f"--{cost}", nargs="+", type=float, default=list(usual), metavar="MOST", help=f"budgets in {cost}"
        )
    parser.add_argument("--plot", type=str | None, default=None, metavar="PNG", help="picture of quality against cost")
    parser.add_argument("--report", type=str | None, default=None, metavar="HTML", help="page with all of it")
    return parser


def run(args: list[str]) -> int:
    """Run the command; returns the exit status."""
    settings = vars(sweep_parser().parse_args(args))
    settings.pop("config", None)
    quality, plot, report = (settings.pop(name) for name in ("quality", "plot", "report"))
    budgets = {cost: settings.pop(cost) for cost in BUDGETS}
    _check(plot, report, quality, settings["metrics"])
    results = sweep(settings.pop("pairs"), settings.pop("methods"), **settings)
    for what, reasons in (("refused", results.refused), ("failed", results.failed)):
        for reason in dict.fromkeys(reasons.values()):
            labels = [label for label, why in reasons.items() if why == reason]
            print(f"{what}: {'; '.join(labels)}: {reason}", file=sys.stderr)
    if not results.cells:
        print("gense sweep: every setting failed", file=sys.stderr)
        return 1
    quality = quality or results.columns[0]
    print(markdown(results), summary(results, quality, budgets), sep="\n\n")
    if plot is not None:
        plot_pareto(results, plot, quality)
    if report is not None:
        from gense.report import write_sweep_report

        shown = list(dict.fromkeys([quality, *results.columns]))[:_PLOTTED]
        write_sweep_report(report, results, title="Sweep", qualities=shown)
    return 1 if results.failed else 0


def _check(plot: str | None, report: str | None, quality: str | None, metrics: list[str]) -> None:
    """Find out before hours of work what would only be noticed after them."""
    if plot is not None:
        check_picture(plot)
    if report is not None:
        checked_path(report)
    columns = [column for name in metrics for column in (METRICS[name].columns if name in METRICS else (name,))]
    if quality is not None and quality not in columns:
        raise ValueError(f"quality={quality!r}: expected one of {', '.join(columns)}")
