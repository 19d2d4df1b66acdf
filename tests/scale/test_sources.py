"""Listing clips: folders, lists of paths, patterns, names of results; on local disks and in an object store."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from gense.scale import folders
from gense.scale.items import Item, checked_key, key_of
from gense.scale.sources import Reader, list_items, read_bytes

from .corpora import sound, store, table


@pytest.fixture(params=["local", "memory"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty folder of each kind of file system."""
    if request.param == "local":
        yield str(tmp_path / "corpus")
        return
    place = f"memory://{tmp_path.name}/corpus"
    yield place
    fs = fsspec.filesystem("memory")
    if fs.exists(place):
        fs.rm(place, recursive=True)


def keys(items: Iterator[Item]) -> list[str]:
    return [item.key for item in items]


def test_a_folder_is_walked_and_its_names_are_kept(base: str) -> None:
    files = {"b.wav": sound(1), "a/x.flac": sound(2, format="FLAC"), "a/Y.WAV": sound(3), "a b/ü.ogg": b"o"}
    store(base, {**files, "a/notes.txt": b"t", ".hidden/z.wav": b"z", "a/._x.wav": b"z"})
    items = list(list_items(base))
    assert {item.key for item in items} == set(files)
    for item in items:
        assert item.size == len(files[item.key])
        assert read_bytes(item) == files[item.key]
        assert pickle.loads(pickle.dumps(item)) == item
    assert items == list(list_items(base))


def test_a_folder_is_listed_as_it_is_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store(str(tmp_path), {f"{index}/x.wav": b"x" for index in range(50)})
    fs = fsspec.filesystem("file")
    seen: list[str] = []
    listed = fs.ls
    monkeypatch.setattr(fs, "ls", lambda path, detail: seen.append(path) or listed(path, detail=detail))
    monkeypatch.setattr(folders, "locate", lambda uri: (fs, uri))
    assert keys(itertools.islice(list_items(tmp_path), 3)) == ["0/x.wav", "1/x.wav", "10/x.wav"]
    assert len(seen) == 4


def test_results_inside_the_source_are_not_listed(base: str) -> None:
    store(base, {"x.wav": b"x", "done/x.wav": b"x", "done2/y.wav": b"y"})
    assert keys(list_items(base, output=f"{base}/done")) == ["x.wav", "done2/y.wav"]


def test_linked_folders_are_not_entered(tmp_path: Path) -> None:
    store(str(tmp_path), {"a/x.wav": b"x"})
    (tmp_path / "a/again").symlink_to(tmp_path)
    (tmp_path / "lost.wav").symlink_to(tmp_path / "nothing")
    assert keys(list_items(tmp_path)) == ["a/x.wav"]


def test_another_format_changes_the_suffix(base: str) -> None:
    store(base, {"a.wav": b"a", "b.c.mp3": b"b"})
    assert keys(list_items(base, format="flac")) == ["a.flac", "b.c.flac"]


LISTED = {
    "list.csv": b"\xef\xbb\xbfpath,text\nx/a.wav,hello\nx/b.wav,\"two, three\"\n",
    "list.tsv": b"text\taudio_filepath\nhello\tx/a.wav\n\"two, three\"\tx/b.wav\n",
    "list.jsonl": b'{"audio_filepath": "x/a.wav", "text": "hello"}\n\n'
    b'{"audio_filepath": "./x/b.wav", "text": "two, three"}',
    "list.parquet": table({"path": ["x/a.wav", "y/../x/b.wav"], "text": ["hello", "two, three"]}),
}


@pytest.mark.parametrize("name", LISTED)
def test_lists_name_files_relative_to_themselves(base: str, name: str) -> None:
    store(base, {"x/a.wav": b"aa", "x/b.wav": b"bbb", name: LISTED[name]})
    items = list(list_items(f"{base}/{name}"))
    assert [(item.key, item.size) for item in items] == [("x/a.wav", 2), ("x/b.wav", 3)]
    assert [json.loads(str(item.extra)) for item in items] == [{"text": "hello"}, {"text": "two, three"}]
    assert [read_bytes(item) for item in items] == [b"aa", b"bbb"]


def test_files_elsewhere_keep_their_whole_path(tmp_path: Path) -> None:
    store(str(tmp_path), {"data/a.wav": b"a", "near/b.wav": b"b"})
    rows = [str(tmp_path / "data/a.wav"), "../near/b.wav", f"file://{tmp_path}/near/b.wav"]
    store(str(tmp_path), {"lists/l.csv": "\n".join(["path", *rows]).encode()})
    root = str(tmp_path).lstrip("/")
    assert keys(list_items(tmp_path / "lists/l.csv")) == [f"{root}/data/a.wav", f"{root}/near/b.wav"]


def test_a_column_may_name_the_results(base: str) -> None:
    store(base, {"a.wav": b"a", "l.csv": b"path,name,speaker\na.wav,p1/first.wav,p1\n"})
    (item,) = list_items(f"{base}/l.csv", key_column="name")
    assert (item.key, item.extra) == ("p1/first.wav", '{"speaker": "p1"}')
    with pytest.raises(ValueError, match="no column nam; it has path, name, speaker"):
        list(list_items(f"{base}/l.csv", key_column="nam"))


