"""Requests that are malformed, too large, or up to something: a clear answer, and the server goes on."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from gense.serve.limits import ServerLimits
from tests.serve.running import WAV, measured, running, sound, until
from tests.tiny import passthrough, pointwise

LIMITS = ServerLimits(
    max_bytes=200_000, max_seconds=4.0, max_channels=2, max_rate=96000, max_steps=8, upload_seconds=0.5, batch=2,
    queue=2,
)  # fmt: skip


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running({"plain": passthrough(), "walk": pointwise()}, LIMITS) as client:
        yield client
        answer = client.post("/enhance", content=sound(), headers=WAV)  # after all that it has been through
        assert answer.status_code == 200, answer.text


def of_samples(wav: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, wav, 16000, format="WAV", subtype="FLOAT")
    return out.getvalue()


def flac_of(frames: int) -> bytes:
    """FLAC of 0.5 s whose header says that it holds so many samples, 0: unknown (RFC 9639, 8.2: the last 36 bits)."""
    data = bytearray(sound(format="FLAC"))
    head = int.from_bytes(data[18:26], "big") >> 36 << 36
    data[18:26] = (head | frames).to_bytes(8, "big")
    return bytes(data)


BAD = [
    ("", b"", 400, "the body is empty"),
    ("", b"no sound at all" * 9, 415, "cannot be read as audio"),
    ("", b"\0\0\0\x20ftypM4A " + bytes(500), 415, "cannot be read as audio"),
    ("", b"RIFF", 415, "cannot be read as audio"),
    ("", b"RIFF\0\0\0\0WAVE", 422, "cannot be read as audio"),
    ("", b"fLaC" + bytes(50), 422, "cannot be read as audio"),
    ("", b"OggS" + bytes(60), 422, "cannot be read as audio"),
    ("", sound(format="SVX"), 415, "SVX is not taken"),
    ("", sound()[:-2000], 422, "cut off"),
    ("", of_samples(np.zeros(0)), 422, "no samples"),
    ("", of_samples(np.full(100, np.nan)), 422, "100 NaN"),
    ("", sound(channels=3), 422, "3 channels: this server takes at most 2"),
    ("", sound(rate=192000, seconds=0.1), 422, "192000 Hz: this server takes 4000 to 96000 Hz"),
    ("", sound(rate=1000), 422, "1000 Hz"),
    ("", sound(4.5), 413, "lasts 4 s or more: this server takes at most 4 s"),
    ("", sound(60.0, format="FLAC", rate=8000)[:150_000], 413, "at most 4 s"),
    ("", flac_of(2**36 - 1), 413, "at most 4 s"),
    ("", bytes(200_001), 413, "more than 200000 bytes"),
    ("format=aac", sound(), 422, "format='aac': expected one of wav, flac"),
    ("format=opus", sound(rate=44100), 422, "cannot be written as opus at 44100 Hz"),
    ("steps=0", sound(), 422, "steps='0': Input should be greater than or equal to 1"),
    ("steps=many", sound(), 422, "steps='many'"),
    ("method=walk&steps=9", sound(), 422, "this server takes at most 8"),
    ("steps=2", sound(), 422, "deterministic"),
    ("seed=-1", sound(), 422, "seed='-1'"),
    ("seed=18446744073709551616", sound(), 422, "below 2^64"),
    ("method=walk&snr=nan", sound(), 422, "finite"),
    ("method=walk&eta=1", sound(), 422, "unexpected option 'eta'"),
    ("method=walk&churn=-1", sound(), 422, "churn=-1"),
    ("method=walk&guidance=2", sound(), 422, "guidance"),
    ("method=walk&sampler=average", sound(), 422, "not on offer"),
    ("method=walk&sampler=odeint", sound(), 422, "not on offer"),
    ("method=walk&rtol=1e-300", sound(), 422, "unexpected parameter 'rtol'"),
    ("step=2", sound(), 422, "unexpected parameter 'step': expected method, steps"),
    ("seed=1&seed=2", sound(), 422, "2 times"),
]


@pytest.mark.parametrize(
    ("query", "body", "status", "message"), BAD, ids=[f"{query or 'body'}-{message}" for query, _, _, message in BAD]
)
def test_what_is_wrong_is_said(client: httpx.Client, query: str, body: bytes, status: int, message: str) -> None:
    answer = client.post(f"/enhance?{query}", content=body, headers=WAV)
    assert answer.status_code == status, answer.text
    assert answer.json()["status"] == status
    assert message in answer.json()["message"]
    assert str(Path.cwd().parent) not in answer.text  # nothing of this machine


def test_flac_from_a_pipe_is_taken_and_its_length_counted(client: httpx.Client) -> None:
    assert client.post("/enhance", content=flac_of(0), headers=WAV).status_code == 200
    long = bytearray(sound(30.0, rate=8000, format="FLAC", subtype="PCM_S8"))
    long[18:26] = (int.from_bytes(long[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    answer = client.post("/enhance", content=bytes(long)[:190_000], headers=WAV)
    assert (answer.status_code, "at most 4 s" in answer.text) == (413, True), answer.text


@pytest.mark.parametrize(
    "headers",
    [
        {}, {"Content-Type": ""}, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/x-www-form-urlencoded"}, {"Content-Type": "video/mp4"},
        {**WAV, "Content-Encoding": "gzip"},
    ],
)  # fmt: skip
def test_other_types_are_refused_those_that_any_web_page_may_send_among_them(
    client: httpx.Client, headers: dict[str, str]
) -> None:
    answer = client.post("/enhance", content=sound(), headers=headers)
    assert answer.status_code == 415
    assert "Content-" in answer.json()["message"]


@pytest.mark.parametrize(("verb", "path", "status"), [
    ("GET", "/enhance", 405), ("PUT", "/enhance", 405), ("OPTIONS", "/enhance", 405), ("POST", "/", 404),
    ("GET", "/../../etc/passwd", 404), ("DELETE", "/health", 405),
])  # fmt: skip
def test_errors_of_http_are_json_too(client: httpx.Client, verb: str, path: str, status: int) -> None:
    answer = client.request(verb, path)
    assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_no_path_url_or_code_from_a_client_is_touched(client: httpx.Client, tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(sound())
    (tmp_path / "evil_module.py").write_text("open(__file__ + '.ran', 'w')")
    sys.path.insert(0, str(tmp_path))
    try:
        for query in (
            {"method": str(tmp_path)}, {"method": "regression"}, {"path": str(secret)}, {"url": f"file://{secret}"},
            {"method": "walk", "sampler": "evil_module.function"}, {"method": "walk", "sampler": "os.system"},
            {"method": "walk", "schedule": "evil_module.function"}, {"format": "../wav"},
        ):  # fmt: skip
            answer = client.post("/enhance", params=query, content=sound(), headers=WAV)
            assert answer.status_code == 422, query
    finally:
        sys.path.remove(str(tmp_path))
    for body in (str(secret).encode(), f"file://{secret}".encode(), b"http://127.0.0.1/x.wav"):
        assert client.post("/enhance", content=body, headers=WAV).status_code == 415
    assert sorted(path.name for path in tmp_path.iterdir()) == ["evil_module.py", "secret.wav"]


def test_an_endless_body_is_not_read_to_its_end(client: httpx.Client) -> None:
    """It is counted while it arrives; without a length announced, 413 comes after 200 kB of a gigabyte."""
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100_000):
            sent += 10_000
            yield bytes(10_000)

    with socket.create_connection((client.base_url.host, client.base_url.port)) as wire:
        wire.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        wire.settimeout(0.0)
        got = b""
        for chunk in endless():
            wire.settimeout(10)
            wire.sendall(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            wire.settimeout(0.0 if sent < 400_000 else 5.0)
            try:
                got += wire.recv(4096)
            except (BlockingIOError, TimeoutError):
                continue
            break
    assert got.startswith(b"HTTP/1.1 413")
    assert sent < 2_000_000


def test_a_large_body_that_is_refused_at_once_still_gets_its_answer(client: httpx.Client) -> None:
    """20 MB are under way when 413 is sent; were the connection then reset, the client would see no status."""
    for _ in range(3):
        answer = client.post("/enhance", content=bytes(20_000_000), headers=WAV)
        assert (answer.status_code, answer.json()["status"]) == (413, 413)


def test_a_client_that_asks_first_is_told_before_it_sends(client: httpx.Client) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as wire:
        wire.sendall(
            b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 900000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert wire.recv(4096).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_come_costs_its_place_for_a_while_only(client: httpx.Client) -> None:
    head = b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\nContent-Length: 1000\r\n\r\nRIFF"
    where = client.base_url.host, client.base_url.port
    with socket.create_connection(where, timeout=10) as slow, socket.create_connection(where, timeout=10) as broken:
        slow.sendall(head)
        broken.sendall(head)
        until(lambda: client.get("/health").json()["accepted"] == 2)
        broken.close()
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
    until(lambda: client.get("/health").json()["accepted"] == 0)


@pytest.mark.parametrize(
    "garbage", [b"\0\xff\x16\x03\x01" * 9, b"POST /enhance\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"a" * 99_999]
)
def test_what_is_no_http_is_no_problem(client: httpx.Client, garbage: bytes) -> None:
    with socket.create_connection((client.base_url.host, client.base_url.port), timeout=10) as wire:
        wire.sendall(garbage)
        wire.shutdown(socket.SHUT_WR)
        assert wire.recv(4096)[:12] in (b"HTTP/1.1 400", b"")


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64"])
def test_damaged_files_are_answered_and_never_with_500(client: httpx.Client, kind: str) -> None:
    rng = np.random.default_rng(7)
    whole = bytearray(sound(0.2, format=kind))
    for _ in range(12):
        data = whole.copy()
        for place in rng.integers(0, 100, rng.integers(1, 6)):
            data[place] = rng.integers(256)
        answer = client.post("/enhance", content=bytes(data[: rng.integers(40, len(data) + 1)]), headers=WAV)
        assert answer.status_code in (200, 413, 415, 422), answer.text
    assert measured(client, "gense_accepted") == 0
