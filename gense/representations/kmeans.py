"""The centres of clusters (Lloyd 1982)."""

from __future__ import annotations

import torch
from torch import Tensor

from gense.representations.nearest import nearest

_BLOCK = 16384  # points whose distances to all centres are in memory at once


@torch.no_grad()
def kmeans(points: Tensor, clusters: int, *, rounds: int = 50, seed: int = 0) -> Tensor:
    """Place centres such that points lie near them: each becomes the mean of the points that it is nearest to, again.

    It begins with points drawn at random. A centre that is nearest to none moves to the point that is worst off.

    Args:
        points: (N, D).
        clusters: number of centres, at most N.
        rounds: most rounds; fewer where nothing moves any more.
        seed: of the draw.

    Returns:
        (clusters, D) float32.

    Raises:
        ValueError: fewer points than clusters, or a number under 1.
    """
    if points.ndim != 2 or not 1 <= clusters <= len(points) or rounds < 1:
        raise ValueError(
            f"points {tuple(points.shape)}, clusters={clusters}, rounds={rounds}: need (N, D) with N >= clusters >= 1, "
            "and rounds >= 1"
        )
    points = points.float()
    first = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))[:clusters]
    centres = points[first.to(points.device)]
    for _ in range(rounds):
        ids = torch.cat([nearest(block, centres) for block in points.split(_BLOCK)])
        counts = torch.bincount(ids, minlength=clusters)
        moved = torch.zeros_like(centres).index_add_(0, ids, points) / counts.clamp(min=1)[:, None]
        if empty := int((counts == 0).sum()):
            worst = (points - centres[ids]).square().sum(dim=-1).topk(empty).indices
            moved[counts == 0] = points[worst]
        if moved.equal(centres):
            break
        centres = moved
    return centres
