"""Servers for tests: real sockets on 127.0.0.1, small models, and one that works only when told to."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile
from torch import Tensor

from gense import Enhancer
from gense.representations import CompressedSTFT
from gense.serve.app import create_app
from gense.serve.limits import ServerLimits
from gense.serve.offer import Offer
from gense.serve.server import address, listen, serve
from tests.folders import noise_like_speech
from tests.tiny import Passthrough

WAV = {"Content-Type": "audio/wav"}


class Held(Passthrough):
    """Changes nothing, and works only while `go` is set; `began` holds the lengths of what it was given, in frames."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.began = threading.Event(), []

    def generate(self, cond: Any, *, sampling: Any = None, noise: Any = None, callback: Any = None) -> Tensor:
        self.began.append(cond["noisy_stft"].shape[-1])
        assert self.go.wait(60)
        return cond["noisy_stft"]


class Waiting(Passthrough):
    """Changes nothing, and works only once a file is there: for servers in other processes.

    Args:
        file: its path.
    """

    def __init__(self, file: str) -> None:
        super().__init__()
        self.file = Path(file)

    def generate(self, cond: Any, *, sampling: Any = None, noise: Any = None, callback: Any = None) -> Tensor:
        until(self.file.exists)
        return cond["noisy_stft"]


def held() -> tuple[Enhancer, Held]:
    """An enhancer with such a head, and the head."""
    head = Held()
    return Enhancer({"stft": CompressedSTFT(frames_multiple=1)}, head, sample_rate=16000).eval(), head


@contextmanager
def running(methods: dict[str, Enhancer], limits: ServerLimits) -> Iterator[httpx.Client]:
    """A server in a thread, and a client of it; stopped in the way that signals stop it."""
    app = create_app(Offer(methods, limits), limits)
    listener = listen("127.0.0.1", 0)
    thread = threading.Thread(target=serve, args=(app, listener), daemon=True)
    with httpx.Client(base_url=address(listener), timeout=60) as client:
        thread.start()
        try:
            yield client
        finally:
            app.state.gate.close()
            thread.join(60)
            assert not thread.is_alive(), "the server did not stop"


def sound(seconds: float = 0.5, rate: int = 16000, channels: int = 1, seed: int = 0, **settings: Any) -> bytes:
    """Bytes of a file of noise, 16-bit WAV unless the settings of `soundfile.write` say otherwise."""
    out = io.BytesIO()
    wav = noise_like_speech(round(seconds * rate), seed, channels)
    soundfile.write(out, wav.T, rate, **{"format": "WAV", **settings})
    return out.getvalue()


def samples(answer: httpx.Response | bytes) -> np.ndarray:
    """The samples (S, C) of an answer."""
    data = answer if isinstance(answer, bytes) else answer.content
    return soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)[0]


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.01)


def measured(client: httpx.Client, name: str) -> float:
    """The value of a line of /metrics: its name and labels as they stand there."""
    lines = client.get("/metrics").text.splitlines()
    (found,) = [line for line in lines if line.startswith(f"{name} ")]
    return float(found.rpartition(" ")[2])
