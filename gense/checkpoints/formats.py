"""Published checkpoint formats, recognised from their keys."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor

from gense.checkpoints import convert_flowmse, convert_flowse, convert_gense, convert_pase, convert_sgmse, convert_storm
from gense.checkpoints.folder import shortened
from gense.checkpoints.pickled import read_checkpoint

# One module per format, each with `recognise(checkpoint)` and `convert(checkpoint)`; the first that recognises counts
FORMATS = (convert_storm, convert_sgmse, convert_flowmse, convert_flowse, convert_gense, convert_pase)
# Those of which a model is more than one file: their `convert` takes the checkpoint's folder, too
OF_SEVERAL_FILES = (convert_flowse, convert_gense, convert_pase)
# Files by which a folder is known to hold a model of these
_NAMES = (convert_pase.CHECKPOINT, convert_gense.ACOUSTIC)


def checkpoint_in(folder: Path) -> Path | None:
    """The published checkpoint in a folder that its name tells, with which the others there are read; or None."""
    return next((folder / name for name in _NAMES if (folder / name).is_file()), None)


def convert_file(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, Tensor], str]:
    """Read a published checkpoint.

    Returns:
        The configuration of an enhancer, its weights, and the name of the format.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a checkpoint, not safe, of no known format, or not convertible.
    """
    checkpoint = read_checkpoint(path)
    for module in FORMATS:
        if module.recognise(checkpoint):
            try:
                folder = [Path(path).parent] if module in OF_SEVERAL_FILES else []
                config, state = module.convert(checkpoint, *folder)
            except ValueError as error:
                raise ValueError(f"{path}: {shortened(error)}") from error
            except (TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError) as error:
                # Values and tensors of other types and shapes than the format has
                raise ValueError(f"{path}: damaged, or of an unknown version ({shortened(error)})") from error
            return config, state, module.__name__.rpartition("convert_")[2]
    names = ", ".join(module.__name__.rpartition("convert_")[2] for module in FORMATS)
    keys = ", ".join(shortened(key)[:40] for key in list(checkpoint)[:8] if isinstance(key, str)) or "none"
    raise ValueError(f"{path}: not a checkpoint of a known format ({names}); its top-level keys are: {keys}")
