"""Bins of a spectrum in bands, each with weights of its own (Luo & Yu 2023, band-split RNN)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

Bands = Sequence[tuple[int, int]]
"""Groups of neighbouring bands from the lowest bin up, each as (number of bands, bins in a band)."""


class LinearPerBand(nn.Module):
    """A linear layer for each band of a group: (B, bands, T, size_in) -> (B, bands, T, size_out).

    Args:
        bands: number of bands.
        size_in: features that come in.
        size_out: features that go out.
        zero: whether the weights start at zero.
    """

    def __init__(self, bands: int, size_in: int, size_out: int, *, zero: bool = False):
        super().__init__()
        bound = 0.0 if zero else size_in**-0.5
        self.weight = nn.Parameter(torch.empty(bands, size_in, size_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(bands, 1, size_out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.matmul(x, self.weight) + self.bias


class BandSplit(nn.Module):
    """Features of bins to features of bands, (B, F, T, features) -> (B, N, T, dim).

    Args:
        bands: the bands, together F bins.
        features: of a bin.
        dim: of a band.
    """

    def __init__(self, bands: Bands, features: int, dim: int):
        super().__init__()
        self.bands = tuple((count, width) for count, width in bands)
        self.layers = nn.ModuleList(LinearPerBand(count, width * features, dim) for count, width in self.bands)

    def forward(self, x: Tensor) -> Tensor:
        groups = x.split([count * width for count, width in self.bands], dim=1)
        parts = [
            layer(group.unflatten(1, (count, width)).transpose(2, 3).flatten(3))
            for layer, group, (count, width) in zip(self.layers, groups, self.bands, strict=True)
        ]
        return torch.cat(parts, dim=1)


class BandJoin(nn.Module):
    """Features of bands to features of bins, (B, N, T, dim) -> (B, F, T, features); zero at first.

    Args:
        bands: the bands, N together.
        dim: of a band.
        features: of a bin.
    """

    def __init__(self, bands: Bands, dim: int, features: int):
        super().__init__()
        self.bands = tuple((count, width) for count, width in bands)
        self.layers = nn.ModuleList(
            LinearPerBand(count, dim, width * features, zero=True) for count, width in self.bands
        )

    def forward(self, x: Tensor) -> Tensor:
        groups = x.split([count for count, _ in self.bands], dim=1)
        parts = [
            layer(group).unflatten(3, (width, -1)).transpose(2, 3).flatten(1, 2)
            for layer, group, (_, width) in zip(self.layers, groups, self.bands, strict=True)
        ]
        return torch.cat(parts, dim=1)
