"""The `gense` command: the API's functions, with flags read from their signatures."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from gense.api import load, methods
from gense.checkpoints.build import one_line
from gense.checkpoints.folder import write_folder
from gense.checkpoints.formats import convert_file
from gense.files import enhance_files
from gense.version import __version__

_HELP = """usage: gense COMMAND ...

Generative speech enhancement.

  enhance IN... -o OUT   enhance files, folders or patterns
  enhance-corpus IN...   a corpus with many workers, on one machine or a cluster (needs gense[scale])
  stream --rate HZ       raw PCM from standard input to standard output, in a pipe
  methods                list methods and weights
  info MODEL             what a checkpoint, folder or name holds
  convert CKPT OUT       turn a published checkpoint into a folder with YAML and safetensors
  evaluate ENHANCED      score enhanced files; compare systems (needs gense[metrics])
  sweep PAIRS            quality and cost of methods and settings; recommends settings (needs gense[metrics])
  data check|preview     look at training data before training
  fit --config YAML      train (needs gense[train])
  validate --config YAML  measure a checkpoint of a training by its validation pairs; test: by its test pairs
  demo                   a local web page to try it on (needs gense[page])
  serve                  an HTTP server: audio in, audio out (needs gense[serve])

`gense COMMAND --help` shows a command's options."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if args is None else args)
    commands = {
        "enhance": _enhance, "enhance-corpus": _enhance_corpus, "stream": _stream, "methods": _methods, "info": _info,
        "convert": _convert, "evaluate": _evaluate, "sweep": _sweep, "data": _data, "fit": _fit,
        "validate": _validate, "test": _test,
        "demo": _demo, "serve": _serve,
    }
    if not given or given[0] in ("-h", "--help"):
        print(_HELP)
        return 0 if given else 2
    if given[0] == "--version":
        print(__version__)
        return 0
    if given[0] not in commands:
        print(f"gense: unknown command {given[0]!r}; expected {', '.join(commands)}", file=sys.stderr)
        return 2
    try:
        return commands[given[0]](given[1:])
    except ArgumentError as error:
        print(f"gense {given[0]}: {one_line(error)}; see gense {given[0]} --help", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"gense {given[0]}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gense: interrupted; files written so far are complete", file=sys.stderr)
        return 130


def enhance_parser() -> ArgumentParser:
    """The parser of `gense enhance`: a flag for each argument of `gense.enhance_files`."""
    parser = ArgumentParser(
        prog="gense enhance", description="Enhance files, folders (recursively) or patterns.", exit_on_error=False
    )
    parser.add_argument("inputs", nargs="+", metavar="IN", help="audio files, folders or glob patterns")
    parser.add_argument("-o", "--output", required=True, metavar="OUT", help="a file for one input file, else a folder")
    parser.add_argument("--method", default="flowse", metavar="M", help="name, folder or checkpoint, see gense methods")
    # Flags without a value, and a hint how to write the others, are not to be read from a signature
    parser.add_argument("--resume", action="store_true", help="skip inputs whose output file is already there")
    parser.add_argument("--compile", action="store_true", help="compile the networks; pays off on many files")
    parser.add_argument("--check", action="store_true", help="say where outputs say something else than their inputs")
    parser.add_argument("--trust", action="store_true", help="let a folder's method.yaml name classes outside gense")
    parser.add_argument(
        "--options", type=dict[str, Any], default={}, metavar="JSON",
        help="of sampler and schedule, and guidance: --options.snr 0.3, or --options '{\"snr\": 0.3}'",
    )
    parser.add_argument(
        "--text-file", "--text_file", type=str | None, metavar="FILE", help="text file with the transcript of one input"
    )
    written: set[str | int] = {"inputs", "output", "method", "resume", "compile", "check", "trust", "options"}
    parser.add_function_arguments(enhance_files, skip=written | {"text_file"})
    return parser


