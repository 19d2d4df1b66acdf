"""Folders of real clips: what is matched, cut, resampled, averaged, refused and taken over from an earlier run."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.evaluation import Evaluation, FileScores, evaluate, read_csv, write_csv
from gense.metrics import Metric, estoi, si_sdr
from gense.metrics.registry import Clip
from tests.evaluation.folders import COUNTED, MISSES, RATE, degraded, to_rate, write, write_set


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_set(tmp_path / "set")


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """How often COUNTED has been called since this was last asked."""
    path = tmp_path / "calls"
    monkeypatch.setenv("COUNTED", str(path))

    def count() -> int:
        number = len(path.read_text().splitlines()) if path.exists() else 0
        path.unlink(missing_ok=True)
        return number

    return count


def of(folder: Path, **options) -> Evaluation:
    return evaluate(folder / "out", folder / "clean", folder / "noisy", **options)


def load(path: Path) -> np.ndarray:
    return soundfile.read(path)[0]


# -- scores ----------------------------------------------------------------------------------------------------------


def test_scores_are_those_of_the_metrics_and_noisy_files_have_theirs(folder: Path):
    found = of(folder, metrics=["si_sdr", "estoi"])
    assert [file.name for file in found.files] == ["00", "01", "02"]
    assert found.columns() == ["si_sdr", "estoi"]
    assert found.failed == {}
    for file in found.files:
        est, clean, noisy = (load(folder / what / f"{file.name}.wav") for what in ("out", "clean", "noisy"))
        assert file.scores == {"si_sdr": si_sdr(est, clean), "estoi": pytest.approx(estoi(est, clean, RATE))}
        assert file.noisy_scores["si_sdr"] == si_sdr(noisy, clean)
        assert file.scores["si_sdr"] == pytest.approx(file.noisy_scores["si_sdr"] - 20 * math.log10(0.3), abs=1.0)
        assert file.seconds == 0.8
        assert (file.est, file.clean) == (folder / "out" / f"{file.name}.wav", folder / "clean" / f"{file.name}.wav")
    mean, noisy_mean = found.means()["si_sdr"], found.means(noisy=True)["si_sdr"]
    assert mean.mean == pytest.approx(np.mean([file.scores["si_sdr"] for file in found.files]))
    assert (mean.count, noisy_mean.count) == (3, 3)
    assert mean.mean > noisy_mean.mean


def test_without_references_the_defaults_are_those_that_need_none(folder: Path):
    found = evaluate(folder / "out" / "00.wav")
    assert found.columns() == ["dnsmos_ovrl", "dnsmos_sig", "dnsmos_bak"]
    assert found.files[0].noisy_scores == {}
    assert found.means(noisy=True) == {}


def test_error_rates_are_marked_and_noisy_files_can_be_left_alone(folder: Path):
    found = of(folder, metrics=["lsd", "si_sdr"], score_noisy=False)
    assert found.lower_is_better == {"lsd"}
    assert all(file.noisy_scores == {} for file in found.files)


def test_channels_are_scored_one_by_one_against_theirs_or_the_only_one(tmp_path: Path, clip):
    clean, noisy = clip.clean[RATE : 2 * RATE], clip.noisy[RATE : 2 * RATE]
    left, right = degraded(clean, noisy, 0.5), degraded(clean, noisy, 0.1)
    est = write(tmp_path / "est.wav", np.stack([left, right], 1))
    expected = np.mean([si_sdr(left, clean), si_sdr(right, clean)])
    for reference in (clean, np.stack([clean, clean], 1)):
        ref = write(tmp_path / "ref.wav", reference)
        assert evaluate(est, ref, metrics=["si_sdr"]).files[0].scores["si_sdr"] == pytest.approx(expected, abs=1e-4)
    silent = write(tmp_path / "silent.wav", np.stack([left, 0 * left], 1))
    scores = evaluate(silent, ref, metrics=["si_sdr"]).files[0].scores
    assert scores["si_sdr"] == pytest.approx(si_sdr(left, clean), abs=1e-4)
    mono = write(tmp_path / "mono.wav", left)
    assert "clean has 2 channels, enhanced 1" in evaluate(mono, ref, metrics=["si_sdr"]).failed["mono"]


def test_files_of_different_rates_are_compared_at_the_rate_of_the_clean_file(tmp_path: Path, clip):
    clean, noisy = clip.clean[:RATE], clip.noisy[:RATE]
    est = degraded(clean, noisy, 0.3)
    ref = write(tmp_path / "clean.wav", clean)
    fast = write(tmp_path / "fast.wav", to_rate(est, 44100), 44100)
    score = evaluate(fast, ref, metrics=["si_sdr"]).files[0].scores["si_sdr"]
    assert score == pytest.approx(si_sdr(est, clean), abs=0.05)
    # At 8 kHz a whistle at 6 kHz is gone
    write(fast, to_rate(clean + 0.01 * np.sin(2 * np.pi * 6000 * np.arange(RATE) / RATE), 44100), 44100)
    wide, narrow = (
        evaluate(fast, ref, metrics=["si_sdr"], sample_rate=rate).files[0].scores["si_sdr"] for rate in (None, 8000)
    )
    assert wide < 25 < 50 < narrow


def test_a_score_that_is_undefined_is_missing_and_does_not_fail_the_file(folder: Path):
    write(folder / "out" / "01.wav", np.zeros(int(0.8 * RATE)))
    found = of(folder, metrics=["si_sdr"])
    assert math.isnan(found.files[1].scores["si_sdr"])
    assert found.means()["si_sdr"].count == 2
    assert found.failed == {}


# -- bad files -------------------------------------------------------------------------------------------------------


def test_a_little_more_or_less_is_cut_off_and_another_recording_is_refused(tmp_path: Path, clip):
    clean = clip.clean[: 2 * RATE]
    write(tmp_path / "clean" / "a.wav", clean)
    write(tmp_path / "clean" / "b.wav", clean)
    write(tmp_path / "out" / "a.wav", clip.noisy[: 2 * RATE - int(0.11 * RATE)])
    write(tmp_path / "out" / "b.wav", clip.noisy[: 2 * RATE - int(0.13 * RATE)])
    found = evaluate(tmp_path / "out", tmp_path / "clean", metrics=["si_sdr"])
    (file,) = found.files
    assert (file.name, file.seconds) == ("a", pytest.approx(1.89))
    assert file.scores["si_sdr"] == pytest.approx(si_sdr(clip.noisy[:30240], clip.clean[:30240]), abs=1e-6)
    assert "enhanced lasts 1.87 s, clean 2.00 s" in found.failed["b"]


def test_bad_files_are_listed_with_reasons_and_the_rest_is_scored(folder: Path):
    break_some(folder)
    found = of(folder, metrics=["si_sdr"])
    assert [file.name for file in found.files] == ["02"]
    assert list(found.failed) == ["00", "01", "03"]
    assert "cannot be read as audio" in found.failed["00"]
    assert found.failed["01"] == "no clean file of this name"
    assert "NaN or infinite" in found.failed["03"]


def break_some(folder: Path) -> None:
    (folder / "out" / "00.wav").write_bytes(b"RIFF no audio")
    (folder / "clean" / "01.wav").unlink()
    write(folder / "out" / "03.wav", np.full(RATE, math.nan))
    write(folder / "clean" / "03.wav", np.ones(RATE))
    write(folder / "noisy" / "03.wav", np.ones(RATE))


def test_two_processes_give_what_one_gives(folder: Path):
    break_some(folder)
    one, two = (of(folder, metrics=["si_sdr", "estoi"], workers=workers) for workers in (1, 2))
    assert two.failed == one.failed
    ((a,), (b,)) = one.files, two.files
    assert (a.name, a.est, a.seconds) == (b.name, b.est, b.seconds)
    # Not bit by bit: where an array lies in memory decides how its sum is ordered
    assert a.scores == pytest.approx(b.scores, rel=1e-12)
    assert a.noisy_scores == pytest.approx(b.noisy_scores, rel=1e-12)


def test_a_missing_package_is_an_error_of_the_whole(folder: Path):
    with pytest.raises(ImportError, match="nothing is not installed"):
        of(folder, metrics=[MISSES])


def test_metrics_that_stay_in_this_process(folder: Path):
    local = Metric("local", ("local",), lambda clip: {"local": float(clip.sample_rate)})
    assert of(folder, metrics=[local]).means()["local"].mean == RATE
    with pytest.raises(ValueError, match="workers=2: a metric cannot be sent"):
        of(folder, metrics=[local], workers=2)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"metrics": ["wow"]}, "wow unknown; expected some of pesq"),
        ({"metrics": []}, "none given"),
        ({"metrics": [Metric("said", ("said",), lambda clip: {}, needs=("text",))]}, "said needs trans"),
        ({"workers": 0}, "workers=0"),
        ({"sample_rate": 0}, "sample_rate=0"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(folder: Path, options, says):
    with pytest.raises(ValueError, match=says):
        of(folder, **options)
    with pytest.raises(ValueError, match="estoi needs clean"):
        evaluate(folder / "out", metrics=["estoi"])


def test_metrics_are_told_what_is_said(folder: Path):
    def letters(clip: Clip) -> dict[str, float]:
        assert clip.text is not None
        return {"letters": float(len(clip.text))}

    metric = Metric("letters", ("letters",), letters, needs=("text",))
    found = of(folder, metrics=[metric], transcripts={"00": "ab", "02": "abc"})
    assert [file.scores["letters"] for file in found.files] == [2.0, 3.0]
    assert found.failed == {"01": "no transcript"}


# -- the table -------------------------------------------------------------------------------------------------------


def test_the_table_holds_every_file_and_reads_back_as_the_result(folder: Path, tmp_path: Path):
    (folder / "clean" / "01.wav").unlink()
    path = tmp_path / "new" / "scores.csv"
    found = of(folder, metrics=["si_sdr", "lsd"], output=path)
    assert read_csv(path) == found
    assert not list(path.parent.glob("*part*"))
    lines = path.read_text().splitlines()
    assert lines[0].startswith("file,seconds,si_sdr,lsd,noisy_si_sdr,noisy_lsd,enhanced,clean,noisy,error,")
    assert [line.split(",")[0] for line in lines[1:]] == ["00", "01", "02"]


def test_numbers_survive_the_table_whatever_they_are(tmp_path: Path):
    scores = {"a": 1 / 3, "b": math.inf, "c": -1e-300}
    first = FileScores("q", {"a": 2.0}, {}, 1.0, Path("q.wav"))
    second = FileScores("x/y, z", scores, {"a": 0.1}, 1.5, Path("e.wav"))
    found = Evaluation([first, second], {"bad": 'said "no",\nthen more'})
    assert read_csv(write_csv(tmp_path / "t.csv", found)) == found
    undefined = Evaluation([FileScores("u", {"a": math.nan}, {}, 1.0, Path("u.wav"))])
    assert math.isnan(read_csv(write_csv(tmp_path / "u.csv", undefined)).files[0].scores["a"])
    assert read_csv(tmp_path / "t.csv", lower_is_better=["a"]).lower_is_better == {"a"}


def test_a_finished_table_is_taken_over_where_nothing_has_changed(folder: Path, tmp_path: Path, calls):
    path = tmp_path / "scores.csv"
    first = of(folder, metrics=[COUNTED], output=path)
    assert calls() == 6  # three enhanced, three noisy
    assert of(folder, metrics=[COUNTED], output=path) == first
    assert calls() == 0
    os.utime(folder / "noisy" / "01.wav", (1, 1))
    of(folder, metrics=[COUNTED], output=path)
    assert calls() == 2
    of(folder, metrics=["si_sdr", COUNTED], output=path)
    assert calls() == 6
    of(folder, metrics=["si_sdr", COUNTED], output=path, sample_rate=8000)
    assert calls() == 6
    of(folder, metrics=["si_sdr", COUNTED], output=path, sample_rate=8000, resume=False)
    assert calls() == 6


def test_an_interrupted_run_goes_on_where_it_ended(folder: Path, tmp_path: Path, calls, monkeypatch):
    from gense.evaluation.table import Table

    path, add = tmp_path / "scores.csv", Table.add

    def stop_after_two(self, row):
        add(self, row)
        if len(self.rows) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Table, "add", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        of(folder, metrics=[COUNTED], output=path)
    monkeypatch.undo()
    monkeypatch.setenv("COUNTED", str(tmp_path / "calls"))
    part = tmp_path / "scores.csv.part"
    assert not path.exists()
    assert len(part.read_text().splitlines()) == 3
    with part.open("a") as file:
        file.write("02,0.8,0.5")  # killed in the middle of a row
    calls()
    found = of(folder, metrics=[COUNTED], output=path)
    assert calls() == 2
    assert [file.name for file in found.files] == ["00", "01", "02"]
    assert path.exists()
    assert not part.exists()


def test_failed_files_are_tried_again_and_gone_ones_leave_the_table(folder: Path, tmp_path: Path, calls):
    path = tmp_path / "scores.csv"
    good = (folder / "out" / "01.wav").read_bytes()
    (folder / "out" / "01.wav").write_bytes(b"broken")
    assert list(of(folder, metrics=[COUNTED], output=path).failed) == ["01"]
    assert list(read_csv(path).failed) == ["01"]
    assert list(of(folder, metrics=[COUNTED], output=path).failed) == ["01"]
    (folder / "out" / "01.wav").write_bytes(good)
    (folder / "out" / "02.wav").unlink()
    calls()
    found = of(folder, metrics=[COUNTED], output=path)
    assert calls() == 2
    assert found.left_out == ["02"]
    assert [file.name for file in read_csv(path).files] == ["00", "01"]


def test_a_table_written_by_hand_is_taken_over_in_no_row(folder: Path, tmp_path: Path, calls):
    path = write_csv(tmp_path / "scores.csv", of(folder, metrics=[COUNTED]))
    (folder / "clean" / "01.wav").unlink()
    calls()
    found = of(folder, metrics=[COUNTED], output=path)
    assert calls() == 4
    assert ([file.name for file in found.files], list(found.failed)) == (["00", "02"], ["01"])


def test_a_file_of_another_kind_is_not_overwritten_and_not_read(folder: Path, tmp_path: Path):
    notes = tmp_path / "notes.csv"
    notes.write_text("day,what\n1,rest\n")
    with pytest.raises(ValueError, match="not a table of scores"):
        of(folder, metrics=["si_sdr"], output=notes)
    assert notes.read_text() == "day,what\n1,rest\n"
    with pytest.raises(ValueError, match="not a table of scores"):
        read_csv(notes)
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_csv(tmp_path / "nothing.csv")
