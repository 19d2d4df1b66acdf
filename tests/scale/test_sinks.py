"""Results appear whole or not at all, wherever they go."""

from __future__ import annotations

import hashlib
import os
import pickle
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest

from gense.scale import places
from gense.scale.items import Item
from gense.scale.sinks import OutputError, Sink

from .corpora import RATE, everything_in, sound, speech, store

ITEM = Item(key="a/b/x.wav", uri="/in/x.wav")


def test_a_result_lies_under_its_key_with_its_checksum(tmp_path: Path) -> None:
    sink = pickle.loads(pickle.dumps(Sink(str(tmp_path / "out"))))
    written = sink.write(ITEM, speech(1), RATE, like=sound(1, subtype="PCM_24"))
    data = (tmp_path / "out/a/b/x.wav").read_bytes()
    assert (written.output, written.size) == ("a/b/x.wav", len(data))
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert everything_in(tmp_path) == {"out/a/b/x.wav"}
    assert sink.write(ITEM, speech(1), RATE, like=sound(1, subtype="PCM_24")) == written
    shorter = sink.write(ITEM, speech(1, 10), RATE)
    assert (tmp_path / "out/a/b/x.wav").stat().st_size == shorter.size < written.size


def test_an_object_store_gets_one_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("memory")
    puts: list[str] = []
    pipe = type(fs).pipe_file
    monkeypatch.setattr(type(fs), "pipe_file", lambda self, path, data: puts.append(path) or pipe(self, path, data))
    sink = Sink(f"memory://{tmp_path.name}/out")
    sink.check()
    written = sink.write(ITEM, speech(1), RATE)
    assert puts[1:] == [f"/{tmp_path.name}/out/a/b/x.wav"]
    assert fs.info(puts[1])["size"] == written.size
    assert places.sizes(sink.output) == {"a/b/x.wav": written.size}
    local = tmp_path / "done.wav"
    local.write_bytes(b"whole")
    assert sink.adopt(ITEM, local).sha256 == hashlib.sha256(b"whole").hexdigest()
    assert fs.cat_file(puts[1]) == b"whole"
    assert not local.exists()
    fs.rm(f"/{tmp_path.name}", recursive=True)


def test_where_renaming_is_cheap_a_file_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = fsspec.filesystem("memory")
    monkeypatch.setattr(type(fs), "protocol", "sftp")
    monkeypatch.setattr(places, "locate", lambda uri: (fs, f"/{tmp_path.name}/{uri.rpartition('/')[2]}"))
    moved: list[tuple[str, str]] = []
    move = type(fs).mv
    monkeypatch.setattr(type(fs), "mv", lambda self, a, b: moved.append((a, b)) or move(self, a, b))
    places.put("sftp://host/x.wav", b"whole")
    assert [(a != b, b) for a, b in moved] == [(True, f"/{tmp_path.name}/x.wav")]
    assert fs.ls(f"/{tmp_path.name}", detail=False) == [f"/{tmp_path.name}/x.wav"]
    fs.rm(f"/{tmp_path.name}", recursive=True)


def test_a_finished_file_is_moved_in(tmp_path: Path) -> None:
    done = tmp_path / "long.wav"
    done.write_bytes(sound(1))
    written = Sink(str(tmp_path / "out")).adopt(ITEM, done)
    assert everything_in(tmp_path) == {"out/a/b/x.wav"}
    assert written.sha256 == hashlib.sha256((tmp_path / "out/a/b/x.wav").read_bytes()).hexdigest()


def test_a_file_from_another_disk_is_copied_and_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = tmp_path / "long.wav"
    done.write_bytes(b"whole")
    replace = os.replace

    def other_disk(source: str, target: str) -> None:
        if source == done:
            raise OSError(18, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", other_disk)
    places.put_file(str(tmp_path / "out/x.wav"), done)
    assert everything_in(tmp_path) == {"out/x.wav"}


def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    """The kernel stops in the middle of a file, as on a full disk: through a limit on the size of files."""
    program = f"""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        from gense.scale.items import Item
        from gense.scale.sinks import OutputError, Sink
        from tests.scale.corpora import RATE, speech
        sink = Sink({str(tmp_path)!r})
        small = sink.write(Item(key="small.wav", uri=""), speech(1, 100), RATE)
        sink.write(Item(key="old.wav", uri=""), speech(1, 100), RATE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        for key in ("big.wav", "old.wav"):
            try:
                sink.write(Item(key=key, uri=""), speech(1, 5000), RATE)
            except OutputError as error:
                print(error)
        sink.write(Item(key="small2.wav", uri=""), speech(1, 100), RATE)
    """
    root = Path(__file__).parents[2]
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True, cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert run.stdout.count("the disk is full") == 2
    assert everything_in(tmp_path) == {"small.wav", "old.wav", "small2.wav"}
    assert len({(tmp_path / name).stat().st_size for name in everything_in(tmp_path)}) == 1


def test_a_disk_that_is_full_for_good(tmp_path: Path) -> None:
    """A real small file system, where this process may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("mounting needs rights")
    try:
        sink = Sink(str(disk / "out"))
        sink.check()
        sink.write(Item(key="0.wav", uri=""), speech(0, 4000), RATE)
        with pytest.raises(OutputError, match="the disk is full"):
            sink.write(Item(key="1.wav", uri=""), speech(1, 40000), RATE)
        assert everything_in(disk) == {"out/0.wav"}
        with (disk / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while True:
                filler.write(bytes(4096))
        with pytest.raises(OutputError, match="the disk is full"):
            sink.check()
        assert everything_in(disk) == {"out/0.wav", "filler"}
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def forbidden(path: str, exist_ok: bool) -> None:
    raise PermissionError(13, "Permission denied", path)


def test_folders_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(OSError, match="file"):
        Sink(str(tmp_path / "file")).check()
    with monkeypatch.context() as patch:
        patch.setattr(os, "makedirs", forbidden)
        with pytest.raises(OutputError, match="cannot be written"):
            Sink(str(tmp_path / "no")).check()
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        Sink(str(tmp_path)).write(Item(key="a.wav", uri=""), speech(1), RATE)
    local = tmp_path / "long.wav"
    local.write_bytes(b"whole")
    with pytest.raises(OSError, match=r"a\.wav"):
        Sink(str(tmp_path)).adopt(Item(key="a.wav", uri=""), local)
    assert everything_in(tmp_path) == {"file", "long.wav"}


@pytest.mark.parametrize("remote", [False, True])
def test_what_killed_processes_leave_is_cleared(tmp_path: Path, remote: bool) -> None:
    base = f"memory://{tmp_path.name}/scraps" if remote else str(tmp_path)
    scrap = "." + 32 * "a" + ".part"
    store(base, dict.fromkeys((scrap, f"a/{scrap}", "a/x.wav", "a/mine.part", ".b"), b"x"))
    places.clear_scraps(base)
    assert set(places.sizes(base)) == {"a/x.wav", "a/mine.part", ".b"}


def test_layouts() -> None:
    with pytest.raises(ValueError, match="layout='zip': expected files, tar or parquet"):
        Sink("out", "zip")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="in no tar shard; use layout 'files'"):
        Sink("out", "tar").write(ITEM, speech(1), RATE)
    assert Path(Sink("out").output).is_absolute()
