"""Around the application: errors as JSON, answers to clients that are still sending, and answers counted."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection

from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gense.serve.limits import RefusedError
from gense.serve.measures import Measures

_LINGER = 10.0
"""Seconds for which the rest of a refused body is read and thrown away."""


def refusal(error: RefusedError) -> Response:
    """The answer `{"status": ..., "message": ...}`."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return JSONResponse({"status": error.status, "message": error.message}, error.status, headers)


class Lingering:
    """Lets clients read an answer that is given before their request has arrived as a whole.

    A connection that is closed while bytes arrive is reset, and the client's system throws the answer away with it. So
    the answer is sent at once, and what still comes is read for a while and forgotten before it is declared finished.

    Args:
        app: what answers.
    """

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        # A client that asks whether it may send its body (RFC 9110, 10.1.1) sends none after an answer
        arrived = any(name == b"expect" for name, _ in scope["headers"])

        async def noted() -> Message:
            nonlocal arrived
            message = await receive()
            arrived = arrived or not message.get("more_body", False)
            return message

        async def rest() -> None:
            while not arrived:
                await noted()

        async def lingering(message: Message) -> None:
            if message["type"] == "http.response.body" and not message.get("more_body", False) and not arrived:
                await send({**message, "more_body": True})
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(rest(), _LINGER)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self.app(scope, noted, lingering)


class Counted:
    """Counts answers by path and status, and times those with audio, around an application.

    Args:
        app: what answers.
        measures: where it is counted.
        paths: those with a line of their own; clients can make up any number of others.
        timed: the path whose good answers are timed.
    """

    def __init__(self, app: ASGIApp, measures: Measures, paths: Collection[str], timed: str):
        self.app, self.measures, self.paths, self.timed = app, measures, paths, timed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            path = scope["path"] if scope["path"] in self.paths else "other"
            self.measures.requests.labels(path, str(status)).inc()
            if path == self.timed and status == 200:
                self.measures.latency.observe(time.perf_counter() - start)
