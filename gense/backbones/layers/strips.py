"""Normalise, activate and convolve a large map a strip of rows at a time.

On a CPU the layers between two convolutions cost as much as memory is slow: each reads and writes
a map of tens of megabytes, and each new map of that size is memory that the system must first hand
out and clear.  Here a strip of rows passes through all of them while it is in the cache, and the
result goes into one map.  Values are those of the plain layers up to float32 rounding.

For inference only: everything is written in place, so nothing can be differentiated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers import winograd

Affine = tuple[Tensor, Tensor]
"""Gain and offset of each channel, (B, C, 1, 1)."""

# Bytes of one strip: small enough for a third-level cache together with its transforms, large enough that the threads
# have something to share.  Between 4 and 16 MiB the measured times differ by about a tenth.
_STRIP_BYTES = 8 << 20
# Positions over which moments are taken at once: the rounding grows with them, the calls with their inverse.
_MOMENT_POSITIONS = 2048
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


def normalisation(parts: Sequence[Tensor], norm: nn.GroupNorm) -> Affine:
    """Group norm of concatenated maps (B, C_i, H, W), channels last, as one gain and offset per channel.

    The moments of the channels are taken first, by a reduction that subtracts the mean before squaring, and merged by
    the law of total variance: a nearly constant map keeps its variance, which the native channels-last norm loses.
    """
    moments = [_moments(part) for part in parts]
    shape = (parts[0].shape[0], norm.num_groups, -1)
    means = torch.cat([mean for mean, _ in moments], dim=1).view(shape)
    variances = torch.cat([variance for _, variance in moments], dim=1).view(shape)
    mean = means.mean(dim=2, keepdim=True)
    variance = (variances + (means - mean).square()).mean(dim=2, keepdim=True)
    gain = torch.rsqrt(variance + norm.eps) * norm.weight.view(1, norm.num_groups, -1)
    offset = norm.bias.view(1, norm.num_groups, -1) - mean * gain
    return gain.flatten(1)[:, :, None, None], offset.flatten(1)[:, :, None, None]


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of each channel of each item, (B, C) each."""
    # Batch norm's statistics mix the items, so each goes alone, and add up number after number, so that over a long map
    # the rounding grows to 1e-4 of the deviation: each goes in blocks of rows, which are then merged.
    rows = max(_MOMENT_POSITIONS // x.shape[3], 1)
    share = torch.tensor([block.shape[2] / x.shape[2] for block in x[:1].split(rows, dim=2)])[:, None]
    means, variances = [], []
    for item in x.split(1):
        blocks = [torch.batch_norm_update_stats(block, None, None, 0.0) for block in item.split(rows, dim=2)]
        mean, variance = (torch.stack(values) for values in zip(*blocks, strict=True))
        means.append((share * mean).sum(0))
        variances.append((share * (variance + (mean - means[-1]).square())).sum(0))
    return torch.stack(means), torch.stack(variances)


def activate(parts: Sequence[Tensor], affine: Affine, out: Tensor) -> Tensor:
    """Write SiLU(gain * x + offset) of the concatenated maps into `out`, (B, C, H, W), and return it."""
    gain, offset = affine
    first = 0
    for part in parts:
        last = first + part.shape[1]
        torch.addcmul(offset[:, first:last], part, gain[:, first:last], out=out[:, first:last])
        first = last
    return F.silu(out, inplace=True)


def pointwise(x: Tensor, weight: Tensor) -> Tensor:
    """1x1 convolution of (B, C, H, W), channels last, with (O, C, 1, 1), as one matrix product."""
    return F.linear(x.permute(0, 2, 3, 1), weight.flatten(1)).permute(0, 3, 1, 2)


def convolve(
    parts: Sequence[Tensor],
    weight: Tensor,
    bias: Tensor,
    *,
    affine: Affine | None = None,
    shortcut: Sequence[Tensor] = (),
    shortcut_weight: Tensor | None = None,
    shortcut_gain: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """3x3 correlation of concatenated maps, zeros outside, with what surrounds it in a residual block.

    Args:
        parts: maps (B, C_i, H, W), channels last.
        weight: (O, sum of C_i, 3, 3).
        bias: (B or 1, O).
        affine: when given, SiLU(gain * x + offset) of the parts is what is correlated.
        shortcut: maps to add to the result: one (B, O, H, W), or any when `shortcut_weight` is given.
        shortcut_weight: (O, channels of the shortcut, 1, 1), applied to the concatenated shortcut.
        shortcut_gain: factor of the shortcut.
        out: where to write, (B, O, H, W), channels last; it may be the only map of `parts`.

    Returns:
        `out`, or a new map.
    """
    batch, _, height, width = parts[0].shape
    channels_out, channels_in = weight.shape[:2]
    if out is None:
        out = torch.empty((batch, channels_out, height, width), dtype=weight.dtype, memory_format=torch.channels_last)
    fast = height % winograd.ROWS == 0 and batch * height * width >= _WINOGRAD_POSITIONS
    filters = winograd.transform_filters(weight) if fast else []
    bias = bias[:, :, None, None]
    above: Tensor | None = None
    for start, stop in _strips(height, _row_bytes(parts)):
        # The window has the strip's rows and one more on either side.  Its first two rows are the last two of the
        # window before: they need not be computed again, and `out` may have overwritten them.
        window = torch.empty(
            (batch, channels_in, stop - start + 2, width), dtype=weight.dtype, memory_format=torch.channels_last
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
        if fast:
            winograd.correlate(window, filters, bias, target)
        else:
            torch.add(F.conv2d(window, weight, padding=(0, 1)), bias, out=target)
        added = [part[:, :, start:stop] for part in shortcut]
        if shortcut_weight is not None:
            _add_pointwise(target, added, shortcut_weight, shortcut_gain)
        elif added:
            target.add_(added[0], alpha=shortcut_gain)
    return out


def _add_pointwise(target: Tensor, parts: Sequence[Tensor], weight: Tensor, gain: float) -> None:
    """Add gain times the 1x1 convolution of the concatenated parts to `target`; the product accumulates in place."""
    matrix = weight.flatten(1).T
    first = 0
    for part in parts:
        last = first + part.shape[1]
        for item, source in zip(target, part, strict=True):
            flat = item.permute(1, 2, 0).flatten(0, 1)
            flat.addmm_(source.permute(1, 2, 0).flatten(0, 1), matrix[first:last], alpha=gain)
        first = last
