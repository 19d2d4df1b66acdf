"""Conditions left out: at random in training, on purpose beside the others in sampling."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

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


def guidance_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A user's options that are fields of `Sampling` and belong to guidance, checked, and the others.

    Raises:
        ValueError: a strength that is not a number >= 0, or an interval that is not within 0 to 1.
    """
    own = {name: options[name] for name in ("guidance", "guidance_interval") if name in options}
    if "guidance" in own:
        own["guidance"] = _number(own["guidance"])
        if not 0 <= own["guidance"] < math.inf:
            raise ValueError(f"guidance={options['guidance']!r}: need a number, at least 0")
    if "guidance_interval" in own:
        given = own["guidance_interval"]
        ends = tuple(_number(end) for end in given) if isinstance(given, (list, tuple)) else ()
        if len(ends) != 2 or not 0 <= ends[0] <= ends[1] <= 1:
            raise ValueError(
                f"guidance_interval={given!r}: need two numbers from 0 (the prior) to 1 (the data), the lower first"
            )
        own["guidance_interval"] = ends
    return own, {name: value for name, value in options.items() if name not in own}


def _number(value: Any) -> float:
    """A float, not a number where it is none."""
    return math.nan if isinstance(value, bool) or not isinstance(value, (int, float)) else float(value)
