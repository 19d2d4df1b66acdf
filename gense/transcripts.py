"""Transcripts of many files: from the command line, a text file or a table."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path


def transcripts_of(
    sources: Sequence[Path],
    text: str | None,
    text_file: str | os.PathLike[str] | None,
    transcripts: str | os.PathLike[str] | None,
) -> dict[Path, str]:
    """File -> transcript, for all files or, where none of the three is given, for no file.

    Args:
        sources: audio files.
        text: the transcript of a single file.
        text_file: a file that holds it.
        transcripts: a table, see `read_transcripts`.

    Raises:
        ValueError: more than one of the three, one transcript for several files, or files without one.
        FileNotFoundError: no such text file or table.
    """
    given = [name for name, value in (("text", text), ("text_file", text_file), ("transcripts", transcripts))
             if value is not None]  # fmt: skip
    if not given:
        return {}
    if len(given) > 1:
        raise ValueError(f"{' and '.join(given)}: give one of them")
    if transcripts is not None:
        known = read_transcripts(transcripts)
        if missing := [source for source in sources if source.resolve() not in known]:
            others = f" and {len(missing) - 1} more" if missing[1:] else ""
            raise ValueError(
                f"{transcripts}: no transcript for {missing[0]}{others}; add rows for all inputs, with paths "
                "relative to this table or to the working folder"
            )
        return {source: known[source.resolve()] for source in sources}
    if len(sources) > 1:
        raise ValueError(
            f"{given[0]} is one transcript, but there are {len(sources)} inputs: "
            "give transcripts, a CSV or TSV with the columns path and text"
        )
    if text_file is not None:
        text = " ".join(_read(Path(text_file)).split())
        if not text:
            raise ValueError(f"{text_file}: the file is empty; it should hold a transcript")
    assert text is not None
    return {sources[0]: text}


def read_transcripts(path: str | os.PathLike[str]) -> dict[Path, str]:
    """Read a table of transcripts: a CSV, or a TSV if the suffix says so, in UTF-8.

    The first line names the columns, `path` and `text` among them. Relative paths are taken from the folder of the
    table or, where there is no such file, from the working folder.

    Returns:
        Resolved path -> transcript; files that do not exist are left out.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: it is no such table, a transcript is empty, or a file has two different ones.
    """
    path = Path(path)
    tab = path.suffix.lower() in (".tsv", ".tab")
    rows = csv.DictReader(
        io.StringIO(_read(path)), delimiter="\t" if tab else ",", quoting=csv.QUOTE_NONE if tab else csv.QUOTE_MINIMAL
    )
    names = list(rows.fieldnames or [])
    if not {"path", "text"} <= set(names):
        got = ", ".join(names) or "none"
        raise ValueError(f"{path}: expected a first line with the columns path and text, got {got}")
    found: dict[Path, str] = {}
    for row in rows:
        where, text = f"{path}, line {rows.line_num}", (row["text"] or "").strip()
        if not row["path"]:
            raise ValueError(f"{where}: the path is empty")
        if not text:
            raise ValueError(f"{where}: the transcript of {row['path']} is empty")
        if None in row:
            raise ValueError(f"{where}: more columns than the first line names; a comma inside a text needs quotes")
        file = next((p for p in (path.parent / row["path"], Path(row["path"])) if p.is_file()), None)
        if file is not None and found.setdefault(file.resolve(), text) != text:
            raise ValueError(f"{where}: {row['path']} has another transcript above")
    return found


def _read(path: Path) -> str:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not readable as UTF-8 ({error})") from None
