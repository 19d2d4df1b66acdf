"""Files of published weights: found in the cache, or fetched into it whole."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import shutil
import urllib.request
from pathlib import Path

from tqdm import tqdm


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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=timeout) as answer, temporary.open("wb") as file:
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise OSError("the server answered with a web page instead of the file")
            announced = answer.headers.get("Content-Length")
            size = None if announced is None else int(announced)
            with tqdm.wrapattr(answer, "read", total=size, desc=path.name, disable=None, leave=False) as body:
                shutil.copyfileobj(body, file, 1 << 20)
        size = temporary.stat().st_size
        if announced is not None and size != int(announced):
            raise OSError(f"cut off after {size} of {announced} bytes")
        if sha256 and file_hash(temporary) != sha256:
            raise OSError(f"its sha256 is {file_hash(temporary)}, expected {sha256}")
        temporary.replace(path)
    except (OSError, http.client.HTTPException) as error:
        raise OSError(f"the weights could not be fetched from {url}: {error}. {by_hand}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
    return path


def file_hash(path: str | os.PathLike[str]) -> str:
    """sha256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def from_hub(repository: str, filename: str, *, endpoint: str | None = None) -> Path:
    """Fetch one file of a hub repository through `huggingface_hub`, with its cache and its settings.

    Args:
        repository: owner/name.
        filename: path inside the repository.
        endpoint: address of the hub; None takes that of `huggingface_hub`.

    Raises:
        OSError: no network, no such repository or file; the message says what and what to do instead.
        ValueError: not a name that a repository can have.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    address = f"{endpoint or constants.ENDPOINT}/{repository}"
    try:
        if not isinstance(try_to_load_from_cache(repository, filename), str):
            # Asks once; the download alone would ask six times, for half a minute, where there is no network
            get_hf_file_metadata(hf_hub_url(repository, filename, endpoint=endpoint))
        return Path(hf_hub_download(repository, filename, endpoint=endpoint))
    except HFValidationError as error:
        raise ValueError(f"{repository!r} cannot be the name of a hub repository: {error}") from error
    except Exception as error:  # which ones depends on the HTTP library of the installed huggingface_hub
        reason = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise OSError(
            f"{filename} could not be fetched from {address}: {reason.rstrip('.')}. To install it by hand, download "
            "the repository's files into a folder and pass that folder"
        ) from error
