"""The demo page in a real browser, with a real file, served by the command in a process of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from tests.browser import watched
from tests.conftest import EXAMPLES

pytest.importorskip("gradio")
pytest.importorskip("matplotlib")

WAIT = 120_000  # milliseconds; a busy machine is slow
# What gradio's own page leaves in the log when all is well: it breaks off streams of events that it no longer needs,
# its player breaks off the copy that it draws the waveform from, and one of its modules warns of a missing method
HARMLESS = ("ERR_ABORTED", "Method not implemented.")
START = "import sys; from gense.cli import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running `gense demo`, which afterwards leaves nothing behind."""
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-c", START, "demo", "--port", str(port), "--methods", "flowse", "sgmse", "regression"]
    environment = {**os.environ, "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
    try:
        until = time.monotonic() + WAIT / 1000
        while f"http://127.0.0.1:{port}/" not in (folder / "log").read_text():
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until, "the page did not come up"
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/"
        assert server.poll() is None, (folder / "log").read_text()
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        assert "Traceback" not in (folder / "log").read_text()
        assert [path.name for path in folder.iterdir()] == ["log"]
    finally:
        server.kill()


# Seconds of the audio behind a player's download button, decoded by the browser, and the largest sample
DECODED = """async (link) => {
    const bytes = await (await fetch(link.href)).arrayBuffer();
    const audio = await new OfflineAudioContext(1, 1, 16000).decodeAudioData(bytes);
    return [audio.duration, audio.getChannelData(0).reduce((most, x) => Math.max(most, Math.abs(x)), 0)];
}"""


def test_a_file_is_enhanced_heard_and_seen(address: str, chromium, tmp_path: Path) -> None:
    page = chromium.new_page(viewport={"width": 1280, "height": 1150})
    page.set_default_timeout(WAIT)
    log = watched(page)
    page.goto(address)
    page.wait_for_function("document.title == 'gense'")

    page.set_input_files("#source input[type=file]", EXAMPLES / "noisy.wav")
    page.wait_for_selector("#source #duration:has-text('0:09')")
    page.click("#enhance")
    page.wait_for_selector("#enhanced #duration:has-text('0:09')")
    page.wait_for_selector("#picture img")
    page.wait_for_function("document.querySelector('#picture img').naturalWidth > 500")
    seconds, loudest = page.eval_on_selector("#enhanced a[download]", DECODED)
    assert seconds == pytest.approx(9.0, abs=1e-3)
    assert loudest > 0.01
    status = page.inner_text("#status")
    assert re.fullmatch(
        r"flowse/fast, euler, uniform, 1 step, seed 0: 2 network calls, [\d.]+ s of work for 9\.00 s of audio, "
        r"real-time factor [\d.]+ on \w+", status.strip(),
    )  # fmt: skip

    page.click("#enhanced .play-pause-button")
    page.wait_for_selector("#enhanced #time:has-text('0:01')")
    page.click("#enhanced .play-pause-button")
    page.screenshot(path=tmp_path / "demo.png", full_page=True)
    assert log.beyond(*HARMLESS) == []
    assert log.hosts == set()
    page.close()


def test_controls_follow_the_method_and_errors_are_shown(address: str, chromium, tmp_path: Path) -> None:
    page = chromium.new_page()
    page.set_default_timeout(WAIT)
    log = watched(page)
    page.goto(address)
    page.click("#enhance")
    page.wait_for_selector("[data-testid=toast-text]:has-text('There is no recording yet')")
    page.click("[data-testid=toast-close]")

    page.click("#method input")
    page.get_by_role("option", name="regression/compact").click()
    page.wait_for_selector("#steps input:disabled")
    page.wait_for_selector("#sampler input:disabled")
    page.click("#method input")
    page.get_by_role("option", name="sgmse/compact").click()
    page.wait_for_selector("#sampler input:enabled")
    page.click("#sampler input")
    offered = page.get_by_role("option").all_inner_texts()
    assert any("default (exponential)" in option for option in offered)
    assert not any("average" in option or "bridge_ode" in option for option in offered)
    page.get_by_role("option", name="predictor_corrector").click()
    page.fill("#steps input", "2")
    page.click("#example")
    page.wait_for_selector("#source #duration:has-text('0:09')")
    page.click("#source button[aria-label=Clear]")
    short = tmp_path / "short.wav"
    soundfile.write(short, soundfile.read(EXAMPLES / "noisy.wav")[0][:16000], 16000)
    page.set_input_files("#source input[type=file]", short)
    page.wait_for_selector("#source #duration:has-text('0:01')")
    page.click("#enhance")
    page.wait_for_selector(
        "#status:has-text('sgmse/compact, predictor_corrector, uniform, 2 steps, seed 0: 4 network calls')"
    )

    # Another recording takes the result of the first one away
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    page.click("#source button[aria-label=Clear]")
    page.set_input_files("#source input[type=file]", broken)
    page.wait_for_selector("#picture", state="hidden")
    page.click("#enhance")
    page.wait_for_selector("[data-testid=toast-text]:has-text('broken.wav: cannot be read as audio')")
    assert log.beyond(*HARMLESS, "Waveform load error: MediaError") == []  # of the broken file
    page.close()


def test_the_microphone_is_a_source(address: str, chromium) -> None:
    """Chromium's own test tone in place of a microphone."""
    context = chromium.new_context(permissions=["microphone"])
    page = context.new_page()
    page.set_default_timeout(WAIT)
    page.goto(address)
    page.click("#source button[aria-label='Record audio']")
    page.click("#source .record-button")
    page.wait_for_timeout(1500)
    page.click("#source .stop-button")
    page.wait_for_selector("#source #duration")
    page.click("#enhance")
    page.wait_for_selector("#picture img")
    seconds, loudest = page.eval_on_selector("#enhanced a[download]", DECODED)
    assert 0.5 < seconds < 60
    assert loudest > 0
    context.close()
