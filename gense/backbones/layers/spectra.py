"""What networks on complex spectra do with their inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from gense.types import Condition


def side_by_side(x: Tensor, cond: Condition, inputs: int) -> Tensor:
    """State and conditions, each complex (B, 1, F, T), as (B, inputs, F, T).

    Raises:
        ValueError: there are more or fewer of them than `inputs`.
    """
    spectra = torch.cat([x, *cond.values()], dim=1)
    if spectra.shape[1] != inputs:
        raise ValueError(
            f"got {spectra.shape[1]} input spectra (state, {', '.join(cond) or 'no condition'}), "
            f"the network was built with inputs={inputs}"
        )
    return spectra
