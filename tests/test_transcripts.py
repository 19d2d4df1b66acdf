"""Transcripts through the front door: one call, the command line, tables for many files; and guidance as an option."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

import gense
from gense import Enhancer, enhance_files
from gense.cli import main
from gense.transcripts import read_transcripts
from tests.folders import noise_like_speech
from tests.tiny import tiny_flow
from tests.tiny_text import tiny_text


@pytest.fixture(scope="module")
def model() -> Enhancer:
    return tiny_text()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three recordings."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for seed, name in enumerate(("a", "b", "c")):
        soundfile.write(f"in/{name}.wav", noise_like_speech(4000, seed=seed), 16000, subtype="FLOAT")
    return tmp_path


def wav(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


# -- one recording ---------------------------------------------------------------------------------------------------


def test_text_of_one_recording(here: Path, model: Enhancer) -> None:
    plain, told = gense.enhance(wav("in/a.wav"), model), gense.enhance(wav("in/a.wav"), model, text="hello")
    assert np.abs(plain - told).max() > 1e-4
    gense.enhance("in/a.wav", model, text="hello", output="out.wav")
    np.testing.assert_array_equal(wav("out.wav"), told)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [("", ValueError, "text is empty"), ("  ", ValueError, "text is empty"), (3, TypeError, "text holds int")],
)
def test_bad_text_is_refused_before_any_work(
    here: Path, text: object, error: type, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_text()
    monkeypatch.setattr(model.head, "generate", lambda *args, **settings: pytest.fail("the model has run"))
    with pytest.raises(error, match=message):
        gense.enhance("in/a.wav", model, text=text, output="out.wav")  # type: ignore[arg-type]
    assert not Path("out.wav").exists()


# -- guidance --------------------------------------------------------------------------------------------------------


def test_guidance_is_an_option(here: Path, model: Enhancer) -> None:
    source = wav("in/a.wav")
    results = [
        gense.enhance(source, model, text="hello", **options)
        for options in ({}, {"guidance": 2.0}, {"guidance": 2, "guidance_interval": (0.0, 0.4)})
    ]
    for k in range(3):
        assert np.abs(results[k] - results[k - 1]).max() > 1e-4
    for options in ({"guidance": 0}, {"guidance": 2.0, "guidance_interval": [0.9, 1.0]}):  # two steps, at 0 and 0.5
        np.testing.assert_array_equal(gense.enhance(source, model, text="hello", **options), results[0])
    combined = gense.enhance(source, model, sampler="heun", steps=1, guidance=2.0)
    assert np.isfinite(combined).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance": -1}, r"guidance=-1: need a number, at least 0"),
        ({"guidance": "much"}, r"guidance='much': need a number"),
        ({"guidance": True}, "guidance=True: need a number"),
        ({"guidance": float("nan")}, "guidance=nan: need a number"),
        ({"guidance": float("inf")}, "guidance=inf: need a number"),
        ({"guidance_interval": 0.5}, "guidance_interval=0.5: need two numbers from 0"),
        ({"guidance_interval": (0.5, 0.2)}, r"guidance_interval=\(0\.5, 0\.2\): need two numbers"),
        ({"guidance_interval": (0, 2)}, "need two numbers from 0"),
        ({"guidance_interval": ("a", "b")}, "need two numbers from 0"),
        ({"guidence": 1.0}, "unexpected option 'guidence'"),
    ],
)
def test_impossible_guidance_is_refused(here: Path, model: Enhancer, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gense.enhance(wav("in/a.wav"), model, **options)


def test_guidance_needs_a_head_that_has_seen_conditions_left_out(here: Path) -> None:
    with pytest.raises(ValueError, match=r"guidance=1\.0: this head has no dropout, hence nothing to leave out"):
        gense.enhance(wav("in/a.wav"), tiny_flow(), guidance=1.0)


# -- many recordings -------------------------------------------------------------------------------------------------

TEXTS = {"a": "good, very good", "b": "bad", "c": "neither"}


def table(path: str, separator: str = ",", first: str = "path,text", folder: str = "in/") -> Path:
    rows = [f'{folder}{name}.wav{separator}"{text}"' for name, text in TEXTS.items()]
    if separator == "\t":
        rows = [row.replace('"', "") for row in rows]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text("\n".join([first.replace(",", separator), *rows]) + "\n", encoding="utf-8")
    return Path(path)


@pytest.mark.filterwarnings("ignore:not in the vocabulary")
@pytest.mark.parametrize(
    ("path", "separator", "folder"),
    [("all.csv", ",", "in/"), ("all.tsv", "\t", "in/"), ("in/all.csv", ",", ""), ("lists/all.csv", ",", "in/")],
)
def test_a_table_gives_each_file_its_own(here: Path, model: Enhancer, path: str, separator: str, folder: str) -> None:
    report = enhance_files(["in"], "out", method=model, transcripts=table(path, separator, folder=folder))
    assert (len(report.done), report.failed) == (3, {})
    for name, text in TEXTS.items():
        np.testing.assert_array_equal(wav(f"out/{name}.wav"), gense.enhance(wav(f"in/{name}.wav"), model, text=text))


def test_tables_may_have_other_columns_and_a_byte_order_mark(here: Path) -> None:
    content = '\ufeffspeaker,text,path\nx,"two\nlines",in/a.wav\ny,gone,in/missing.wav\n'
    Path("t.csv").write_text(content, encoding="utf-8")
    assert read_transcripts("t.csv") == {Path("in/a.wav").resolve(): "two\nlines"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "t.csv: expected a first line with the columns path and text, got none"),
        ("file,text\n", "expected a first line with the columns path and text, got file, text"),
        ("path,text\nin/a.wav,\n", "t.csv, line 2: the transcript of in/a.wav is empty"),
        ("path,text\nin/a.wav\n", "line 2: the transcript of in/a.wav is empty"),
        ("path,text\n,hello\n", "line 2: the path is empty"),
        ("path,text\nin/a.wav,well, well\n", "line 2: more columns than the first line names; a comma inside"),
        ("path,text\nin/a.wav,one\nin/../in/a.wav,two\n", "line 3: in/../in/a.wav has another transcript above"),
        ("path,text\nin/a.wav,one\n", "t.csv: no transcript for in/b.wav and 1 more; add rows for all inputs"),
    ],
)
def test_tables_that_will_not_do_are_refused_before_any_work(
    here: Path, model: Enhancer, content: str, message: str
) -> None:
    Path("t.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        enhance_files(["in"], "out", method=model, transcripts="t.csv")
    assert not Path("out").exists()


def test_texts_are_refused_for_a_method_without(here: Path) -> None:
    with pytest.raises(ValueError, match="this method reads no transcript"):
        enhance_files(["in"], "out", method=tiny_flow(), transcripts=table("all.csv"))
    assert not Path("out").exists()


def test_resuming_needs_the_remaining_transcripts_only(here: Path, model: Enhancer) -> None:
    enhance_files(["in/a.wav", "in/b.wav"], "out", method=model)
    Path("t.csv").write_text("path,text\nin/c.wav,neither\n")
    report = enhance_files(["in"], "out", method=model, transcripts="t.csv", resume=True)
    assert ([p.name for p in report.done], len(report.skipped)) == (["c.wav"], 2)


@pytest.mark.parametrize("flags", [["--text", "hello"], ["--text-file", "t.txt"], ["--transcripts", "t.csv"]])
def test_the_command_line(here: Path, model: Enhancer, flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.txt").write_text("  hello\n", encoding="utf-8-sig")
    Path("t.csv").write_text("path,text\nin/a.wav,hello\n")
    monkeypatch.setattr("gense.files.load", lambda *args, **settings: model)
    options = ["--options.guidance", "0.5", "--options.guidance_interval", "[0.0, 0.4]"]
    assert main(["enhance", "in/a.wav", "-o", "out.wav", *flags, *options]) == 0
    expected = gense.enhance(wav("in/a.wav"), model, text="hello", guidance=0.5, guidance_interval=(0.0, 0.4))
    np.testing.assert_array_equal(wav("out.wav"), expected)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--text", "x", "--text-file", "t.txt"], "text and text_file: give one of them"),
        (["--text", "x"], "text is one transcript, but there are 3 inputs: give transcripts, a CSV or TSV"),
        (["--text-file", "t.txt"], "text_file is one transcript, but there are 3 inputs"),
        (["--transcripts", "none.csv"], "none.csv: no such file"),
        (["--transcripts", "in/a.wav"], "in/a.wav: not readable as UTF-8"),
    ],
)
def test_what_the_command_line_refuses(
    here: Path, model: Enhancer, flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    Path("t.txt").write_text("hello")
    Path("in/a.wav").write_bytes(b"\xff\xfe\xfa" * 20)
    monkeypatch.setattr("gense.files.load", lambda *args, **settings: model)
    assert main(["enhance", "in", "-o", "out", *flags]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not Path("out").exists()


def test_an_empty_text_file_is_refused(here: Path, model: Enhancer) -> None:
    Path("t.txt").write_text(" \n")
    with pytest.raises(ValueError, match=r"t\.txt: the file is empty; it should hold a transcript"):
        enhance_files(["in/a.wav"], "out", method=model, text_file="t.txt")
