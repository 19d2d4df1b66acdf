"""The nearest of many points, the step from features to tokens."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(x: Tensor, points: Tensor) -> Tensor:
    """Index of the point at the least Euclidean distance.

    Always in float32: half precision has no room for the small differences that decide between points.

    Args:
        x: (..., D).
        points: (N, D).

    Returns:
        int64 (...), from 0 to N - 1; the first of equally near points.
    """
    with torch.autocast(x.device.type, enabled=False):
        points = points.float()
        # |x - p|^2 = |x|^2 - 2 (x.p - |p|^2 / 2), of which |x|^2 is the same for all and only costs digits
        return (x.float() @ points.T - points.square().sum(dim=-1) / 2).argmax(dim=-1)
