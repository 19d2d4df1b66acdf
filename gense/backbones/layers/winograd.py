"""3x3 correlation with half the multiplications: Winograd's F(4, 3) along the rows.

Four output rows of a three-tap filter need 12 products per column when written out and 6 here
(Winograd 1980; Lavin & Gray 2016, arXiv:1509.09308, whose matrices for the points 0, 1, -1, 2, -2
and infinity are used).  The row axis alone is transformed: every transform is then a sum of whole
rows, and what remains is six ordinary 1x3 convolutions.  The rounding error of the result in
float32 is about twice that of the direct sum.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

ROWS = 4
"""Output rows per transform; maps given to `correlate` have a multiple of these."""

_FILTER_TRANSFORM = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)


def transform_filters(weight: Tensor) -> list[Tensor]:
    """Turn filters (out, in, 3, 3) into six sets (out, in, 1, 3)."""
    matrix = torch.tensor(_FILTER_TRANSFORM, dtype=weight.dtype, device=weight.device)
    channels_out, channels_in = weight.shape[:2]
    rows_last = weight.permute(2, 0, 3, 1).reshape(3, -1)
    sets = (matrix @ rows_last).view(6, channels_out, 1, 3, channels_in)
    return list(sets.permute(0, 1, 4, 2, 3).unbind())


def correlate(window: Tensor, filters: list[Tensor], bias: Tensor, out: Tensor) -> None:
    """Write the 3x3 correlation of `window` into `out`.

    Args:
        window: rows of the map with one more above and one below, (B, C, R + 2, W), channels last; R a multiple of 4.
        filters: what `transform_filters` returned.
        bias: (B or 1, O, 1, 1), added to every output.
        out: destination, (B, O, R, W).
    """
    batch, channels, height, width = window.shape
    tiles = (height - 2) // ROWS
    row = [window[:, :, k : k + ROWS * (tiles - 1) + 1 : ROWS] for k in range(6)]
    buffer = torch.empty((6, batch, tiles, width, channels), dtype=window.dtype, device=window.device)
    mixed = list(buffer.permute(0, 1, 4, 2, 3).unbind())

    # Rows of Winograd's input matrix, sharing their common sums:
    #   (4,0,-5,0,1,0) (0,-4,-4,1,1,0) (0,4,-4,-1,1,0) (0,-2,-1,2,1,0) (0,2,-1,-2,1,0) (0,4,0,-5,0,1)
    even = torch.add(row[4], row[2], alpha=-4)
    odd = torch.add(row[3], row[1], alpha=-4)
    torch.add(even, odd, out=mixed[1])
    torch.sub(even, odd, out=mixed[2])
    torch.sub(row[4], row[2], out=even)
    torch.sub(row[3], row[1], out=odd)
    torch.add(even, odd, alpha=2, out=mixed[3])
    torch.sub(even, odd, alpha=2, out=mixed[4])
    torch.add(even, torch.sub(row[0], row[2]), alpha=4, out=mixed[0])
    torch.sub(row[5], row[3], out=even)
    torch.sub(even, odd, alpha=4, out=mixed[5])

    part = [F.conv2d(m, f, padding=(0, 1)) for m, f in zip(mixed, filters, strict=True)]
    # Point 1 enters all four output rows with weight 1, so the bias is added once, there.
    part[1].add_(bias)
    sum_one, difference_one = part[1] + part[2], part[1].sub_(part[2])
    sum_two, difference_two = part[3] + part[4], part[3].sub_(part[4])
    # Output matrix: (1,1,1,1,1,0) (0,1,-1,2,-2,0) (0,1,1,4,4,0) (0,1,-1,8,-8,1)
    torch.add(difference_one, difference_two, alpha=2, out=out[:, :, 1::ROWS])
    torch.add(sum_one, sum_two, alpha=4, out=out[:, :, 2::ROWS])
    torch.add(sum_one.add_(sum_two), part[0], out=out[:, :, 0::ROWS])
    torch.add(difference_one.add_(difference_two, alpha=8), part[5], out=out[:, :, 3::ROWS])
