"""Checks of files: in `enhance`, `enhance_files` and on the command line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import gense
from gense import cli
from gense.check import Checks
from tests.folders import noise_like_speech, write_model
from tests.tiny import passthrough, pointwise


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checked") / "in"
    folder.mkdir()
    soundfile.write(folder / "a.wav", noise_like_speech(24000), 16000, subtype="FLOAT")
    soundfile.write(folder / "b.wav", np.zeros(16000, np.float32), 16000, subtype="FLOAT")
    return folder


def test_a_file_can_be_checked(files: Path, tmp_path: Path) -> None:
    out = gense.enhance(files / "a.wav", pointwise(), output=tmp_path / "a.wav", check=True)
    assert out.audio == tmp_path / "a.wav"
    assert out.flags
    assert out.samples is None
    expected = gense.check.check(soundfile.read(tmp_path / "a.wav")[0], soundfile.read(files / "a.wav")[0], 16000)
    assert [(flag.kind, round(flag.start, 2)) for flag in out.flags] == [
        (flag.kind, round(flag.start, 2)) for flag in expected
    ]


def test_flags_and_none_are_told_apart() -> None:
    wav = noise_like_speech(16000)
    assert gense.enhance(wav, passthrough(), check=True).flags == []
    assert isinstance(gense.enhance(wav, passthrough(), check=False), np.ndarray)
    assert gense.enhance(wav, pointwise(), samples=2).flags is None


def test_chosen_checks_are_the_ones_made() -> None:
    wav = noise_like_speech(24000)
    assert {flag.kind for flag in gense.enhance(wav, pointwise(), check=True).flags} == {"silence"}
    chosen = gense.enhance(wav, pointwise(), check=Checks(silence=False, lost=False)).flags
    assert all(flag.kind == "added" for flag in chosen)


@pytest.mark.parametrize("check", ["yes", 1, None, Checks])
def test_what_is_no_choice_of_checks_is_refused(check: object) -> None:
    with pytest.raises(TypeError, match=r"expected True, False or gense.check.Checks"):
        gense.enhance(noise_like_speech(4000), passthrough(), check=check)  # type: ignore[call-overload]


def test_a_report_names_the_flagged_files(files: Path, tmp_path: Path) -> None:
    report = gense.enhance_files([files], tmp_path, method=pointwise(), check=True)
    assert len(report.done) == 2
    assert list(report.flagged) == [tmp_path / "a.wav"]
    assert gense.enhance_files([files], tmp_path, method=pointwise()).flagged == {}


def test_the_command_prints_flags(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "model")
    given = ["enhance", str(files), "-o", str(tmp_path / "out"), "--method", str(model)]
    assert cli.main([*given, "--check"]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [str(tmp_path / "out" / name) for name in ("a.wav", "b.wav")]
    lines = [line for line in printed.err.splitlines() if " s: " in line]
    assert lines
    assert all(line.startswith(str(tmp_path / "out" / "a.wav")) for line in lines)
    assert cli.main(given) == 0
    assert " s: " not in capsys.readouterr().err