def test_rows_that_cannot_be_used_are_items_with_a_problem(base: str) -> None:
    rows = b'{"path": "a.wav"}\n{"path": "gone.wav"}\nnonsense\n[1]\n{"path": null}\n{"path": "a\\u0000.wav"}\n'
    store(base, {"a.wav": b"a", "l.jsonl": rows})
    good, *bad = list_items(f"{base}/l.jsonl")
    assert (good.key, good.problem) == ("a.wav", None)
    reasons = [item.problem or "" for item in bad]
    expected = ["no such file", "row 3: no JSON", "row 4: no JSON object", "row 5: path is empty", "no file name"]
    assert all(part in reason for part, reason in zip(expected, reasons, strict=True)), reasons
    assert len({item.key for item in bad}) == 5
    with pytest.raises(ValueError, match="no such file"):
        read_bytes(bad[0])


def test_a_file_listed_twice_is_one_clip_and_two_files_of_one_name_are_refused(base: str) -> None:
    store(base, {"a.wav": b"a", "b/a.wav": b"b", "twice.csv": b"path,start\na.wav,0\na.wav,9\n"})
    assert keys(list_items(f"{base}/twice.csv")) == ["a.wav"]
    with pytest.raises(ValueError, match=r"a\.wav and .*b/a\.wav would both be written to a\.wav"):
        list(list_items([f"{base}/a.wav", f"{base}/b/a.wav"]))
    store(base, {"a.mp3": b"m"})
    with pytest.raises(ValueError, match=r"written to a\.flac"):
        list(list_items(base, format="flac"))


def test_a_result_must_not_replace_its_source(base: str) -> None:
    store(base, {"a.wav": b"a", "l.csv": b"path\na.wav\n"})
    for source in (base, f"{base}/l.csv"):
        with pytest.raises(ValueError, match="replaced by its own result"):
            list(list_items(source, output=f"{base}/"))
    assert keys(list_items(base, output=base, format="flac")) == ["a.flac"]


def test_patterns(base: str) -> None:
    store(base, {f"{part}/{index:03d}.wav": b"x" for part in "pq" for index in range(4)})
    assert keys(list_items(f"{base}/{{p,q}}/{{001..002}}.wav")) == ["p/001.wav", "p/002.wav", "q/001.wav", "q/002.wav"]
    assert keys(list_items(f"{base}/p/*[02].wav")) == ["000.wav", "002.wav"]
    assert keys(list_items([f"{base}/p/000.wav", f"{base}/q/003.wav"])) == ["000.wav", "003.wav"]
    missing = list(list_items(f"{base}/p/{{002..005}}.wav"))
    assert [item.problem is None for item in missing] == [True, True, False, False]
    with pytest.raises(ValueError, match="counts backwards"):
        list_items(f"{base}/p/{{003..001}}.wav")


def test_names_that_look_like_patterns(tmp_path: Path) -> None:
    store(str(tmp_path), {"a[1].wav": b"x", "{b}/c::d.wav": b"y"})
    assert keys(list_items(tmp_path / "a[1].wav")) == ["a[1].wav"]
    (item,) = list_items(tmp_path / "{b}")
    assert read_bytes(item) == b"y"


def test_wrong_arguments_are_refused_at_once(base: str) -> None:
    store(base, {"a.wav": b"a", "notes.txt": b"t", "empty/x.txt": b"t", "s.tar.gz": b"z", "l.csv": b"file\na.wav\n"})
    with pytest.raises(FileNotFoundError, match="nothing-here: no such file"):
        list_items(f"{base}/nothing-here")
    with pytest.raises(ValueError, match="neither a folder"):
        list_items(f"{base}/notes.txt")
    with pytest.raises(ValueError, match=r"unpack it to \.tar"):
        list_items(f"{base}/s.tar.gz")
    with pytest.raises(ValueError, match="format='docx': expected one of wav, flac"):
        list_items(base, format="docx")
    with pytest.raises(ValueError, match="no source"):
        list_items([])
    with pytest.raises(ValueError, match="nothing to enhance"):
        list(list_items(f"{base}/empty"))
    with pytest.raises(ValueError, match="no column path or audio_filepath; it has file"):
        list(list_items(f"{base}/l.csv"))


@pytest.mark.parametrize("name", [
    "../a.wav", "a/../../b.wav", "/etc/a.wav", "", ".", "a\x00.wav", "a\\b.wav", "C:/a.wav", "_gense/a.wav",
    "manifest.parquet", "a/" + 201 * "x" + ".wav", "a\udcff.wav",
])  # fmt: skip
def test_names_that_no_result_may_have(name: str) -> None:
    with pytest.raises(ValueError, match=r"no relative name|no file name|leads out|would meet|has a part"):
        checked_key(name)


def test_names_are_made_plain() -> None:
    assert checked_key("./a//b/./c.wav") == "a/b/c.wav"
    assert checked_key("日本\u3000語/é.wav") == "日本\u3000語/é.wav"
    assert key_of("a.b", None, ".flac") == "a.b.flac"
    assert key_of("a.b", "mp3") == "a.b.mp3"
    assert key_of("a/.wav", None) == "a/.wav.wav"
    assert checked_key("x/manifest.parquet") == "x/manifest.parquet"


def test_a_file_with_a_name_of_no_known_encoding_is_reported(tmp_path: Path) -> None:
    try:
        (tmp_path / "a\udcff.wav").write_bytes(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (item,) = list_items(tmp_path)
    assert item.problem is not None
    assert item.key.encode()


def test_a_reader_says_what_is_gone(base: str) -> None:
    store(base, {"a.wav": b"a"})
    (item,) = list_items(base)
    fs, path = fsspec.core.url_to_fs(item.uri)
    fs.rm_file(path)
    with pytest.raises(FileNotFoundError):
        Reader().read(item)
