"""Where a run leaves its files."""

from __future__ import annotations

from pathlib import Path

import lightning


def run_folder(trainer: lightning.Trainer) -> Path:
    """The folder of a run's logs. All processes have to ask, for they agree on it: one alone would wait for ever."""
    return Path(trainer.log_dir or trainer.default_root_dir)
