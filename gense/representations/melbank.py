"""Triangular filterbanks on the mel scale."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

# Slaney's scale (Auditory Toolbox, 1998): linear up to 1 kHz, then 27 steps to a factor of 6.4.
_LINEAR = 200.0 / 3.0
_KNEE = 1000.0
_STEP = math.log(6.4) / 27.0


def _to_mel(hertz: float, scale: str) -> float:
    if scale == "htk":
        return 2595.0 * math.log10(1.0 + hertz / 700.0)
    if hertz < _KNEE:
        return hertz / _LINEAR
    return _KNEE / _LINEAR + math.log(hertz / _KNEE) / _STEP


def _to_hertz(mel: Tensor, scale: str) -> Tensor:
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    knee = _KNEE / _LINEAR
    return torch.where(mel < knee, mel * _LINEAR, _KNEE * torch.exp(_STEP * (mel - knee)))


def mel_filterbank(
    bins: int,
    sample_rate: float,
    bands: int,
    *,
    f_min: float = 0.0,
    f_max: float | None = None,
    scale: Literal["htk", "slaney"] = "htk",
    norm: Literal["none", "slaney"] = "none",
) -> Tensor:
    """Weights that sum the bins of a one-sided spectrum into mel bands, float32 (bands, bins).

    Band b is a triangle between three neighbouring ones of `bands + 2` frequencies that are equally spaced in mel:
    m = 2595 log10(1 + f / 700) for "htk", Slaney's piecewise scale for "slaney".

    Args:
        bins: of the spectrum, evenly spaced from 0 to sample_rate / 2.
        sample_rate: Hz.
        bands: number of bands.
        f_min: lower end of the first band, Hz.
        f_max: upper end of the last band, Hz; None is half the sampling rate.
        scale: of the spacing.
        norm: "none": each triangle has height 1; "slaney": area 1 over frequency in Hz.
    """
    top = sample_rate / 2 if f_max is None else f_max
    # torchaudio, whence the weights of HTK scale that networks were trained with, rounds every step to single precision
    dtype = torch.float32 if scale == "htk" else torch.float64
    mels = torch.linspace(_to_mel(f_min, scale), _to_mel(top, scale), bands + 2, dtype=dtype)
    corners = _to_hertz(mels, scale)
    frequencies = torch.linspace(0, sample_rate / 2, bins, dtype=dtype)
    low, centre, high = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    weights = torch.minimum(rising, falling).clamp(min=0.0)
    if norm == "slaney":
        weights = weights * 2.0 / (high - low)
    return weights.float()