def _enhance(args: list[str]) -> int:
    settings = vars(enhance_parser().parse_args(args))
    report = enhance_files(settings.pop("inputs"), settings.pop("output"), **settings)
    for target in report.done:
        print(target)
    for target, flags in report.flagged.items():
        for flag in flags:
            print(f"{target}: {flag}", file=sys.stderr)
    if report.skipped:
        print(f"skipped {len(report.skipped)} finished files", file=sys.stderr)
    if report.failed:
        print(f"gense enhance: {len(report.failed)} of {len(report.done) + len(report.failed)} files failed:",
              file=sys.stderr)
        for source, reason in report.failed.items():
            print(f"  {source}: {reason}", file=sys.stderr)
        return 1
    return 0


def _enhance_corpus(args: list[str]) -> int:
    from gense.scale.command import run

    return run(args)


def _stream(args: list[str]) -> int:
    from gense.stream_command import run

    return run(args)


def _methods(args: list[str]) -> int:
    ArgumentParser(prog="gense methods", exit_on_error=False, description="List methods and weights.").parse_args(args)
    rows = [("NAME", "RATE", "WEIGHTS", "LICENCE", "SOURCE")]
    for m in methods():
        where = f"{m.megabytes:.1f} MB here" if m.megabytes is not None else "fetched on first use"
        rows.append((
            m.name + (" (default)" if m.default else ""),
            f"{m.sample_rate} Hz" if m.sample_rate else "in the file",
            "not supported yet" if m.unsupported else where,
            m.licence or "not stated",
            m.source,
        ))
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    for row in rows:
        print("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]))
    return 0


def _info(args: list[str]) -> int:
    about = "Show what a checkpoint, folder or name holds."
    parser = ArgumentParser(prog="gense info", exit_on_error=False, description=about)
    parser.add_argument("model", help="published checkpoint, folder with method.yaml, or name")
    model = parser.parse_args(args).model
    if Path(model).is_file() and Path(model).suffix not in (".yaml", ".safetensors"):
        config, _, name = convert_file(model)
        print(f"format: {name}\n{yaml.safe_dump(config, sort_keys=False).rstrip()}")
    enhancer = load(model, device="cpu")
    parameters = sum(p.numel() for p in enhancer.parameters())
    print(f"sample rate: {enhancer.sample_rate} Hz\nparameters: {parameters:,}")
    print(f"reads: {', '.join(enhancer.head.reads)}\nsampling: {enhancer.head.sampling}")
    print(f"level: {enhancer.level}\nchunking: {enhancer.chunking}")
    return 0


def _convert(args: list[str]) -> int:
    about = "Turn a published checkpoint into YAML and safetensors."
    parser = ArgumentParser(prog="gense convert", exit_on_error=False, description=about)
    parser.add_argument("checkpoint", help="published checkpoint")
    parser.add_argument("output", help="folder to write")
    settings = parser.parse_args(args)
    if Path(settings.output).is_file():
        raise ValueError(f"{settings.output} is a file: give a folder")
    config, state, name = convert_file(settings.checkpoint)
    write_folder(settings.output, config, state)
    print(f"{name} checkpoint written to {settings.output}{os.sep}; load it with gense.load({settings.output!r})")
    return 0


def _evaluate(args: list[str]) -> int:
    from gense.evaluation.command import run
    from gense.report import write_evaluation_report
    from gense.report.page import checked_path

    return run(args, write_evaluation_report, checked_path)


def _sweep(args: list[str]) -> int:
    from gense.sweeps.command import run

    return run(args)


def _data(args: list[str]) -> int:
    from gense.data.command import run

    return run(args)


def _train(command: Literal["fit", "validate", "test"], args: list[str]) -> int:
    try:
        from gense.training.cli import run
        from gense.training.divergence import Diverged
    except ImportError as error:
        raise ImportError(f"{error.name} is not installed: pip install gense[train]") from error
    try:
        run(command, args)
    except Diverged as error:
        raise ValueError(error) from error
    return 0


def _fit(args: list[str]) -> int:
    return _train("fit", args)


def _validate(args: list[str]) -> int:
    return _train("validate", args)


def _test(args: list[str]) -> int:
    return _train("test", args)


def _demo(args: list[str]) -> int:
    from gense.demo.command import run

    return run(args)


def _serve(args: list[str]) -> int:
    from gense.serve.command import run

    return run(args)
