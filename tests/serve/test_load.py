"""Many requests at once: each is answered, some together, some with 429, and none is lost."""

from __future__ import annotations

import io
import socket
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import httpx
import numpy as np
import pytest
import soundfile

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from gense.serve.limits import ServerLimits
from tests.serve.running import WAV, held, measured, running, samples, sound, until
from tests.tiny import pointwise


def test_forty_at_once_over_a_queue_of_eight() -> None:
    """Each gets 200 with its own audio, or 429; with retries all get through; the counts agree with the server's."""
    bodies = [sound(0.3 + 0.01 * n, seed=n) for n in range(40)]
    statuses: Counter[int] = Counter()
    start = threading.Barrier(40)
    with running({"walk": pointwise()}, ServerLimits(batch=2, queue=8)) as client, ThreadPoolExecutor(40) as threads:

        def ask(number: int) -> httpx.Response:
            start.wait()
            for _ in range(500):
                answer = client.post(f"/enhance?seed={number}", content=bodies[number], headers=WAV)
                statuses[answer.status_code] += 1
                if answer.status_code != 429:
                    return answer
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["message"].startswith("all 10 places are taken")
                threading.Event().wait(0.1)
            raise AssertionError("never got in")

        answers = list(threads.map(ask, range(40)))
        assert statuses[200] == 40
        assert set(statuses) == {200, 429}
        for number, answer in enumerate(answers):
            wav, _ = soundfile.read(io.BytesIO(bodies[number]), dtype="float32")
            assert len(samples(answer)) == len(wav)
        # Each with its own seed and content, whatever its company: asked again alone, bit for bit the same
        for number in (0, 17, 39):
            again = client.post(f"/enhance?seed={number}", content=bodies[number], headers=WAV)
            assert again.content == answers[number].content
        assert measured(client, 'gense_requests_total{path="/enhance",status="200"}') == 43
        assert measured(client, 'gense_requests_total{path="/enhance",status="429"}') == statuses[429]
        assert measured(client, "gense_accepted") == 0


def asked(threads: ThreadPoolExecutor, client: httpx.Client, body: bytes, query: str = "") -> Future[httpx.Response]:
    return threads.submit(client.post, f"/enhance?{query}", content=body, headers=WAV)


def waiting(client: httpx.Client, working: int, count: int) -> None:
    """Wait until so many are worked on, and so many wait."""

    def so() -> bool:
        health = client.get("/health").json()
        return (health["working"], health["waiting"]) == (working, count)

    until(so)


def test_those_that_wait_go_together_and_a_bad_one_fails_alone() -> None:
    model, head = held()
    bad = io.BytesIO()
    soundfile.write(bad, np.full(8000, np.inf, np.float32), 16000, format="WAV", subtype="FLOAT")
    with running({"held": model}, ServerLimits(batch=4, queue=8)) as client, ThreadPoolExecutor(9) as threads:
        first = asked(threads, client, sound(0.2))
        waiting(client, 1, 0)
        others = [asked(threads, client, sound(0.3 + 0.1 * n, channels=2)) for n in range(4)]
        waiting(client, 1, 4)
        wrong = asked(threads, client, bad.getvalue())
        waiting(client, 1, 5)
        head.go.set()
        assert [first.result().status_code, wrong.result().status_code] == [200, 422]
        assert "8000 NaN or infinite" in wrong.result().json()["message"]
        for n, other in enumerate(others):
            wav, _ = soundfile.read(io.BytesIO(sound(0.3 + 0.1 * n, channels=2)), dtype="float32", always_2d=True)
            assert np.abs(samples(other.result()) - wav).max() < 2 / 32768
        assert measured(client, "gense_batch_requests_count") == 3  # 1, then the 4 that fit, then the last one
        assert measured(client, 'gense_batch_requests_bucket{le="1.0"}') == 2


def test_a_batch_holds_no_more_audio_than_it_may_and_one_setting() -> None:
    model, head = held()
    limits = ServerLimits(batch=8, queue=8, batch_seconds=1.0)
    with running({"held": model, "same": model}, limits) as client, ThreadPoolExecutor(9) as threads:
        answers = [asked(threads, client, sound(0.2))]
        waiting(client, 1, 0)
        for n, (seconds, query) in enumerate([(3.0, ""), (0.4, ""), (0.4, "method=same"), (0.4, "seed=5")]):
            answers.append(asked(threads, client, sound(seconds), query))
            waiting(client, 1, n + 1)
        head.go.set()
        assert [answer.result().status_code for answer in answers] == [200] * 5
        # 0.2 | 3.0 alone, as it is long | 0.4 with its like of another seed, past the one of another method | that one
        assert measured(client, "gense_batch_requests_count") == 4
        assert measured(client, "gense_batch_requests_sum") == 5


def test_the_work_of_a_client_that_has_left_is_not_done() -> None:
    model, head = held()
    with running({"held": model}, ServerLimits(batch=1, queue=8)) as client, ThreadPoolExecutor(2) as threads:
        first = asked(threads, client, sound(0.2))
        waiting(client, 1, 0)
        body = sound(0.7)
        with socket.create_connection((client.base_url.host, client.base_url.port)) as wire:
            wire.sendall(
                b"POST /enhance HTTP/1.1\r\nHost: x\r\nContent-Type: audio/wav\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
            )
            waiting(client, 1, 1)
        waiting(client, 1, 0)
        assert client.get("/health").json()["accepted"] == 1
        head.go.set()
        assert first.result().status_code == 200
        assert asked(threads, client, sound(0.3)).result().status_code == 200
        assert len(head.began) == 2
        assert measured(client, 'gense_requests_total{path="/enhance",status="499"}') == 1


def test_health_answers_while_work_is_done_and_full_is_said_before_a_body_is_read() -> None:
    model, head = held()
    with running({"held": model}, ServerLimits(batch=1, queue=1)) as client, ThreadPoolExecutor(2) as threads:
        answers = [asked(threads, client, sound()) for _ in range(2)]
        waiting(client, 1, 1)
        assert client.get("/health").json()["status"] == "ok"
        assert measured(client, "gense_queue_length") == 1
        assert client.post("/enhance", content=bytes(5_000_000), headers=WAV).status_code == 429
        head.go.set()
        assert [answer.result().status_code for answer in answers] == [200, 200]


def test_an_error_that_nobody_foresaw_is_500_without_its_words_and_the_server_goes_on() -> None:
    model, head = held()
    head.go.set()
    whole = model.enhance_many
    with running({"held": model}, ServerLimits()) as client:
        model.enhance_many = lambda *args, **settings: 1 / 0  # type: ignore[method-assign]
        answer = client.post("/enhance", content=sound(), headers=WAV)
        assert (answer.status_code, "division" in answer.text) == (500, False)
        model.enhance_many = whole  # type: ignore[method-assign]
        assert client.post("/enhance", content=sound(), headers=WAV).status_code == 200
