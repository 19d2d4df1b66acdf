"""Files from the network: whole or not at all, and what to do by hand without one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from gense.checkpoints.fetch import cache_folder, fetch, file_hash, from_hub
from tests.checkpoints.conftest import Site

CONTENT = bytes(range(256)) * 5000  # more than one read


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("sha256", [None, hashlib.sha256(CONTENT).hexdigest()])
def test_a_file_is_fetched_once(site: Site, tmp_path: Path, sha256: str | None) -> None:
    site.files["/weights.ckpt"] = CONTENT
    target = tmp_path / "cache" / "method" / "weights.ckpt"
    for _ in range(2):
        assert fetch(f"{site.url}/weights.ckpt", target, sha256=sha256) == target
    assert target.read_bytes() == CONTENT
    assert site.asked == [("GET", "/weights.ckpt")]
    assert files(tmp_path) == ["cache/method/weights.ckpt"]
    assert file_hash(target) == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize(
    ("headers", "content", "sha256", "reason"),
    [
        ({}, CONTENT, "0" * 64, f"its sha256 is {hashlib.sha256(CONTENT).hexdigest()}, expected {'0' * 64}"),
        ({"Content-Length": "1280007"}, CONTENT, None, r"(cut off after 1280000 of 1280007|IncompleteRead)"),
        ({"Content-Type": "text/html; charset=utf-8"}, b"<html>Quota</html>", None, "answered with a web page"),
        ({}, None, None, "HTTP Error 404"),
    ],
)
def test_what_goes_wrong_says_where_from_and_where_to_put_it(
    site: Site, tmp_path: Path, headers: dict, content: bytes | None, sha256: str | None, reason: str
) -> None:
    if content is not None:
        site.files["/w.ckpt"], site.headers["/w.ckpt"] = content, headers
    url, target = f"{site.url}/w.ckpt", tmp_path / "cache" / "w.ckpt"
    with pytest.raises(OSError, match=reason) as raised:
        fetch(url, target, sha256=sha256)
    message = str(raised.value)
    assert message.startswith(f"the weights could not be fetched from {url}: ")
    assert message.endswith(f"To install it by hand, download {url} and save it as {target}")
    assert "\n" not in message
    assert files(tmp_path) == []


def test_no_network_says_where_from_and_where_to_put_it(closed_port: str, tmp_path: Path) -> None:
    target = tmp_path / "cache" / "w.ckpt"
    with pytest.raises(OSError, match=re.escape(f"download {closed_port}/w.ckpt and save it as {target}")):
        fetch(f"{closed_port}/w.ckpt", target)
    assert files(tmp_path) == []


def test_a_broken_connection_leaves_nothing(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drop(*args: object) -> None:
        args[1].write(b"half")  # type: ignore[attr-defined]
        raise ConnectionResetError("connection reset by peer")

    site.files["/w.ckpt"] = CONTENT
    monkeypatch.setattr("shutil.copyfileobj", drop)
    with pytest.raises(OSError, match="connection reset by peer"):
        fetch(f"{site.url}/w.ckpt", tmp_path / "w.ckpt")
    assert files(tmp_path) == []


def test_a_cache_folder_that_cannot_be_made_is_told_with_the_remedy(site: Site, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(OSError, match="To install it by hand"):
        fetch(f"{site.url}/w.ckpt", tmp_path / "cache" / "w.ckpt")


def test_the_cache_lies_in_the_user_s_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gense"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "gense"


# -- the hub ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub client, and no tokens of whoever runs the tests."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "hub"


def test_a_file_of_the_hub_is_fetched_once(site: Site, hub_cache: Path) -> None:
    site.files["/owner/model/resolve/main/method.yaml"] = b"class_path: gense.Enhancer\n"
    path = from_hub("owner/model", "method.yaml", endpoint=site.url)
    assert path.read_bytes() == b"class_path: gense.Enhancer\n"
    assert hub_cache in path.parents
    again = from_hub("owner/model", "method.yaml", endpoint=site.url)
    assert again == path
    assert [method for method, _ in site.asked].count("GET") == 1


def test_what_the_hub_lacks_says_which_file_and_what_to_do(site: Site, hub_cache: Path) -> None:
    with pytest.raises(OSError, match="404") as raised:
        from_hub("owner/model", "method.yaml", endpoint=site.url)
    message = str(raised.value)
    assert message.startswith(f"method.yaml could not be fetched from {site.url}/owner/model: ")
    assert message.endswith("download the repository's files into a folder and pass that folder")
    assert "\n" not in message


def test_without_a_network_the_hub_is_asked_once_only(closed_port: str, hub_cache: Path, caplog) -> None:
    with pytest.raises(OSError, match=rf"method.yaml could not be fetched from {closed_port}/owner/model"):
        from_hub("owner/model", "method.yaml", endpoint=closed_port)
    assert "Retrying" not in caplog.text


def test_what_is_cached_needs_no_network(site: Site, closed_port: str, hub_cache: Path) -> None:
    site.files["/owner/model/resolve/main/method.yaml"] = b"class_path: gense.Enhancer\n"
    path = from_hub("owner/model", "method.yaml", endpoint=site.url)
    assert from_hub("owner/model", "method.yaml", endpoint=closed_port) == path


def test_a_name_that_no_repository_can_have_is_refused(hub_cache: Path) -> None:
    with pytest.raises(ValueError, match="'a--b/c' cannot be the name of a hub repository"):
        from_hub("a--b/c", "method.yaml")
