"""What goes in and what comes out: the same as from the library, in every format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

import gense

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from gense.serve.limits import ServerLimits
from tests.serve.running import WAV, measured, running, samples, sound
from tests.tiny import passthrough, pointwise, tiny_flow

FORMATS = {
    "wav": {"format": "WAV", "subtype": "PCM_24"},
    "flac": {"format": "FLAC"},
    "ogg": {"format": "OGG", "subtype": "VORBIS"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "mp3": {"format": "MP3"},
    "aiff": {"format": "AIFF"},
    "w64": {"format": "W64", "subtype": "FLOAT"},
    "caf": {"format": "CAF"},
    "au": {"format": "AU"},
}
MODELS = {"flow": tiny_flow(), "walk": pointwise(), "plain": passthrough()}


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with running(MODELS, ServerLimits(max_steps=8, wait=0.0)) as client:
        yield client


def by_the_library(folder: Path, data: bytes, suffix: str, **options) -> np.ndarray:
    """The samples that `gense.enhance` writes for these bytes."""
    path = folder / f"in.{suffix}"
    path.write_bytes(data)
    return soundfile.read(gense.enhance(path, **options), dtype="float32", always_2d=True)[0]


@pytest.mark.parametrize("name", FORMATS)
def test_the_answer_is_what_the_library_makes_of_the_file(client: httpx.Client, tmp_path: Path, name: str) -> None:
    """Bit for bit, in the same format, rate, channels and kind of samples; also where the rate is not the method's."""
    data = sound(0.5, rate=24000, channels=2, **FORMATS[name])
    answer = client.post("/enhance?seed=3", content=data, headers={"Content-Type": "application/octet-stream"})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("audio/")
    (tmp_path / f"answer.{name}").write_bytes(answer.content)
    sent, got = tmp_path / f"in.{name}", tmp_path / f"answer.{name}"
    expected = by_the_library(tmp_path, data, name, method=MODELS["flow"], seed=3)
    assert np.array_equal(samples(answer), expected)
    fields = ("format", "subtype", "samplerate", "channels")
    assert [getattr(soundfile.info(got), f) for f in fields] == [getattr(soundfile.info(sent), f) for f in fields]


@pytest.mark.parametrize("name", FORMATS)
def test_the_answer_comes_in_the_format_that_is_asked_for(client: httpx.Client, name: str) -> None:
    answer = client.post(f"/enhance?method=plain&format={name}", content=sound(rate=48000), headers=WAV)
    assert answer.status_code == 200, answer.text
    again = client.post("/enhance?method=plain&format=wav", content=answer.content, headers=WAV)
    assert soundfile_kind(answer.content) == (FORMATS[name]["format"], "OPUS" if name == "opus" else None)
    assert len(samples(again)) == pytest.approx(24000, abs=3000)  # MP3 adds silence at its ends


def soundfile_kind(data: bytes) -> tuple[str, str | None]:
    import io

    info = soundfile.info(io.BytesIO(data))
    return info.format, "OPUS" if info.subtype == "OPUS" else None


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("method=flow", {"method": MODELS["flow"]}),
        ("method=flow&steps=1", {"method": MODELS["flow"], "steps": 1}),
        ("sampler=heun&schedule=cosine", {"method": MODELS["flow"], "sampler": "heun", "schedule": "cosine"}),
        ("method=walk&churn=0.5", {"method": MODELS["walk"], "churn": 0.5}),
        ("method=walk&seed=18446744073709551615", {"method": MODELS["walk"], "seed": 2**64 - 1}),
        ("method=plain", {"method": MODELS["plain"]}),
    ],
)
def test_settings_do_what_they_do_in_the_library(
    client: httpx.Client, tmp_path: Path, query: str, options: dict
) -> None:
    data = sound()
    answer = client.post(f"/enhance?{query}", content=data, headers=WAV)
    assert answer.status_code == 200, answer.text
    assert np.array_equal(samples(answer), by_the_library(tmp_path, data, "wav", **options))
    assert float(answer.headers["server-timing"].removeprefix("batch;dur=")) >= 0


def test_what_can_be_chosen_is_listed_and_works(client: httpx.Client) -> None:
    listed = {one["name"]: one for one in client.get("/methods").json()}
    assert list(listed) == list(MODELS)
    assert [one["default"] for one in listed.values()] == [True, False, False]
    assert listed["plain"]["deterministic"]
    assert "samplers" not in listed["plain"]
    walk = listed["walk"]
    assert (walk["sample_rate"], walk["steps"], walk["max_steps"], walk["sampler"]) == (16000, 3, 8, "euler_maruyama")
    assert {"euler", "heun", "predictor_corrector"} <= set(walk["samplers"])
    assert "odeint" not in walk["samplers"]  # its work is not bounded by its steps
    assert "average" not in walk["samplers"]  # it needs a network of another kind
    for key in ("sampler", "schedule"):
        for name in walk[f"{key}s"]:
            answer = client.post(f"/enhance?method=walk&{key}={name}&steps=2", content=sound(), headers=WAV)
            assert answer.status_code == 200, answer.text


def test_health_and_metrics_tell_what_happened() -> None:
    with running({"plain": passthrough()}, ServerLimits(batch=3, queue=4)) as client:
        health = client.get("/health")
        assert (health.status_code, health.json()["status"], health.json()["places"]) == (200, "ok", 7)
        assert client.post("/enhance", content=sound(2.0), headers=WAV).status_code == 200
        assert client.post("/enhance", content=b"", headers=WAV).status_code == 400
        assert client.get("/secret/path").status_code == 404
        assert measured(client, 'gense_requests_total{path="/enhance",status="200"}') == 1
        assert measured(client, 'gense_requests_total{path="/enhance",status="400"}') == 1
        assert measured(client, 'gense_requests_total{path="other",status="404"}') == 1
        assert measured(client, 'gense_audio_seconds_total{method="plain"}') == 2.0
        assert measured(client, "gense_request_seconds_count") == 1
        assert measured(client, "gense_batch_requests_sum") == 1
        work = measured(client, 'gense_work_seconds_total{method="plain"}')
        assert measured(client, "gense_real_time_factor_sum") == pytest.approx(work / 2.0)
        assert measured(client, "gense_queue_length") == measured(client, "gense_working") == 0
        assert measured(client, "gense_accepted") == 0


def test_the_interface_describes_itself_without_fetching_anything(client: httpx.Client) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert set(described) == {"/enhance", "/methods", "/health", "/metrics"}
    assert {"200", "413", "415", "422", "429", "503"} <= set(described["/enhance"]["post"]["responses"])
    assert client.get("/docs").status_code == 404
