"""The command `gense data`: look at training data before training."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from gense.data.check import KINDS, check, listed
from gense.data.preview import preview
from gense.data.sources import all_recordings

_HELP = """usage: gense data COMMAND ...

Look at training data before training.

  preview --config YAML -o OUT   write examples of what a training will hear, and their spectrograms
  check SOURCE...                find files that are broken, silent, clipped, short, of a low rate or duplicate

`gense data COMMAND --help` shows a command's options."""


def run(args: list[str]) -> int:
    """Run the command; returns the exit status."""
    commands = {"preview": _preview, "check": _check}
    if not args or args[0] in ("-h", "--help"):
        print(_HELP)
        return 0 if args else 2
    if args[0] not in commands:
        print(f"gense data: unknown command {args[0]!r}; expected {', '.join(commands)}", file=sys.stderr)
        return 2
    return commands[args[0]](args[1:])


def preview_parser() -> ArgumentParser:
    """The parser of `gense data preview`."""
    parser = ArgumentParser(
        prog="gense data preview", exit_on_error=False,
        description="Write examples of what a training will hear as FLAC, and one sheet of their spectrograms.",
    )  # fmt: skip
    parser.add_argument(
        "--config", type=str, required=True, metavar="YAML", help="of a training, or of data as gense fit --data"
    )
    parser.add_argument("-o", "--output", type=str, required=True, metavar="OUT", help="folder to write into")
    parser.add_argument("--count", type=int, default=8, metavar="N", help="examples")
    return parser


def _preview(args: list[str]) -> int:
    settings = preview_parser().parse_args(args)
    for path in preview(settings.config, settings.output, count=settings.count):
        print(path)
    return 0


def check_parser() -> ArgumentParser:
    """The parser of `gense data check`."""
    parser = ArgumentParser(
        prog="gense data check", exit_on_error=False,
        description="Decode files and list what would spoil a training. "
        "Exit status 1 if any is broken; with --strict, if anything was found.",
    )  # fmt: skip
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="folders, files, tables (CSV, TSV, JSON lines; all.csv?kind=noise chooses rows), .scp lists, tar shards",
    )
    parser.add_argument(
        "--sample-rate", "--sample_rate", type=int | None, default=None, metavar="HZ",
        help="of the model; default: the most common one of the files",
    )
    parser.add_argument("--shortest", type=float, default=0.1, metavar="S", help="seconds; shorter files are listed")
    parser.add_argument("--workers", type=int, default=4, metavar="N", help="threads")
    parser.add_argument("--csv", type=str | None, default=None, metavar="FILE", help="table of all findings")
    parser.add_argument("--strict", action="store_true", help="exit status 1 for any finding")
    return parser


def _check(args: list[str]) -> int:
    settings = check_parser().parse_args(args)
    found = check(
        all_recordings(settings.sources), sample_rate=settings.sample_rate, shortest=settings.shortest,
        workers=settings.workers,
    )  # fmt: skip
    print(found.table())
    for kind in KINDS:
        if some := [finding for finding in found.findings if finding.kind == kind]:
            print(f"\n{listed(some, 20)}")
    if settings.csv is not None:
        with Path(settings.csv).open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["path", "kind", "detail"])
            rows.writerows((finding.name, finding.kind, finding.detail) for finding in found.findings)
    return 1 if found.broken or (settings.strict and found.findings) else 0
