"""Means in the log of a validation that several processes share."""

from __future__ import annotations

from typing import TypedDict

import torch


class Shared(TypedDict):
    """Settings of `LightningModule.log`."""

    batch_size: int
    sync_dist: bool


def shared() -> Shared:
    """How the score of one recording is logged, so that its mean over the recordings of all processes is exact.

    Lightning divides by the mean number of items of a process, rounded to a whole number, which is wrong where
    processes have unequal shares. Counting each recording once for each process keeps that mean whole.
    """
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return {"batch_size": torch.distributed.get_world_size() if together else 1, "sync_dist": True}
