"""Which files meet, and what is said of those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gense.evaluation.pairing import match, texts_of


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def touch(*names: str) -> None:
    """Files of which only the names are looked at."""
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"")


def test_files_meet_by_their_path_inside_the_folder_whatever_their_suffix(here: Path):
    touch("out/x/a.flac", "out/b.v2.wav", "clean/x/a.wav", "clean/b.v2.WAV", "noisy/x/a.ogg", "noisy/b.v2.wav")
    touch("clean/x/notes.txt", "clean/.a.wav", "clean/a.wav")
    found = match("out", "clean", "noisy")
    assert [(job.name, str(job.est), str(job.clean), str(job.noisy)) for job in found.jobs] == [
        ("b.v2", "out/b.v2.wav", "clean/b.v2.WAV", "noisy/b.v2.wav"),
        ("x/a", "out/x/a.flac", "clean/x/a.wav", "noisy/x/a.ogg"),
    ]
    assert found.failed == {}
    assert found.left_out == ["a"]


def test_results_of_enhance_beside_their_inputs_are_told_apart(here: Path):
    touch("talks/a.wav", "talks/a.enhanced.wav", "talks/b.wav", "talks/b.enhanced.wav")
    found = match("talks", noisy="talks")
    assert [(job.name, job.est.name, job.noisy and job.noisy.name) for job in found.jobs] == [
        ("a", "a.enhanced.wav", "a.wav"),
        ("b", "b.enhanced.wav", "b.wav"),
    ]


def test_a_missing_partner_or_two_of_a_name_are_reported_and_the_rest_goes_on(here: Path):
    touch("out/a.wav", "out/b.wav", "out/c.wav", "out/d.wav", "out/d.flac")
    touch("clean/a.wav", "clean/c.wav", "clean/c.flac", "clean/d.wav", "noisy/a.wav", "noisy/c.wav")
    found = match("out", "clean", "noisy")
    assert [job.name for job in found.jobs] == ["a"]
    assert found.failed["b"] == "no clean and no noisy file of this name"
    assert "clean/c.flac and clean/c.wav have this name" in found.failed["c"]
    assert "out/d.flac and out/d.wav have this name" in found.failed["d"]
    assert found.left_out == []


def test_single_files_need_no_common_name(here: Path):
    touch("out.wav", "ref.flac", "clean/out.wav", "clean/z.wav")
    (job,) = match("out.wav", "ref.flac").jobs
    assert (job.name, job.clean) == ("out", Path("ref.flac"))
    found = match("out.wav", "clean")
    assert [job.clean for job in found.jobs] == [Path("clean/out.wav")]
    assert found.left_out == []


def test_what_is_refused(here: Path):
    touch("out/a.wav", "a.wav", "empty/notes.txt")
    with pytest.raises(FileNotFoundError, match="enhanced nowhere"):
        match("nowhere")
    with pytest.raises(FileNotFoundError, match="clean nowhere"):
        match("out", "nowhere")
    with pytest.raises(ValueError, match=r"a\.wav is a file, but enhanced out is a folder"):
        match("out", "a.wav")
    with pytest.raises(ValueError, match="empty: no audio files"):
        match("empty")


def test_transcripts_belong_to_any_of_the_three_files_or_to_the_name(here: Path):
    touch("out/a.wav", "out/b.wav", "out/c.wav", "clean/a.wav", "clean/b.wav", "clean/c.wav")
    Path("texts.csv").write_text("path,text\nclean/a.wav,good day\nout/b.wav,bye\n")
    jobs = match("out", "clean").jobs
    assert texts_of(jobs, "texts.csv") == {"a": "good day", "b": "bye", "c": None}
    assert texts_of(jobs, {"c": "hm"}) == {"a": None, "b": None, "c": "hm"}
    assert texts_of(jobs, None) == {"a": None, "b": None, "c": None}
