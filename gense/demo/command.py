"""`gense demo`: serve the page until interrupted."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse import ArgumentParser

from gense.demo.models import Models
from gense.demo.work import MEGABYTES

# What gradio reads from the environment: nothing is reported to anyone, and uploads lie where they are removed
_QUIET = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}


def demo_parser() -> ArgumentParser:
    """The parser of `gense demo`."""
    parser = ArgumentParser(
        prog="gense demo", exit_on_error=False,
        description="A local web page to enhance a recording, hear and see the difference. Needs gense[page].",
    )  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, help="port of the page")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; beyond this machine everyone may use the page"
    )
    parser.add_argument(
        "--methods", nargs="+", default=[], metavar="M", help="names, folders or checkpoints to offer; default: all"
    )
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
    return parser


def run(args: list[str]) -> int:
    """Run `gense demo` with its arguments; returns the exit status."""
    settings = demo_parser().parse_args(args)
    models = Models(settings.methods)
    with _leaving_nothing(), tempfile.TemporaryDirectory(prefix="gense-demo-") as folder:
        serve(models, Path(folder), host=settings.host, port=settings.port, browser=settings.open)
    return 0


@contextmanager
def _leaving_nothing() -> Iterator[None]:
    """End in order when told to end, as by Ctrl-C, so that folders with recordings are removed then, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def serve(models: Models, folder: Path, *, host: str = "127.0.0.1", port: int = 7860, browser: bool = False) -> None:
    """Serve the page until interrupted.

    Sets `GRADIO_TEMP_DIR` and switches gradio's telemetry off, both in the environment of the process.

    Args:
        models: the methods on offer.
        folder: for uploads and results, inside of the system's folder for temporary files.
        host: address to listen on.
        port: 1 to 65535.
        browser: open the page there.

    Raises:
        ValueError: an impossible port.
        OSError: the port is taken, or the address is not of this machine.
        ImportError: gradio is not installed.
    """
    if not 0 < port < 65536:
        raise ValueError(f"port={port}: expected 1 to 65535")
    os.environ.update(_QUIET, GRADIO_TEMP_DIR=str(folder / "uploads"))
    from gense.demo.page import build, example_clip, gradio

    gr, clip = gradio(), example_clip()
    # Fonts of the machine: gradio's own choice would be fetched from elsewhere
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    page = build(models, folder, clip)
    _, address, _ = page.launch(
        server_name=host, server_port=port, share=False, inbrowser=browser, prevent_thread_lock=True, quiet=True,
        theme=theme, max_file_size=f"{MEGABYTES}mb", allowed_paths=[str(clip)] if clip else [],
        run_history=False, footer_links=[], ssr_mode=False, mcp_server=False, pwa=False, enable_monitoring=False,
    )  # fmt: skip
    if not _loopback(host):
        print(f"gense demo: everyone who reaches {host} can use this page; it asks for no password", file=sys.stderr)
    print(f"gense demo: {address} (Ctrl-C stops it)", flush=True)
    page.block_thread()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
