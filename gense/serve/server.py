"""Running the application: a socket, and a stop that finishes what was accepted."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from gense.serve.gate import Gate

CONNECTIONS = 1000
"""Most connections at a time; beyond, they get a bare 503."""
SENDING = 30
"""Seconds that clients have to fetch their answers when the server stops."""


class Server(uvicorn.Server):
    """uvicorn, which stops in two steps: first no new work and answers for all accepted work, then the end.

    uvicorn alone closes its socket at once, so that clients see a refused connection in place of a reason. A second
    signal ends the process on the spot.
    """

    def __init__(self, config: uvicorn.Config, gate: Gate):
        super().__init__(config)
        self.gate = gate

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called on SIGTERM and SIGINT."""
        if self.gate.closed:
            os._exit(128 + sig)
        self.gate.close()
        print("gense serve: stopping, accepted work is finished first; a second signal ends it now", file=sys.stderr)

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; whether to stop."""
        if self.gate.closed and self.gate.empty:
            self.should_exit = True
        return await super().on_tick(counter)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: an address or name of this machine.
        port: 0 to 65535; 0 takes any that is free.

    Raises:
        ValueError: an impossible port.
        OSError: the port is taken, or the host is none of this machine.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"port={port}: expected 0 to 65535")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        raise OSError(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error


def serve(app: FastAPI, listener: socket.socket, *, log: str = "warning") -> None:
    """Serve an application of `gense.serve.app.create_app` until SIGTERM or SIGINT, and finish what was accepted.

    Args:
        app: the application.
        listener: from `listen`; closed at the end.
        log: least level of what uvicorn logs; with "info" and lower each request gets a line.
    """
    config = uvicorn.Config(
        app, loop="asyncio", http="h11", ws="none", lifespan="on", log_level=log, proxy_headers=False,
        server_header=False, limit_concurrency=CONNECTIONS, timeout_graceful_shutdown=SENDING,
    )  # fmt: skip
    Server(config, app.state.gate).run(sockets=[listener])


def address(listener: socket.socket) -> str:
    """The URL under which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def loopback(listener: socket.socket) -> bool:
    """Whether only this machine reaches a listening socket."""
    return ipaddress.ip_address(listener.getsockname()[0].split("%")[0]).is_loopback
