"""Bad input to `gense.enhance`: one clear line (what came, what is expected, what to do), and nothing written.

The command line's side is in test_cli; configurations, checkpoints and the network are in checkpoints/test_build,
test_load, test_pickled and test_fetch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

import gense
from gense import Enhancer
from tests.folders import noise_like_speech, write_model
from tests.tiny import passthrough, tiny_flow


@pytest.fixture(scope="module")
def flow() -> Enhancer:
    return tiny_flow()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with good and bad files."""
    monkeypatch.chdir(tmp_path)
    wav = noise_like_speech(8000)
    soundfile.write("good.wav", wav, 16000)
    soundfile.write("good.flac", wav, 16000)
    soundfile.write("zero.wav", wav[:0], 16000)
    broken = wav.copy()
    broken[[10, 20]] = np.nan, np.inf
    soundfile.write("nan.wav", broken, 16000, subtype="FLOAT")
    Path("cut.wav").write_bytes(Path("good.wav").read_bytes()[:9000])
    Path("cut.flac").write_bytes(Path("good.flac").read_bytes()[:5000])
    Path("empty.wav").write_bytes(b"")
    Path("text.wav").write_text("this is no audio")
    Path("header.wav").write_bytes(Path("good.wav").read_bytes()[:44])
    Path("folder").mkdir()
    return tmp_path


