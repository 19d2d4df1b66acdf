"""The page: escaping, the frame around the content, and writing it whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import html
import os
import re
from datetime import datetime, timezone
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from gense.version import __version__

# Control characters are forbidden in HTML; a name whose bytes are no UTF-8 reaches Python as lone surrogates
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
# Marks that turn the direction of text until they are closed, with which a file name can rearrange its surroundings
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069\u200e\u200f\u061c]")


def text(value: object) -> str:
    """Any string of a user as HTML text or as the value of a quoted attribute."""
    return html.escape(_DIRECTION.sub("", _FORBIDDEN.sub("\ufffd", str(value))), quote=True)


def page(title: str, subtitle: str, sections: list[tuple[str, str, str]]) -> str:
    """The whole document.

    Its content security policy forbids every load, so that even a mistake in the content cannot reach the network, and
    allows this one style sheet and this one script by their hashes.

    Args:
        title: of the report, as the user gave it.
        subtitle: HTML below the title.
        sections: (id, heading as HTML, content as HTML).
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; media-src data:; style-src {_digest(style)}; script-src {_digest(script)}"
    )
    links = "".join(f'<a href="#{name}">{heading}</a>' for name, heading, _ in sections)
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{heading}</h2>\n{content}\n</section>'
        for name, heading, content in sections
    )
    written = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(title)}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<h1><bdi>{text(title)}</bdi></h1>
<div class="lead">{subtitle}</div>
<nav aria-label="Parts of the report">{links}</nav>
</header>
<main>
{body}
</main>
<footer>Written by gense {text(__version__)} on {written}. This file is complete: it loads nothing.</footer>
<script>{script}</script>
</body>
</html>
"""


def _asset(name: str) -> str:
    return files("gense.report").joinpath(name).read_text(encoding="utf-8")


def _digest(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def checked_path(path: str | os.PathLike[str]) -> Path:
    """The path of the report, refused before any work if it cannot be written.

    Raises:
        ValueError: a suffix other than .html or .htm, which browsers open as something else.
        OSError: the folder is missing, or the name is that of a folder.
    """
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{path}: a report is a web page; give a name that ends in .html")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: give the name of a file")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into")
    return path


def write(path: Path, content: str) -> Path:
    """Write the page; a reader never sees it half written, and a failure leaves what was there before."""
    # Bounded, as a name may be as long as the file system allows already
    temporary = path.with_name(f".{uuid4().hex}.part")
    try:
        temporary.write_text(content, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path
