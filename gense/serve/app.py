"""The HTTP interface: POST /enhance, GET /methods, /health and /metrics."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from gense.serve import work
from gense.serve.answers import Counted, Lingering, refusal
from gense.serve.batcher import Batcher
from gense.serve.formats import FORMATS, TYPES, Header, check_encodable, check_type, read_header
from gense.serve.gate import Gate
from gense.serve.limits import RefusedError, ServerLimits
from gense.serve.measures import TYPE, Measures
from gense.serve.offer import OPTIONS, Offer, Wish
from gense.version import __version__

_PATHS = ("/enhance", "/methods", "/health", "/metrics", "/openapi.json")
_GONE = 499  # not sent to anyone; what other servers log for it
_ERRORS = {
    400: "The body is empty or was broken off.",
    408: "The body took too long to arrive.",
    413: "Too many bytes, or too long a recording.",
    415: "No audio format that is read here.",
    422: "Audio that is damaged or beyond the limits, or settings that are not possible.",
    429: "All places are taken; try again after Retry-After seconds.",
    503: "The server is stopping, or out of memory.",
}
_AUDIO = {"content": {name: {"schema": {"type": "string", "format": "binary"}} for name in sorted(TYPES)}}


def create_app(offer: Offer, limits: ServerLimits) -> FastAPI:
    """The application, to be run by an ASGI server in one process.

    It holds a thread that works on the batches while its lifespan lasts, and nothing outside itself.

    Args:
        offer: the methods.
        limits: what it takes on.

    Returns:
        The application; `app.state.gate` is its `Gate`: close it, and new work gets 503 while accepted work is
        finished.
    """
    gate, measures = Gate(limits.batch + limits.queue), Measures()
    batcher = Batcher(partial(work.run, limits=limits), limits, measures.batch)
    measures.watch(gate, batcher)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(batcher.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    # The usual pages of documentation would have the browser fetch scripts from elsewhere
    app = FastAPI(
        title="gense", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None,
        description="Speech enhancement: audio in, audio out.",
    )  # fmt: skip
    app.state.gate = gate
    app.add_middleware(Lingering)
    app.add_middleware(Counted, measures=measures, paths=_PATHS, timed="/enhance")
    app.add_exception_handler(RefusedError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _failed)

    @app.post(
        "/enhance", response_class=Response,
        responses={200: _AUDIO, **{status: {"description": text} for status, text in _ERRORS.items()}},
        openapi_extra={"requestBody": {"required": True, **_AUDIO}},
    )  # fmt: skip
    async def enhance(
        request: Request,
        method: Annotated[str | None, Query(description="A name from /methods; the first by default.")] = None,
        steps: Annotated[int | None, Query(description="Sampling steps.", ge=1)] = None,
        sampler: Annotated[str | None, Query(description="A name from /methods.")] = None,
        schedule: Annotated[str | None, Query(description="A name from /methods.")] = None,
        seed: Annotated[int, Query(description="Of the noise; equal seeds give equal results.", ge=0)] = 0,
        format: Annotated[str | None, Query(description=f"Of the answer: {', '.join(FORMATS)}.")] = None,
        churn: Annotated[float | None, Query(description="Option of a sampler.")] = None,
        snr: Annotated[float | None, Query(description="Option of a sampler.")] = None,
        eta: Annotated[float | None, Query(description="Option of a sampler.")] = None,
        guidance: Annotated[float | None, Query(description="Strength of guidance; doubles the work.")] = None,
    ) -> Response:
        """Enhance a recording: the body is an audio file, the answer is one of the same format, rate and channels."""
        _check_query(request)
        given = dict(zip(OPTIONS, (churn, snr, eta, guidance), strict=True))
        options = tuple((name, value) for name, value in given.items() if value is not None)
        choice = offer.choose(Wish(method, steps, sampler, schedule, seed, options))
        if format is not None and format not in FORMATS:
            raise RefusedError(422, f"format={format!r}: expected one of {', '.join(FORMATS)}")
        check_type(request.headers.get("content-type"))
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RefusedError(415, "Content-Encoding is not taken: send the audio file as it is")
        with gate:
            body = await _received(request, limits)
            header, wanted = await asyncio.to_thread(_examined, body, format, limits)
            outcome = await _unless_gone(request, batcher.submit(work.Job(body, header, choice, wanted)))
        if outcome is None:
            return Response(status_code=_GONE)
        if isinstance(outcome.answer, RefusedError):
            raise outcome.answer
        timing = f"batch;dur={1000 * outcome.seconds:.0f}"
        return Response(outcome.answer, headers={"Server-Timing": timing}, media_type=FORMATS[wanted].type)

    @app.get("/methods")
    async def methods() -> list[dict[str, Any]]:
        """The methods on offer, and what can be chosen about each."""
        return offer.described()

    @app.get("/health", responses={503: {"description": "The server is stopping."}})
    async def health(response: Response) -> dict[str, Any]:
        """Whether the server takes work, and how much it has."""
        response.status_code = 503 if gate.closed else 200
        return {
            "status": "stopping" if gate.closed else "ok", "version": __version__, "working": batcher.working,
            "waiting": batcher.waiting, "accepted": gate.taken, "places": gate.places,
        }  # fmt: skip

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Measurements for Prometheus."""
        return Response(measures.text(), headers={"Content-Type": TYPE})

    return app


