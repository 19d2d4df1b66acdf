"""`gense data check` finds what is wrong, and nothing in good files; training refuses broken ones at its start."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.cli import main
from gense.data.check import check, check_before_training, clipped_share
from gense.data.sources import recordings

RATE = 16000


@pytest.fixture(scope="module")
def good(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("good")
    for index in range(3):
        soundfile.write(root / f"{index}.wav", clip.clean[(index + 1) * RATE : (index + 2) * RATE], RATE)
    return root


@pytest.fixture(scope="module")
def bad(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("bad")
    wav = clip.clean[RATE : 2 * RATE]
    soundfile.write(root / "0-fine.wav", wav, RATE)
    soundfile.write(root / "1-again.flac", wav, RATE)
    soundfile.write(root / "2-clipped.wav", np.clip(20 * wav, -0.5, 0.5), RATE)
    soundfile.write(root / "3-silent.wav", 1e-4 * wav, RATE, subtype="FLOAT")
    soundfile.write(root / "4-silent.wav", np.zeros(RATE), RATE)
    soundfile.write(root / "5-zeros.wav", np.zeros(RATE), RATE)
    soundfile.write(root / "6-short.wav", wav[:400], RATE)
    soundfile.write(root / "7-rate.wav", wav[1000::2], RATE // 2)
    soundfile.write(root / "8-nan.wav", np.where(np.arange(RATE) == 7, np.nan, wav), RATE, subtype="FLOAT")
    (root / "9-broken.wav").write_bytes(b"RIFF....WAVE")
    return root


def test_every_kind_of_fault_is_found_and_no_other(bad) -> None:
    found = check(recordings(str(bad)), sample_rate=RATE)
    said = [(Path(finding.name).name, finding.kind) for finding in found.findings]
    assert said == [
        ("1-again.flac", "duplicate"), ("2-clipped.wav", "clipped"), ("3-silent.wav", "silent"),
        ("4-silent.wav", "silent"), ("5-zeros.wav", "silent"), ("6-short.wav", "short"), ("7-rate.wav", "rate"),
        ("8-nan.wav", "broken"), ("9-broken.wav", "broken"),
    ]  # fmt: skip
    assert found.files == 10
    assert [finding.kind for finding in found.broken] == ["broken", "broken"]
    assert "1 samples are not finite" in found.broken[0].detail


def test_good_files_pass_and_the_most_common_rate_is_expected(good, bad) -> None:
    assert not check(recordings(str(good))).findings
    mixed = [*recordings(str(good)), *recordings(str(bad / "7-rate.wav"))]
    assert [finding.detail for finding in check(mixed).findings] == ["8000 Hz, expected 16000"]


def test_peaks_are_not_clipping_and_flat_tops_are() -> None:
    for frequency in (50.3, 100.3, 440.3, 3000.3):
        tone = np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)
        assert clipped_share(tone) == 0.0
    tone = np.sin(2 * np.pi * 100.3 * np.arange(RATE) / RATE)
    cut = np.clip(4 * tone, -0.8, 0.8)
    assert clipped_share(cut) == pytest.approx(np.mean(np.abs(cut) >= 0.8 * 0.999), abs=1e-3)
    assert clipped_share(np.ones(100)) == 0.0
    assert clipped_share(np.zeros(100)) == 0.0


def test_the_command_prints_a_table_and_fails_where_something_is_broken(good, bad, tmp_path, capsys) -> None:
    assert main(["data", "check", str(good)]) == 0
    assert "3 files, 3.0 s" in capsys.readouterr().out
    assert main(["data", "check", str(good), str(bad), "--csv", str(tmp_path / "found.csv")]) == 1
    out = capsys.readouterr().out
    assert "13 files" in out
    assert f"broken: {bad / '9-broken.wav'}" in out
    with (tmp_path / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["kind"] for row in rows} == {"duplicate", "clipped", "silent", "short", "rate", "broken"}


def test_findings_alone_fail_only_when_asked_to(bad, tmp_path) -> None:
    silent = str(bad / "4-silent.wav")
    assert main(["data", "check", silent]) == 0
    assert main(["data", "check", silent, "--strict"]) == 1
    (tmp_path / "all.csv").write_text("path\ngone.wav\n")
    assert main(["data", "check", str(tmp_path / "all.csv")]) == 1  # a file that a table names and that is not there


def test_training_refuses_broken_files_and_warns_of_others(good, bad) -> None:
    with pytest.raises(ValueError, match=r"2 of 10 files that were looked at before training are broken") as raised:
        check_before_training(recordings(str(bad)), RATE, 100)
    assert "9-broken.wav: cannot be read" in str(raised.value)
    with pytest.warns(UserWarning, match="of 3 files looked at before training: 3 rate"):
        check_before_training(recordings(str(good)), 48000, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_before_training(recordings(str(good)), RATE, 2)
        check_before_training(recordings(str(bad)), RATE, 0)


def test_the_data_module_looks_before_it_decodes(bad, good) -> None:
    pytest.importorskip("lightning", reason="needs gense[train]")
    from gense.data.datamodule import MixtureDataModule

    with pytest.raises(ValueError, match="broken; `gense data check` lists all"):
        MixtureDataModule([str(bad)], [], seconds=0.1).setup("fit")
    module = MixtureDataModule([str(good)], [], seconds=0.1, epoch_size=2)
    module.setup("fit")
    assert len(module.items) == 2


@pytest.mark.parametrize("args", [[], ["data", "sort"], ["data", "check"]])
def test_wrong_commands_are_told(args, capsys) -> None:
    assert main(args or ["data"]) == 2
    captured = capsys.readouterr()
    assert "gense data" in captured.out + captured.err
