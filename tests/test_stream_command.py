"""`gense stream` in real pipes of a shell."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gense
from gense.cli import main
from tests.folders import noise_like_speech, write_model

CODE = "import sys; from gense.cli import main; sys.exit(main())"
GENSE = f"{sys.executable} -c '{CODE}'"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("stream") / "model")


def shell(line: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", line], cwd=folder, capture_output=True, timeout=120)


@pytest.mark.parametrize(("kind", "code"), [("s16le", "<i2"), ("f32le", "<f4")])
def test_pcm_goes_through_a_pipe(tmp_path: Path, model: Path, kind: str, code: str) -> None:
    """Written in pieces that are no whole samples; equal to the API."""
    wav = noise_like_speech(3 * 22050, channels=2)
    pcm = (np.round(wav.T * 32767) if code == "<i2" else wav.T).astype(code, order="C")
    (tmp_path / "in.raw").write_bytes(pcm.tobytes())
    settings = f"--method {model} --rate 22050 --channels 2 --format {kind} --scale 0.5 --seed 4 --device cpu"
    line = f"(head -c 1001; sleep 0.1; cat) < in.raw | {GENSE} stream {settings} | cat > out.raw"
    done = shell(f"set -o pipefail; {line}", tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    out = np.frombuffer((tmp_path / "out.raw").read_bytes(), code).reshape(-1, 2).T
    assert out.shape == wav.shape
    stream = gense.load(model, device="cpu").stream(22050, channels=2, scale=0.5, seed=4)
    given = pcm.T.astype(np.float32) / (32768 if code == "<i2" else 1)
    expected = np.concatenate(list(stream.over([given])), axis=1)
    if code == "<i2":
        expected = np.clip(np.round(expected * 32768), -32768, 32767)
    assert np.array_equal(out, expected.astype(code))


def test_a_reader_that_goes_away_ends_it_without_a_word(tmp_path: Path, model: Path) -> None:
    line = f"{GENSE} stream --method {model} --rate 16000 --chunk 0.5 --device cpu < /dev/zero | head -c 100 | wc -c"
    done = shell(f"{line}; echo ${{PIPESTATUS[@]}}", tmp_path)
    assert done.stdout.split() == [b"100", b"0", b"0", b"0"]
    assert done.stderr == b""


def test_an_interrupt_ends_the_input_and_what_came_is_written(tmp_path: Path, model: Path) -> None:
    command = [sys.executable, "-c", CODE, "stream", "--method", str(model), "--rate", "16000", "--device", "cpu"]
    (tmp_path / "out.raw").touch()
    with (
        (tmp_path / "out.raw").open("wb") as out,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.PIPE) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(bytes(2 * 40000))
        process.stdin.flush()
        deadline = time.monotonic() + 60
        while os.path.getsize(tmp_path / "out.raw") == 0 and time.monotonic() < deadline:  # the first chunk
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (130, b"")
    # The first chunk gives 1.5 s, 48000 bytes; it needs a sample more than 64000, and what was read of the rest follows
    assert 64002 <= os.path.getsize(tmp_path / "out.raw") <= 80000


@pytest.mark.parametrize(
    ("given", "settings", "status", "message"),
    [
        (b"RIFFxxxxWAVE", [], 1, "standard input is an audio file, not raw PCM: decode it first"),
        (b"xxxxx", [], 0, "the input ended inside a sample; 1 bytes are left out"),
        (b"", ["--rate", "16"], 1, "sample_rate=16: expected whole Hz"),
        (b"", ["--format", "mp3"], 2, "see gense stream --help"),
        (b"", ["--overlap", "5"], 1, "overlap=5.0"),
        (b"", ["--steps", "0"], 1, "steps=0: need a whole number"),
        (np.array([0.1, np.nan], "<f4").tobytes(), ["--format", "f32le"], 1, "block holds 1 NaN or infinite samples"),
        (b"", [], 0, ""),
    ],
)
def test_what_is_wrong_is_said_in_a_line(
    model: Path, monkeypatch: pytest.MonkeyPatch, given: bytes, settings: list[str], status: int, message: str
) -> None:
    errors, output = io.StringIO(), io.BytesIO()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(given)))
    monkeypatch.setattr("sys.stdout", SimpleNamespace(buffer=output))
    monkeypatch.setattr("sys.stderr", errors)
    assert main(["stream", "--method", str(model), "--device", "cpu", "--rate", "16000", *settings]) == status
    assert message in errors.getvalue()
    assert len(errors.getvalue().splitlines()) == bool(message)
    assert len(output.getvalue()) == (4 if given == b"xxxxx" else 0)
