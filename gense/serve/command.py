"""`gense serve`: the server's flags."""

from __future__ import annotations

import sys
from dataclasses import fields
from inspect import signature
from typing import Any

import torch
from jsonargparse import ArgumentParser

from gense.api import enhance
from gense.serve.limits import ServerLimits
from gense.serve.offer import Offer

_ABOUT = """An HTTP server: POST an audio file to /enhance, get it back enhanced. Needs gense[serve]. Also /methods,
/health and /metrics (Prometheus). SIGTERM or Ctrl-C: accepted work is finished, new work gets 503."""
_HELP = {
    "max_bytes": "most bytes of a request's body",
    "max_seconds": "longest recording, seconds",
    "max_channels": "most channels",
    "min_rate": "lowest sampling rate, Hz",
    "max_rate": "highest sampling rate, Hz",
    "max_steps": "most sampling steps that a client may ask for",
    "batch": "most requests that are enhanced at once; default: 8, or 1 where there is no GPU",
    "batch_seconds": "most seconds of audio in a batch, all channels together",
    "wait": "seconds that an idle server waits for company after a request",
    "queue": "most requests that are accepted beyond a batch; others get 429",
    "upload_seconds": "how long a body may take to arrive, seconds",
}


def serve_parser() -> ArgumentParser:
    """The parser of `gense serve`: a flag for each of `ServerLimits`, too."""
    parser = ArgumentParser(prog="gense serve", exit_on_error=False, description=_ABOUT)
    parser.add_argument(
        "--method", nargs="+", default=[signature(enhance).parameters["method"].default], metavar="M",
        help="names, folders or checkpoints to offer; the first is the default",
    )  # fmt: skip
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="address to listen on; beyond this machine everyone may use the server, without a password",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=8000, help="port to listen on; 0 takes a free one")
    parser.add_argument("--device", type=str | None, default=None, help="cpu, cuda, cuda:1, ...; default: CUDA if any")
    parser.add_argument("--dtype", default="float32", help="float32, or bfloat16 or float16 for the networks")
    parser.add_argument("--compile", action="store_true", help="compile the networks")
    parser.add_argument("--trust", action="store_true", help="let a folder's method.yaml name classes outside gense")
    parser.add_argument("--log", default="warning", help="least level of the log; info gives a line for each request")
    for field in fields(ServerLimits):
        flags = dict.fromkeys([f"--{field.name.replace('_', '-')}", f"--{field.name}"])
        given: dict[str, Any] = {"type": type(field.default), "default": field.default}
        if field.name == "batch":
            given = {"type": int | None, "default": None}
        parser.add_argument(*flags, help=_HELP[field.name], **given)
    return parser


def run(args: list[str]) -> int:
    """Run `gense serve` with its arguments; returns the exit status.

    Raises:
        ValueError: an impossible limit, port or log level, or what `gense.load` raises.
        OSError: the port is taken, or what `gense.load` raises.
        ImportError: fastapi, uvicorn or prometheus_client is not installed.
    """
    settings = vars(serve_parser().parse_args(args))
    try:
        from gense.serve.app import create_app
        from gense.serve.server import address, listen, loopback, serve
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install gense[serve]") from error
    if settings["log"] not in ("debug", "info", "warning", "error", "critical"):
        raise ValueError(f"log={settings['log']!r}: expected debug, info, warning, error or critical")
    if settings["batch"] is None:
        # Without a GPU a batch takes as long as its requests one after the other, and each waits for the last one
        settings["batch"] = ServerLimits.batch if _on_gpu(settings["device"]) else 1
    limits = ServerLimits(**{field.name: settings[field.name] for field in fields(ServerLimits)})
    with listen(settings["host"], settings["port"]) as listener:
        names = ("device", "dtype", "compile", "trust")
        offer = Offer.load(settings["method"], limits, **{name: settings[name] for name in names})
        if not loopback(listener):
            print(
                f"gense serve: everyone who reaches {settings['host']} can use this server; it asks for no password",
                file=sys.stderr,
            )
        print(f"gense serve: {address(listener)} (Ctrl-C stops it)", flush=True)
        serve(create_app(offer, limits), listener, log=settings["log"])
    return 0


def _on_gpu(device: str | None) -> bool:
    return torch.cuda.is_available() if device is None else not device.startswith("cpu")
