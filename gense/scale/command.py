"""The command `gense enhance-corpus`."""

from __future__ import annotations

import sys
from typing import Any

from jsonargparse import ArgumentParser

from gense.scale.job import CorpusReport, enhance_corpus

_SHOWN = 20  # reasons that are printed; the manifest has all of them


def corpus_parser() -> ArgumentParser:
    """The parser: a flag for each argument of `gense.scale.enhance_corpus`."""
    parser = ArgumentParser(
        prog="gense enhance-corpus", exit_on_error=False,
        description="Enhance a corpus with many workers on Ray; call it again to continue a job that was interrupted.",
    )  # fmt: skip
    parser.add_argument("--config", action="config", help="YAML with any of the settings below")
    parser.add_argument(
        "source", nargs="+", metavar="SOURCE",
        help="folder, list of paths (.csv, .tsv, .jsonl, .parquet), tar shards ('s-{000..009}.tar') or Parquet files",
    )
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="folder, local or an fsspec URI")
    parser.add_argument("--method", default="flowse", metavar="M", help="name, folder or checkpoint, see gense methods")
    # Flags without a value, and a hint how to write the others, are not to be read from a signature
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument("--trust", action="store_true", help="let a folder's method.yaml name classes outside gense")
    parser.add_argument("--dnsmos", action="store_true", help="score each result with DNSMOS (needs gense[metrics])")
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, metavar="JSON",
        help="of sampler and schedule, and guidance: --options.snr 0.3, or --options '{\"snr\": 0.3}'",
    )
    skip: set[str | int] = {"source", "output", "method", "compile", "trust", "dnsmos", "options"}
    parser.add_function_arguments(enhance_corpus, skip=skip)
    return parser


def run(args: list[str]) -> int:
    """Run the command; returns the exit status: 1 if a clip failed."""
    settings = vars(corpus_parser().parse_args(args))
    settings.pop("config", None)
    source = settings.pop("source")
    report = enhance_corpus(source[0] if len(source) == 1 else source, settings.pop("output"), **settings)
    print(summary(report))
    if not report.failed:
        return 0
    print(f"gense enhance-corpus: {len(report.failed)} clips failed:", file=sys.stderr)
    for key, reason in list(report.failed.items())[:_SHOWN]:
        print(f"  {key}: {reason}", file=sys.stderr)
    if len(report.failed) > _SHOWN:
        print(f"  and {len(report.failed) - _SHOWN} more, see {report.manifest}", file=sys.stderr)
    return 1


def summary(report: CorpusReport) -> str:
    """What was done, in a line."""
    parts = [f"{report.done} clips enhanced ({report.hours:.3g} hours of audio in {report.seconds:.3g} s)"]
    if report.skipped:
        parts.append(f"{report.skipped} done before")
    if report.failed:
        parts.append(f"{len(report.failed)} failed")
    return f"{', '.join(parts)}; {report.manifest}"
