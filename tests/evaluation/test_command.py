"""`gense evaluate` from the command line: what it prints, writes and returns."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.cli import main
from gense.evaluation import compare, evaluate, read_csv
from tests.evaluation.folders import write, write_set


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips; `worse` leaves twice the noise of `out`."""
    root = write_set(tmp_path_factory.mktemp("command"), count=6, seconds=0.5)
    for path in sorted((root / "out").iterdir()):
        clean, noisy = (soundfile.read(root / what / path.name)[0] for what in ("clean", "noisy"))
        write(root / "worse" / path.name, clean + 0.6 * (noisy - clean))
    return root


@pytest.fixture
def here(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with the clips in `out`, `clean`, `noisy` and `worse`."""
    monkeypatch.chdir(tmp_path)
    for folder in ready.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    return tmp_path


def test_a_table_with_the_noisy_files_and_the_difference(here: Path, capsys):
    assert main(["evaluate", "out", "--clean", "clean", "--noisy", "noisy", "--metrics", "si_sdr", "lsd"]) == 0
    out, err = capsys.readouterr()
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["METRIC", "NOISY", "ENHANCED", "95", "%", "DIFFERENCE", "95", "%", "FILES"]
    found = evaluate("out", "clean", "noisy", metrics=["si_sdr", "lsd"])
    mean, before = found.means()["si_sdr"], found.means(noisy=True)["si_sdr"]
    assert lines[1][:3] == ["si_sdr", f"{before.mean:.3f}", f"{mean.mean:.3f}"]
    assert lines[1][3:5] == [f"[{mean.low:.3f},", f"{mean.high:.3f}]"]
    assert lines[1][5] == f"{mean.mean - before.mean:+.3f}"
    assert lines[1][-1] == "6"
    assert out.splitlines()[2].startswith("lsd (less is better)")
    assert err == ""


def test_two_systems_are_compared_by_a_paired_test(here: Path, capsys):
    options = ["--clean", "clean", "--metrics", "si_sdr,lsd", "--output", "new/scores.csv"]
    assert main(["evaluate", "out", *options, "--against", "worse"]) == 0
    out = capsys.readouterr().out
    table = out[out.index("Paired test of out against worse") :].splitlines()
    first, second = read_csv("new/scores.csv"), read_csv("new/scores.against.csv")
    found = compare(first.values("si_sdr"), second.values("si_sdr"))
    assert f"{found.p:.3f}" == "0.031"  # 2 of 2^6 patterns
    assert table[2].split()[-4:] == ["6", "of", "6", "better"]
    assert table[2].split()[3:4] == [f"{found.difference.mean:+.3f}"]
    assert table[3].startswith("lsd (less is better)")
    assert table[3].split()[-1] == "better"
    assert main(["evaluate", "worse", *options[:4], "--against", "out"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[-4:] == ["0", "of", "6", "worse"]


def test_failed_and_left_out_files_are_listed_and_the_status_says_so(here: Path, capsys):
    write("some/00.wav", soundfile.read("out/00.wav")[0])
    Path("some/01.wav").write_bytes(b"broken")
    assert main(["evaluate", "some", "--clean", "clean", "--metrics", "si_sdr"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1].split()[-1] == "1"
    assert "4 files have no partner in some and are left out: 02, 03, 04, ..." in err
    assert "gense evaluate: 1 of 2 files of some failed:\n  01: " in err
    Path("some/00.wav").unlink()
    assert main(["evaluate", "some", "--clean", "clean", "--metrics", "si_sdr"]) == 1
    assert capsys.readouterr().out == ""


def test_resume_goes_on_with_the_output(here: Path, capsys):
    options = ["evaluate", "out", "--clean", "clean", "--metrics", "si_sdr", "-o", "scores.csv"]
    assert main(options) == 0
    first, changed = Path("scores.csv").read_text(), Path("scores.csv").stat().st_mtime_ns
    # A score that no metric would give shows whether it was taken over
    score = first.splitlines()[1].split(",")[2]
    Path("scores.csv").write_text(first.replace(score, "99.5"))
    assert main([*options, "--resume"]) == 0
    assert read_csv("scores.csv").files[0].scores["si_sdr"] == 99.5
    assert main(options) == 0
    assert Path("scores.csv").read_text() == first
    assert Path("scores.csv").stat().st_mtime_ns > changed


def test_a_page_is_written(here: Path, capsys):
    pytest.importorskip("gense.report")
    options = ["--clean", "clean", "--noisy", "noisy", "--metrics", "si_sdr", "--against", "worse"]
    assert main(["evaluate", "out", *options, "--report", "page.html"]) == 0
    assert "report: page.html" in capsys.readouterr().out
    assert "si_sdr" in Path("page.html").read_text().lower().replace("-", "_")


@pytest.mark.parametrize(
    ("args", "status", "says"),
    [
        ([], 2, "required: enhanced"),
        (["out", "--wow"], 2, "wow"),
        (["out", "--metrics", "wow"], 2, "wow unknown; expected some of pesq"),
        (["out", "--metrics", "si_sdr"], 2, "--metrics si_sdr needs --clean"),
        (["out", "--clean", "clean", "--resume"], 2, "give it as --output"),
        (["out", "--clean", "clean", "--asr", "pocketsphinx"], 2, "give --noisy"),
        (["out", "--noisy", "noisy", "--asr", "pocketsphinx"], 2, "--transcripts, or --clean"),
        (["out", "--clean", "clean", "--weights", "0.5"], 2, "--weights belong to --asr"),
        (["out", "--clean", "clean", "--check"], 2, "give --noisy"),
        (["nowhere", "--clean", "clean"], 1, "nowhere: no such file or folder"),
        (["out", "--clean", "out/00.wav"], 1, "give a folder for both"),
        (["out", "--clean", "clean", "--workers", "0"], 1, "workers=0"),
        (["out", "--clean", "clean", "--metrics", "si_sdr", "-o", "clean"], 1, "clean is a folder"),
    ],
)
def test_what_is_wrong_is_said_with_the_status_of_its_kind(here: Path, capsys, args, status, says):
    assert main(["evaluate", *args]) == status
    out, err = capsys.readouterr()
    assert says in err
    assert err.startswith("gense evaluate: ")
    assert out == ""


def test_recognised_words_per_snr_and_the_recommended_weight(here: Path, capsys, monkeypatch):
    import gense.metrics.asr

    def hears_by_level(wav: np.ndarray, sample_rate: int) -> str:
        """More words wrong in louder noise, which is what differs between the mixtures of a file."""
        wrong = min(8, int(200 * float(np.sqrt(np.mean(np.diff(wav, 2) ** 2)))))
        return " ".join(["wrong"] * wrong + ["one", "two", "three", "four", "five", "six", "seven", "eight"][wrong:])

    monkeypatch.setattr(gense.metrics.asr, "recogniser", lambda name: hears_by_level)
    lines = "".join(f"out/{i:02d}.wav,one two three four five six seven eight\n" for i in range(6))
    Path("texts.csv").write_text("path,text\n" + lines)
    options = ["--clean", "clean", "--noisy", "noisy", "--asr", "toy", "--transcripts", "texts.csv"]
    assert main(["evaluate", "out", *options, "--weights", "0.5", "-o", "s.csv"]) == 0
    out = capsys.readouterr().out
    assert "Word error rate in % of toy against the transcripts:" in out
    assert "METRIC" not in out  # words alone unless metrics are named
    assert not Path("s.csv").exists()
    bins = [line.split(" dB ")[1].split() for line in out.splitlines() if " dB " in line]
    assert sum(int(row[0]) for row in bins) == 6
    whole = next(line.split() for line in out.splitlines() if line.startswith("all "))
    assert whole[1:3] == ["6", "48"]
    noisy, enhanced = float(whole[3]), float(whole[6])
    assert 0 < enhanced < noisy
    assert "w = 0)" in out
    assert len(Path("s.asr.csv").read_text().splitlines()) == 7


def test_files_that_say_something_else_are_flagged_with_the_seconds(here: Path, capsys, clip):
    """Half a second of other speech where the input is silent."""
    size = clip.sample_rate // 2
    speech, other = clip.clean[2 * size : 6 * size], clip.clean[8 * size : 9 * size]
    noisy = np.concatenate([speech, np.zeros(2 * size), speech])
    added = noisy.copy()
    added[4 * size : 5 * size] = 0.5 * other / np.abs(other).max()
    for name, est in (("good", noisy), ("wrong", added)):
        write(f"in/{name}.wav", noisy)
        write(f"made/{name}.wav", est)
    write("in/broken.wav", noisy)
    Path("made/broken.wav").write_bytes(b"broken")
    options = ["--noisy", "in", "--metrics", "dnsmos_p808", "--check", "-o", "s.csv"]
    assert main(["evaluate", "made", *options, "--workers", "1"]) == 1
    out, err = capsys.readouterr()
    said = out[out.index("1 of 2 files say something else") :]
    assert "  wrong:" in said
    assert "good:" not in said
    assert "broken" in err
    with Path("s.flags.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["file"] for row in rows} == {"wrong"}
    assert all(1.8 < float(row["start"]) < float(row["end"]) < 2.7 for row in rows)


def test_systems_are_ranked_by_prism_where_its_scores_are_there() -> None:
    from gense.evaluation.printed import prism_table

    columns = ("pesq", "stoi", "si_sdr", "dnsmos_sig", "dnsmos_bak", "dnsmos_ovrl", "dnsmos_p808")
    worst, middle, best = (dict.fromkeys(columns, value) for value in (1.0, 2.0, 3.0))
    lines = prism_table({"noisy input": worst, "a": best, "b": middle}).splitlines()
    assert lines[0].split() == ["SYSTEM", "PRISM"]
    assert [line.split()[-1] for line in lines[1:]] == ["0.000", "1.000", "0.500"]
    assert prism_table({"a": best, "b": {**middle, "pesq": float("nan")}}) == ""
    assert prism_table({"a": best, "b": {**middle, "pesq": 3.0}}) == ""
