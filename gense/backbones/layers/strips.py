"""Normalise, activate and convolve a large map a strip of rows at a time.

On a CPU the layers between two convolutions cost as much as memory is slow: each reads and writes
a map of tens of megabytes, and each new map of that size is memory that the system must first hand
out and clear.  Here a strip of rows passes through all of them while it is in the cache, and the
result goes into one map.  Values are those of the plain layers up to float32 rounding.

For inference only: everything is written in place, so nothing can be differentiated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers import winograd

Affine = tuple[Tensor, Tensor]
"""Gain and offset of each channel, (B, C, 1, 1)."""

# Bytes of one strip: fits in a second- or third-level cache together with its transforms.
_STRIP_BYTES = 4 << 20
# Below this many positions the transform of the filters costs more than it saves.
_WINOGRAD_POSITIONS = 2048


def suits(x: Tensor) -> bool:
    """Whether strips are possible and pay: a float32 map on a CPU, nothing recorded for gradients or compilation."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _strips(height: int, bytes_per_row: int) -> Iterator[tuple[int, int]]:
    count = max(_STRIP_BYTES // bytes_per_row // winograd.ROWS, 1) * winograd.ROWS
    for start in range(0, height, count):
        yield start, min(start + count, height)


def _row_bytes(parts: Sequence[Tensor]) -> int:
    return sum(part[:, :, 0].numel() * part.element_size() for part in parts)


def rows(parts: Sequence[Tensor], start: int, stop: int) -> Tensor:
    """Rows of the maps `parts`, concatenated along the channels."""
    if len(parts) == 1:
        return parts[0][:, :, start:stop]
    return torch.cat([part[:, :, start:stop] for part in parts], dim=1)


def normalisation(parts: Sequence[Tensor], norm: nn.GroupNorm) -> Affine:
    """Group norm of the concatenated maps (B, C_i, H, W), as one gain and offset per channel.

    Moments are taken per strip and merged by the law of total variance, which cancels nothing.
    """
    height = parts[0].shape[2]
    channels = norm.num_channels
    sizes, means, variances = [], [], []
    for start, stop in _strips(height, _row_bytes(parts)):
        strip = rows(parts, start, stop).contiguous(memory_format=torch.channels_last)
        batch, _, count, width = strip.shape
        _, mean, rstd = torch.native_group_norm(
            strip, None, None, batch, channels, count * width, norm.num_groups, norm.eps
        )
        sizes.append(count / height)
        means.append(mean)
        variances.append(rstd.pow(-2) - norm.eps)
    weight = torch.tensor(sizes)[:, None, None]
    mean_of_strips = torch.stack(means)
    mean = (weight * mean_of_strips).sum(0)
    variance = (weight * (torch.stack(variances) + (mean_of_strips - mean).square())).sum(0)
    rstd = torch.rsqrt(variance.clamp(min=0) + norm.eps)
    per_group = channels // norm.num_groups
    gain = rstd.repeat_interleave(per_group, dim=1) * norm.weight
    offset = norm.bias - mean.repeat_interleave(per_group, dim=1) * gain
    return gain[:, :, None, None], offset[:, :, None, None]


def activate(parts: Sequence[Tensor], affine: Affine, out: Tensor) -> Tensor:
    """Write SiLU(gain * x + offset) of the concatenated maps into `out`, (B, C, H, W), and return it."""
    gain, offset = affine
    first = 0
    for part in parts:
        last = first + part.shape[1]
        torch.addcmul(offset[:, first:last], part, gain[:, first:last], out=out[:, first:last])
        first = last
    return F.silu(out, inplace=True)


def convolve(
    parts: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor,
    *,
    affine: Affine | None = None,
    residual: Callable[[int, int], Tensor] | None = None,
    residual_gain: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """3x3 correlation of concatenated maps, zeros outside, with what surrounds it in a residual block.

    Args:
        parts: maps (B, C_i, H, W), channels last.
        weight: (O, sum of C_i, 3, 3).
        bias: (B or 1, O).
        affine: when given, the input of the correlation is SiLU(gain * x + offset).
        residual: function of a range of rows that returns (B, O, rows, W), added to the result.
        residual_gain: factor of the residual.
        out: where to write, (B, O, H, W), channels last; it may be the only map of `parts`.

    Returns:
        `out`, or a new map.
    """
    batch, _, height, width = parts[0].shape
    channels = weight.shape[1]
    if out is None:
        out = torch.empty(
            (batch, weight.shape[0], height, width), dtype=weight.dtype, memory_format=torch.channels_last
        )
    fast = height % winograd.ROWS == 0 and batch * height * width >= _WINOGRAD_POSITIONS
    filters = winograd.transform_filters(weight) if fast else []
    bias = bias[:, :, None, None]
    above: Tensor | None = None
    for start, stop in _strips(height, _row_bytes(parts)):
        # The window has the strip's rows and one more on either side.  Its first two rows are the last two of the
        # window before: they need not be computed again, and `out` may have overwritten them.
        window = torch.empty(
            (batch, channels, stop - start + 2, width), dtype=weight.dtype, memory_format=torch.channels_last
        )
        if above is None:
            window[:, :, 0] = 0
            known, first = 1, start
        else:
            window[:, :, :2] = above
            known, first = 2, start + 1
        last = min(stop + 1, height)
        fresh = window[:, :, known : known + last - first]
        source = [part[:, :, first:last] for part in parts]
        if affine is None:
            torch.cat(source, dim=1, out=fresh)
        else:
            activate(source, affine, fresh)
        if stop == height:
            window[:, :, -1] = 0
        above = window[:, :, -2:]
        target = out[:, :, start:stop]
        extra = None if residual is None else residual(start, stop)
        if fast:
            winograd.correlate(window, filters, bias, target)
        else:
            torch.add(F.conv2d(window, weight, padding=(0, 1)), bias, out=target)
        if extra is not None:
            target.add_(extra, alpha=residual_gain)
    return out