def refused(attempt: Callable[[], Any], error: type[Exception], *parts: str) -> str:
    """Assert that the attempt fails with one line that holds all parts, and changes no file."""
    before = {p: p.read_bytes() if p.is_file() else None for p in Path.cwd().rglob("*")}
    with pytest.raises(error) as raised:
        attempt()
    message = str(raised.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert {p: p.read_bytes() if p.is_file() else None for p in Path.cwd().rglob("*")} == before
    return message


@pytest.mark.parametrize("output", [None, "out.wav"])
@pytest.mark.parametrize(
    ("name", "error", "parts"),
    [
        ("missing.wav", FileNotFoundError, ["missing.wav: no such file"]),
        ("no/missing.wav", FileNotFoundError, ["no/missing.wav: no such file"]),
        ("empty.wav", ValueError, ["empty.wav: the file is empty (0 bytes)"]),
        ("zero.wav", ValueError, ["zero.wav: the file holds no samples"]),
        ("cut.wav", ValueError, ["cut.wav: cut off, its end is missing after 0.28 s", "get a whole copy"]),
        ("cut.flac", ValueError, ["cut.flac: cannot be read as audio", "is it cut off"]),
        ("text.wav", ValueError, ["text.wav: cannot be read as audio (Format not recognised)", "another kind of file"]),
        ("header.wav", ValueError, ["header.wav: c"]),
        ("nan.wav", ValueError, ["nan.wav holds 2 NaN or infinite samples of 8000: repair or cut them first"]),
        ("folder", ValueError, ["folder is a folder: give audio files, or use the command line"]),
    ],
)
def test_bad_files(folder: Path, flow: Enhancer, name: str, error: type, parts: list[str], output: str | None) -> None:
    refused(lambda: gense.enhance(name, flow, output=output), error, *parts)


def test_bad_files_are_told_before_the_model_is_loaded(folder: Path) -> None:
    refused(lambda: gense.enhance("empty.wav", "no such method"), ValueError, "empty.wav: the file is empty")


@pytest.mark.parametrize(
    ("audio", "error", "parts"),
    [
        (np.zeros(0, np.float32), ValueError, ["audio has shape (0,): there are no samples"]),
        (np.zeros((2, 0), np.float32), ValueError, ["shape (2, 0)", "no samples"]),
        (np.zeros(()), ValueError, ["shape (): expected (time,), (channels, time) or (batch, channels"]),
        (np.zeros((1, 1, 1, 9), np.float32), ValueError, ["shape (1, 1, 1, 9): expected (time,)"]),
        (np.zeros((5000, 2), np.float32), ValueError, ["shape (5000, 2): time is the last axis", "transpose"]),
        (np.array([0.0, np.nan], np.float32), ValueError, ["1 NaN or infinite samples of 2", "repair or cut"]),
        (np.array([0.0, 1e300]), ValueError, ["1 NaN or infinite samples of 2"]),
        (torch.tensor([torch.inf, 0.0]), ValueError, ["1 NaN or infinite samples"]),
        (torch.tensor([torch.nan], dtype=torch.bfloat16), ValueError, ["1 NaN or infinite samples"]),
        ([0.0, 1.0], TypeError, ["audio is a list: expected a path, a NumPy array or a tensor"]),
        (None, TypeError, ["audio is a NoneType: expected a path"]),
        (b"good.wav", TypeError, ["audio is a bytes: expected a path"]),
        (np.zeros(9, bool), TypeError, ["audio holds bool: expected floating point or integer samples"]),
        (np.zeros(9, complex), TypeError, ["audio holds complex128"]),
        (np.array(["a"]), TypeError, ["expected floating point or integer samples"]),
        (torch.zeros(9, dtype=torch.complex64), TypeError, ["audio holds complex64"]),
    ],
)
def test_bad_arrays(folder: Path, flow: Enhancer, audio: Any, error: type, parts: list[str]) -> None:
    refused(lambda: gense.enhance(audio, flow, output="out.wav"), error, *parts)


@pytest.mark.parametrize(
    ("settings", "error", "parts"),
    [
        ({"steps": 0}, ValueError, ["steps=0: need a whole number, at least 1"]),
        ({"steps": -1}, ValueError, ["steps=-1: need a whole number, at least 1"]),
        ({"steps": 1.5}, ValueError, ["steps=1.5: need a whole number, at least 1"]),
        ({"steps": "many"}, ValueError, ["steps='many': need a whole number, at least 1"]),
        ({"steps": True}, ValueError, ["steps=True: need a whole number"]),
        ({"seed": -1}, ValueError, ["seed=-1: need a whole number, at least 0"]),
        ({"seed": 2**64}, ValueError, ["need a whole number", "below 2^64"]),
        ({"seed": 1.0}, ValueError, ["seed=1.0: need a whole number"]),
        ({"seed": None}, ValueError, ["seed=None: need a whole number"]),
        ({"sampler": "huen"}, ValueError, ["'huen' is none of ", "euler, ", "nearest: 'heun'"]),
        ({"sampler": "no.such"}, ValueError, ["'no.such' cannot be imported"]),
        ({"schedule": "unifrom"}, ValueError, ["'unifrom' is none of ", "nearest: 'uniform'"]),
        ({"snr": 0.5}, ValueError, ["unexpected option 'snr': sampler euler takes none; schedule uniform takes start"]),
        ({"sampler": "heun", "ste": 1}, ValueError, ["unexpected option 'ste': sampler heun takes none"]),
        ({"sampler": "predictor_corrector", "nosie": 1}, ValueError, ["unexpected option 'nosie'", "takes snr, "]),
        ({"sampler": "euler_maruyama", "noise": 1}, ValueError, ["unexpected option 'noise'"]),
        ({"callback": print}, ValueError, ["unexpected option 'callback'"]),
        ({"end": 1.0}, ValueError, ["start=1.0, end=1.0: need two different finite times"]),
        ({"text": "hello"}, ValueError, ["text: this method reads no transcript; leave it out"]),
        ({"sample_rate": 0}, ValueError, ["sample_rate=0: expected whole Hz between 1000 and 768000"]),
        ({"sample_rate": -16000}, ValueError, ["sample_rate=-16000: expected whole Hz"]),
        ({"sample_rate": 44100.0}, ValueError, ["sample_rate=44100.0: expected whole Hz"]),
        ({"sample_rate": 16}, ValueError, ["sample_rate=16: expected whole Hz between"]),
        ({"device": "quantum"}, ValueError, ["device='quantum' cannot be used"]),
        ({"device": "cuda:99"}, ValueError, ["device='cuda:99' cannot be used"]),
    ],
)
def test_impossible_settings(folder: Path, flow: Enhancer, settings: dict, error: type, parts: list[str]) -> None:
    wav = noise_like_speech(3000)
    refused(lambda: gense.enhance(wav, flow, output="out.wav", **settings), error, *parts)


def test_a_deterministic_method_takes_no_sampling(folder: Path) -> None:
    for settings in ({"steps": 3}, {"sampler": "euler"}, {"schedule": "uniform"}, {"snr": 1}):
        refused(
            lambda settings=settings: gense.enhance(noise_like_speech(3000), passthrough(), **settings),
            ValueError, "this method is deterministic: it takes no steps, sampler, schedule or options",
        )  # fmt: skip


def test_a_file_s_rate_is_not_for_the_caller_to_say(folder: Path, flow: Enhancer) -> None:
    refused(
        lambda: gense.enhance("good.wav", flow, sample_rate=16000),
        ValueError, "sample_rate=16000: files know their rate; leave it out",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("output", "error", "parts"),
    [
        ("good.wav", ValueError, ["output good.wav is the input itself: give another name"]),
        ("./folder/../good.wav", ValueError, ["is the input itself"]),
        ("no/out.wav", FileNotFoundError, ["no: no such folder to write out.wav into"]),
        ("text.wav/out.wav", FileNotFoundError, ["text.wav: no such folder"]),
        ("folder", ValueError, ["folder: unknown audio format ''; use .wav"]),
        ("out.m4a", ValueError, ["out.m4a: unknown audio format '.m4a'; use .wav, .flac, .ogg or .mp3"]),
    ],
)
def test_outputs_that_cannot_be_written_are_told_before_any_work(
    folder: Path, output: str, error: type, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def worked(*args: object, **settings: object) -> None:
        raise AssertionError("the model has run")

    model = tiny_flow()
    monkeypatch.setattr(model, "enhance", worked)
    refused(lambda: gense.enhance("good.wav", model, output=output), error, *parts)


def test_a_folder_without_permission_is_told(folder: Path, flow: Enhancer, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked of the system, because the tests may run as a user who may write anywhere
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "folder")
    refused(
        lambda: gense.enhance("good.wav", flow, output="folder/out.wav"),
        PermissionError, "folder/out.wav: the folder cannot be written",
    )  # fmt: skip
    with pytest.raises(PermissionError, match="output folder/new: folder cannot be written; give another folder"):
        gense.enhance_files(["good.wav"], "folder/new", method=flow)
    assert not Path("folder/new").exists()


def test_a_batch_does_not_go_into_one_file(folder: Path, flow: Enhancer) -> None:
    refused(
        lambda: gense.enhance(np.zeros((2, 1, 500), np.float32), flow, output="out.wav"),
        ValueError, "output out.wav: a batch of 2 does not fit into one file; call once per item",
    )  # fmt: skip


def test_a_failure_in_the_middle_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_flow()

    def fail(*args: object, **settings: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(model.head, "generate", fail)
    refused(lambda: gense.enhance("good.wav", model, output="out.wav"), RuntimeError, "out of memory")


@pytest.mark.parametrize("name", ["flowze", "flowse ", "Flowse"])
def test_unknown_methods_get_the_nearest_name(folder: Path, name: str) -> None:
    refused(
        lambda: gense.enhance("good.wav", name), ValueError, f"method {name!r} unknown; nearest: 'flowse'",
        "gense.methods() lists all",
    )  # fmt: skip


def test_a_model_that_yields_nonsense_is_not_written(folder: Path, tmp_path: Path) -> None:
    """NaN in the weights of a model: the caller is told, and no file of NaN appears."""
    model = gense.load(write_model(tmp_path / "model"), device="cpu")
    with torch.no_grad():
        next(model.head.parameters()).fill_(torch.nan)
    refused(lambda: gense.enhance("good.wav", model, output="out.wav"), ValueError, "the result holds NaN: sampling")
