"""Resampling by a windowed sinc with few taps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def sinc_resample(wav: Tensor, rate_in: int, rate_out: int, *, zeros: int = 6, rolloff: float = 0.99) -> Tensor:
    """Resample (B, S) to (B, ceil(S * rate_out / rate_in)) with a Hann-windowed sinc.

    Sample n of the output is the sum over m of x[m] h(n / rate_out - m / rate_in) with
    h(t) = c sinc(c t) cos^2(pi c t / (2 zeros)) / rate_in for |c t| < zeros, c = rolloff * min(rate_in, rate_out).
    These are the values with which torchaudio resamples by default, and so the front end of models that were trained
    behind it. The short filter lets images near the lower Nyquist frequency through; to convert files, take
    `gense.audio.resample`.

    Args:
        wav: (B, S), beyond its ends taken as zero.
        rate_in: Hz.
        rate_out: Hz.
        zeros: zero crossings of the sinc on each side.
        rolloff: cut-off, as a share of the lower Nyquist frequency.
    """
    if rate_in == rate_out:
        return wav
    common = math.gcd(rate_in, rate_out)
    step, phases = rate_in // common, rate_out // common
    # From here on time is counted in input samples: output p of each group of `phases` lies at p * step / phases
    cutoff = rolloff * min(1.0, phases / step)
    reach = math.ceil(zeros / cutoff)
    taps = torch.arange(-reach, reach + step, dtype=torch.float64, device="cpu")
    offsets = torch.arange(phases, dtype=torch.float64, device="cpu") * step / phases
    crossings = (cutoff * (taps - offsets[:, None])).clamp(-zeros, zeros)
    kernel = cutoff * torch.sinc(crossings) * torch.cos(math.pi * crossings / (2 * zeros)) ** 2
    padded = F.pad(wav, (reach, reach + step))
    # Under autocast, a convolution of half precision would put noise 50 dB under the signal into its empty band
    with torch.autocast(wav.device.type, enabled=False):
        out = F.conv1d(padded[:, None], kernel[:, None].to(wav), stride=step)
    length = -(-wav.shape[-1] * phases // step)
    return out.transpose(1, 2).flatten(1)[:, :length]
