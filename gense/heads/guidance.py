"""Conditions left out: at random in training, on purpose beside the others in sampling."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from gense.types import Condition


def null_like(value: Tensor) -> Tensor:
    """The null condition of the shape of `value`: zeros for features, -1, their padding, for tokens."""
    features = value.is_floating_point() or value.is_complex()
    return torch.zeros_like(value) if features else torch.full_like(value, -1)


def drop(cond: Condition, dropout: Mapping[str, float], together: float) -> Condition:
    """Replace conditions of random items by null conditions (Ho & Salimans 2022), for training.

    Args:
        cond: conditions by name, each (B, ...).
        dropout: name -> probability with which an item loses this condition.
        together: probability with which an item loses all that `dropout` names.
    """
    some = next(iter(cond.values()))
    all_gone = torch.rand(len(some), device=some.device) < together
    dropped = dict(cond)
    for name, share in dropout.items():
        if name in cond:
            value = cond[name]
            gone = all_gone | (torch.rand(len(value), device=value.device) < share)
            dropped[name] = torch.where(gone.reshape(-1, *[1] * (value.ndim - 1)), null_like(value), value)
    return dropped


def beside_null(cond: Condition, names: Collection[str]) -> Condition:
    """A batch of twice the size (2B, ...): the conditions, then the same with those of `names` null."""
    return {
        name: torch.cat([value, null_like(value) if name in names else value]) for name, value in cond.items()
    }
