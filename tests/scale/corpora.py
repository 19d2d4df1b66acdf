"""Small corpora in every form in which they come."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile

from gense.scale.places import locate

RATE = 16000


def speech(seed: int, samples: int = 1600, channels: int = 1) -> np.ndarray:
    """Noise below full scale, float32 (S, C)."""
    return (0.1 * np.random.default_rng(seed).standard_normal((samples, channels))).astype(np.float32)


def sound(seed: int, samples: int = 1600, format: str = "WAV", subtype: str | None = None) -> bytes:
    """A file of such noise."""
    file = io.BytesIO()
    soundfile.write(file, speech(seed, samples), RATE, format=format, subtype=subtype)
    return file.getvalue()


def store(base: str, files: Mapping[str, bytes]) -> None:
    """Write files below a folder on any file system."""
    for name, data in files.items():
        fs, path = locate(f"{base}/{name}")
        fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        fs.pipe_file(path, data)


def tar(files: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar file of these members."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return file.getvalue()


def table(columns: Mapping[str, Sequence[Any]], group: int = 2, **types: pa.DataType) -> bytes:
    """A Parquet file with row groups of that many rows."""
    made = {name: pa.array(values, types.get(name)) for name, values in columns.items()}
    file = io.BytesIO()
    pq.write_table(pa.table(made), file, row_group_size=group, write_batch_size=4)
    return file.getvalue()


def everything_in(folder: Path) -> set[str]:
    """Names of all files below a folder, hidden ones, too."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
