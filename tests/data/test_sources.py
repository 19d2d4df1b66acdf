"""Sources: folders, tables, lists and tar shards give the same recordings."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.data import Clips
from gense.data.manifest import read_manifest
from gense.data.sources import all_recordings, recordings, shards

RATE = 16000


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, clip) -> Path:
    """Four files of two speakers: as a folder, as tables, as a list, and in two shards."""
    root = tmp_path_factory.mktemp("corpus")
    names = ["a/0.flac", "a/1.flac", "b/0.flac", "b/1.flac"]
    for index, name in enumerate(names):
        (root / "speech" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / "speech" / name, clip.clean[(index + 1) * RATE : (index + 2) * RATE], RATE)
    split = ["train", "train", "train", "val"]
    rows = [{"path": f"speech/{name}", "speaker": name[0], "split": s} for name, s in zip(names, split, strict=True)]
    (root / "all.csv").write_text("path,speaker,split\n" + "".join(",".join(row.values()) + "\n" for row in rows))
    (root / "all.tsv").write_text("path\tspeaker\tsplit\n" + "".join("\t".join(row.values()) + "\n" for row in rows))
    lines = [json.dumps({**row, "seconds": 1.0}) for row in rows]
    lines[0] = lines[0].replace('"path"', '"audio_filepath"')
    (root / "all.jsonl").write_text("\n".join(lines) + "\n\n")
    (root / "wav.scp").write_text("".join(f"id{i} speech/{name}\n" for i, name in enumerate(names)))
    for shard in range(2):
        with tarfile.open(root / f"speech-{shard:03d}.tar", "w") as tar:
            for name in names[2 * shard : 2 * shard + 2]:
                tar.add(root / "speech" / name, name)
                add(tar, name.replace("flac", "txt"), b"words")
    return root


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def samples(source: str) -> list[np.ndarray]:
    clips = Clips([source], RATE)
    return [clips[index] for index in range(len(clips))]


@pytest.mark.parametrize("name", ["all.csv", "all.tsv", "all.jsonl", "wav.scp", "speech-*.tar"])
def test_every_kind_of_source_holds_the_same(corpus, name) -> None:
    expected = samples(str(corpus / "speech"))
    found = samples(str(corpus / name))
    assert len(found) == 4
    assert all(np.array_equal(a, b) for a, b in zip(expected, found, strict=True))


def test_shards_by_braces_keep_their_order(corpus) -> None:
    pytest.importorskip("braceexpand", reason="needs webdataset")
    found = shards(str(corpus / "speech-{001,000}.tar"))
    assert [file.name for file in found] == ["speech-001.tar", "speech-000.tar"]
    with pytest.raises(FileNotFoundError, match=r"speech-002\.tar: no such file"):
        shards(str(corpus / "speech-{000..002}.tar"))


def test_conditions_choose_rows_and_members(corpus) -> None:
    assert [r.speaker for r in recordings(f"{corpus}/all.csv?split=train")] == ["a", "a", "b"]
    assert [r.file.name for r in recordings(f"{corpus}/all.jsonl?split=train&speaker=b")] == ["0.flac"]
    assert [r.key for r in recordings(f"{corpus}/speech-000.tar?ext=txt")] == ["a/0", "a/1"]


def test_names_by_which_pairs_find_each_other(corpus) -> None:
    assert [r.key for r in recordings(str(corpus / "speech"))] == ["a/0", "a/1", "b/0", "b/1"]
    assert [r.key for r in recordings(str(corpus / "wav.scp"))] == ["id0", "id1", "id2", "id3"]
    assert [r.key for r in recordings(str(corpus / "speech-001.tar"))] == ["b/0", "b/1"]
    assert len(all_recordings([str(corpus / "speech"), str(corpus / "speech/a/0.flac")])) == 5


def test_a_list_of_paths_alone_is_a_list(corpus, tmp_path) -> None:
    (tmp_path / "noise.scp").write_text(f"{corpus}/speech/a/0.flac\n")
    (found,) = recordings(str(tmp_path / "noise.scp"))
    assert found.file == corpus / "speech/a/0.flac"


def test_speakers_of_a_table_are_groups(corpus) -> None:
    clips = Clips([f"{corpus}/all.csv?split=train"], RATE, group_power=1.0)
    assert sorted(clips.probabilities) == pytest.approx([1 / 3, 2 / 3])


def test_little_memory_changes_nothing_but_the_reading(corpus, monkeypatch) -> None:
    full, none = Clips([str(corpus / "speech")], RATE), Clips([str(corpus / "speech")], RATE, memory_mb=0.05)
    for clips in (full, none):
        clips.load()
    reads: list[Path] = []
    original = type(full.recordings[0]).read
    monkeypatch.setattr(type(full.recordings[0]), "read", lambda self: reads.append(self.file) or original(self))
    for seed in range(5):
        rngs = np.random.default_rng(seed), np.random.default_rng(seed)
        assert np.array_equal(full.draw(rngs[0]), none.draw(rngs[1]))
    for index in range(4):
        assert np.array_equal(full[index], none[index])
    assert len(reads) >= 2
    assert {file.name for file in reads} <= {"0.flac", "1.flac"}


def test_what_is_no_source_is_said(corpus, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        recordings(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="no column language; it has path, speaker, split"):
        recordings(f"{corpus}/all.csv?language=en")
    with pytest.raises(ValueError, match="no recordings that fulfil the conditions"):
        recordings(f"{corpus}/all.csv?split=test")
    with pytest.raises(ValueError, match=r"conditions after \? are for tables"):
        recordings(f"{corpus}/speech?split=test")
    with pytest.raises(ValueError, match="unknown condition split; tar shards know ext"):
        recordings(f"{corpus}/speech-000.tar?split=test")
    (tmp_path / "gone.csv").write_text("path\nnowhere.wav\nneither.wav\n")
    with pytest.raises(FileNotFoundError, match=r"nowhere\.wav: no such file \(and 1 more of 2\)"):
        Clips([str(tmp_path / "gone.csv")], RATE)
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 200)
    with pytest.raises(ValueError, match=r"bad\.tar: no plain tar file"):
        recordings(str(tmp_path / "bad.tar"))
    (tmp_path / "pipe.scp").write_text("id0 sox x.wav -t wav - |\n")
    with pytest.raises(ValueError, match="id0 is a command"):
        recordings(str(tmp_path / "pipe.scp"))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "file\nx.wav\n", "need a column path, got file"),
        ("a.csv", "path\n", "no rows"),
        ("a.csv", "path,speaker\nx.wav,a\n,b\n", "line 3: no path"),
        ("a.jsonl", '{"path": "x.wav"}\n{path}\n', "line 2: not JSON"),
        ("a.jsonl", '["x.wav"]\n', "line 1: expected an object"),
        ("a.jsonl", '{"file": "x.wav"}\n', "line 1: no path; expected a column path"),
        ("a.txt", "x.wav\n", "unknown kind of table '.txt'"),
    ],
)
def test_a_table_that_is_none_is_refused(tmp_path, name, text, message) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path / name)