_KNOWN = ("method", "steps", "sampler", "schedule", "seed", "format", *OPTIONS)


def _check_query(request: Request) -> None:
    given = [name for name, _ in request.query_params.multi_items()]
    for name in given:
        if name not in _KNOWN:
            raise RefusedError(422, f"unexpected parameter {name!r}: expected {', '.join(_KNOWN)}")
        if given.count(name) > 1:
            raise RefusedError(422, f"parameter {name!r} is there {given.count(name)} times: give it once")


async def _received(request: Request, limits: ServerLimits) -> io.BytesIO:
    """The body, counted while it arrives.

    Raises:
        RefusedError: 400 empty or broken off, 408 too slow, 413 too large.
    """
    too_large = RefusedError(
        413, f"more than {limits.max_bytes} bytes: cut the recording, or send it in a compressed format"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.max_bytes:
        raise too_large
    body = io.BytesIO()

    async def receive() -> None:
        async for chunk in request.stream():
            if body.tell() + len(chunk) > limits.max_bytes:
                raise too_large
            body.write(chunk)

    try:
        await asyncio.wait_for(receive(), limits.upload_seconds)
    except asyncio.TimeoutError:
        raise RefusedError(408, f"the body did not arrive within {limits.upload_seconds:g} s") from None
    except ClientDisconnect:
        raise RefusedError(400, "the body was broken off") from None
    if body.tell() == 0:
        raise RefusedError(400, "the body is empty: send the bytes of an audio file")
    return body


def _examined(body: io.BytesIO, wanted: str | None, limits: ServerLimits) -> tuple[Header, str]:
    """The header, and the format of the answer; both are possible."""
    header = read_header(body, limits)
    wanted = wanted or header.format
    check_encodable(wanted, header)
    return header, wanted


async def _unless_gone(request: Request, work: Any) -> Any:
    """The result of a coroutine; None, and the coroutine is cancelled, if the client leaves before."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return tasks[0].result() if tasks[0].done() else None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return refusal(error)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    told = (f"{one['loc'][-1]}={one.get('input')!r}: {one['msg']}" for one in error.errors())
    return refusal(RefusedError(422, "; ".join(told)))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    answer = refusal(RefusedError(error.status_code, f"{request.method} {request.url.path}: {error.detail}"))
    answer.headers.update(error.headers or {})
    return answer


async def _failed(request: Request, error: Exception) -> Response:
    return refusal(RefusedError(500, "the request failed; the server's log says why"))
