"""Files of published weights: found in the cache, or fetched into it whole."""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.error
import urllib.request
from pathlib import Path


def cache_folder() -> Path:
    """Where fetched weights are kept: `gense` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gense"


def fetch(url: str, path: Path, *, sha256: str | None = None, timeout: float = 30.0) -> Path:
    """Return `path`, fetched from `url` if it is not there.

    The file appears whole or not at all: it is written to a temporary name, checked and renamed.

    Args:
        url: http or https address.
        path: where the file is kept.
        sha256: expected hash in hexadecimal, None where nobody published one.
        timeout: seconds without an answer after which to give up.

    Raises:
        OSError: no network, no such file, cut off, a web page instead of a file, or a wrong hash; the message says
            which file, from where, and where to put it by hand.
    """
    if path.exists():
        return path
    by_hand = f"To install it by hand, download {url} and save it as {path}"
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer, temporary.open("wb") as file:
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise OSError("the server answered with a web page instead of the file")
            announced = answer.headers.get("Content-Length")
            shutil.copyfileobj(answer, file, 1 << 20)
        size = temporary.stat().st_size
        if announced is not None and size != int(announced):
            raise OSError(f"cut off after {size} of {announced} bytes")
        if sha256 and file_hash(temporary) != sha256:
            raise OSError(f"its sha256 is {file_hash(temporary)}, expected {sha256}")
        temporary.replace(path)
    except (OSError, urllib.error.URLError) as error:
        raise OSError(f"the weights could not be fetched from {url}: {error}. {by_hand}") from error
    finally:
        temporary.unlink(missing_ok=True)
    return path


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def from_hub(repository: str, filename: str) -> Path:
    """Fetch one file of a hub repository through `huggingface_hub`, with its cache and its settings.

    Raises:
        OSError: no network, no such repository or file; the message says what and what to do instead.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(repository, filename))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise OSError(
            f"{filename} of hub repository {repository} could not be fetched: {reason}. "
            f"Download the repository's files by hand into a folder and pass that folder"
        ) from error
