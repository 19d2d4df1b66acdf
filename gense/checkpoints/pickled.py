"""PyTorch checkpoints from strangers, read without running anything in them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import torch

from gense.checkpoints.untrusted import check_file, check_tensors, unreadable


class Reference:
    """Stands for a class that a checkpoint names and nobody needs; does nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass


# Lightning stores hyper-parameters as they were given: the training scripts of the SGMSE+ family leave a class of
# their own there, Lightning itself its callbacks, pathlib the path of a file.
_INERT = ("sgmse.", "flowmse.", "lightning.", "pytorch_lightning.", "pathlib.")


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a `torch.save` file with PyTorch's restricted unpickler.

    References to classes of the projects whose checkpoints gense converts become inert placeholders; nothing is
    imported or executed. Any other reference is refused.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint, is cut off, holds no mapping, names other code, or stands for far more than its
            size can hold, see `untrusted`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: the file is empty (0 bytes)")
    check_file(path)
    try:
        foreign = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # not a zip archive, or a damaged one: the loader below refuses it
        foreign = []
    _refuse_code(path, [name for name in foreign if not name.startswith(_INERT)])
    try:
        with torch.serialization.safe_globals([(Reference, name) for name in foreign]):
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged and hostile files make the unpickler fail in any way
        # PyTorch's own message advises to load the file without its safeguards: it is not passed on
        _refuse_code(path, re.findall(r"GLOBAL ([\w.]+)", str(error))[:1])
        raise unreadable(path) from None
    if not isinstance(checkpoint, dict):
        raise ValueError(f"{path}: holds a {type(checkpoint).__name__}, expected a mapping")
    check_tensors(path, checkpoint)
    return checkpoint


def _refuse_code(path: Path, names: list[str]) -> None:
    if names:
        raise ValueError(
            f"{path}: the pickle refers to code ({', '.join(names)}); it was refused and nothing was executed. "
            "Ask its author for safetensors or a plain state_dict"
        )
