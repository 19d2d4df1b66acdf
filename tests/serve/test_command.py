"""`gense serve` in a process of its own: it starts, stops in order, and says what is wrong with its flags."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("prometheus_client")

from gense.checkpoints.build import build
from gense.checkpoints.folder import write_folder
from gense.cli import main
from gense.serve.command import serve_parser
from gense.serve.limits import ServerLimits
from gense.serve.offer import Offer
from gense.serve.server import address, listen, loopback
from tests.folders import config, write_model
from tests.serve.running import WAV, sound, until

ROOT = Path(__file__).parents[2]
START = "import sys; from gense.cli import main; sys.exit(main(sys.argv[1:]))"


@contextmanager
def command(*flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `gense serve`, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-c", START, "serve", "--port", "0", *flags], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    timer = threading.Timer(120, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.fullmatch(r"gense serve: (http://127\.0\.0\.1:\d+) \(Ctrl-C stops it\)\n", line)
        assert found, line + process.communicate()[1]
        yield process, found[1]
    finally:
        timer.cancel()
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("serve") / "tiny"))


@pytest.fixture
def waiting(tmp_path: Path) -> str:
    """The folder of a model that works only once there is a file `go` beside it."""
    settings = config()
    settings["init_args"]["head"] = {
        "class_path": "tests.serve.running.Waiting", "init_args": {"file": str(tmp_path / "go")},
    }  # fmt: skip
    return str(write_folder(tmp_path / "waiting", settings, build(settings, trust=True).state_dict()))


def test_a_signal_finishes_accepted_work_and_refuses_new_work(waiting: str, tmp_path: Path) -> None:
    """Three are inside when it comes: all get their audio. Meanwhile others get 503; then it ends, with status 0."""
    flags = ("--method", waiting, "--trust", "--batch", "1")
    with command(*flags) as (process, url), ThreadPoolExecutor(3) as threads, httpx.Client(base_url=url) as client:
        post = partial(httpx.post, f"{url}/enhance", content=sound(), headers=WAV, timeout=60)
        answers = [threads.submit(post) for _ in range(3)]
        until(lambda: client.get("/health").json()["accepted"] == 3)
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/health").status_code == 503)
        assert client.get("/health").json()["status"] == "stopping"
        late = post()
        assert (late.status_code, late.headers["retry-after"]) == (503, "10")
        assert "stopping" in late.json()["message"]
        assert not any(answer.done() for answer in answers)
        (tmp_path / "go").touch()
        assert [answer.result().status_code for answer in answers] == [200] * 3
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        assert "Traceback" not in errors
        assert "accepted work is finished first" in errors


def test_a_second_signal_ends_it_at_once(waiting: str) -> None:
    with command("--method", waiting, "--trust") as (process, url), httpx.Client(base_url=url) as client:
        threading.Thread(target=quietly_ask, args=(f"{url}/enhance",), daemon=True).start()
        until(lambda: client.get("/health").json()["working"] == 1)
        process.send_signal(signal.SIGINT)
        until(lambda: client.get("/health").status_code == 503)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 128 + signal.SIGINT


def quietly_ask(url: str) -> None:
    try:
        httpx.post(url, content=sound(), headers=WAV, timeout=60)
    except httpx.HTTPError:
        return


def test_it_listens_on_this_machine_only_unless_told_otherwise() -> None:
    settings = serve_parser().parse_args([])
    assert (settings.host, settings.method) == ("127.0.0.1", ["flowse"])
    for host, own in (("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False)):
        with listen(host, 0) as listener:
            assert loopback(listener) == own
            assert re.fullmatch(r"http://[\d.:\[\]]+:\d+", address(listener))


def test_every_limit_is_a_flag_with_its_default() -> None:
    settings = serve_parser().parse_args(["--max-bytes", "7", "--max_steps", "3"])
    assert (settings.max_bytes, settings.max_steps, settings.batch) == (7, 3, None)
    for name, default in vars(ServerLimits()).items():
        assert getattr(settings, name) == default or name in ("max_bytes", "max_steps", "batch")


def test_wrong_flags_are_told(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        for flags, words in (
            (["--port", port], f"cannot listen on 127.0.0.1, port {port}"),
            (["--port", "70000"], "expected 0 to 65535"),
            (["--host", "192.0.2.1"], "cannot listen on 192.0.2.1"),
            (["--max-bytes", "0"], "max_bytes=0: expected a number above 0"),
            (["--queue", "-1"], "queue=-1: expected a number of at least 0"),
            (["--min-rate", "9", "--max-rate", "8"], "min_rate=9 lies above max_rate=8"),
            (["--log", "loud"], "log='loud': expected debug"),
            (["--port", "0", "--method", "flowsy"], "nearest: 'flowse'"),
            (["--port", "0", "--method", model, model], "two methods are called 'tiny'"),
        ):
            assert main(["serve", *flags]) == 1
            assert words in capsys.readouterr().err


def test_without_the_packages_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("gense.serve.")] + ["fastapi"]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main(["serve", "--port", "0"]) == 1
    assert "fastapi is not installed: pip install gense[serve]" in capsys.readouterr().err


def test_a_folder_is_offered_under_its_name_and_not_its_path(model: str) -> None:
    offer = Offer.load([model, "flowse"], ServerLimits(), device="cpu")
    assert [one["name"] for one in offer.described()] == ["tiny", "flowse"]
    assert str(Path(model).parent) not in str(offer.described())
    with pytest.raises(ValueError, match="no methods"):
        Offer({}, ServerLimits())
