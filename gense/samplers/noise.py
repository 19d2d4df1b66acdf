"""Sources of noise for the samplers' `noise` argument: functions like -> unit Gaussian noise shaped like `like`.

All draw on the CPU and then move, so a seed gives the same numbers on every device. Complex noise has E|z|^2 = 1.
PyTorch's CPU generator uses the low 32 bits of a seed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from itertools import count

import torch
from torch import Tensor

from .types import Noise

__all__ = ["by_frame", "gaussian", "per_item", "replay"]


def gaussian(seed: int | torch.Generator) -> Noise:
    """Return noise from one stream: a result depends on the seed, the shape of the batch and the number of draws.

    Args:
        seed: an integer in [0, 2^64), or a CPU generator, which is advanced by each draw.

    Raises:
        ValueError: the seed is out of its range, or the generator is not on the CPU.
    """
    generator = seed if isinstance(seed, torch.Generator) else _generator(_check_seed(seed))
    if generator.device.type != "cpu":
        raise ValueError(f"generator on {generator.device}: need a CPU generator; its noise is moved to any device")
    return lambda like: _draw(like.shape, like, generator).to(like)


def per_item(seeds: Sequence[int]) -> Noise:
    """Return noise with a stream for each item: item i depends on seeds[i] and its own shape, not on its neighbours.

    Args:
        seeds: an integer in [0, 2^64) per item of the batch.

    Raises:
        ValueError: a seed is out of its range; when drawing: the batch has another size.
    """
    generators = [_generator(_check_seed(seed)) for seed in seeds]

    def draw(like: Tensor) -> Tensor:
        if len(like) != len(generators):
            raise ValueError(f"per_item: {len(generators)} seeds for a batch of {len(like)}: need one for each item")
        return torch.stack([_draw(like.shape[1:], like, generator) for generator in generators]).to(like)

    return draw


BLOCK = 64
"""Frames that `by_frame` draws from one generator. Changing it changes the noise of every seed."""


def by_frame(seed: int, starts: Sequence[int] = (0,)) -> Noise:
    """Return noise that belongs to absolute frames, so that overlapping chunks of a recording draw the same.

    The k-th draw at absolute frame n depends on (seed, k, n) and the feature shape (all axes between batch and time),
    not on the length of the tensor, the size of the batch or the other items. Items with equal starts get equal noise.

    Args:
        seed: an integer in [0, 2^64).
        starts: absolute frame, >= 0, at which each item of the batch starts; a single one serves the whole batch.

    Raises:
        ValueError: seed or a start is out of its range; when drawing: the batch has another size, or no time axis.
    """
    seed = _check_seed(seed)
    firsts = [operator.index(start) for start in starts]
    if not firsts or min(firsts) < 0:
        raise ValueError(f"starts={list(starts)}: need at least one frame number, each >= 0")
    draws = count()

    def draw(like: Tensor) -> Tensor:
        if like.ndim < 2:
            raise ValueError(f"by_frame: shape {tuple(like.shape)}: need (B, *feature, T)")
        if len(firsts) not in (1, len(like)):
            raise ValueError(f"by_frame: {len(firsts)} starts for a batch of {len(like)}: need one, or one each")
        k, length, feature = next(draws), like.shape[-1], like.shape[1:-1]
        blocks: dict[int, Tensor] = {}
        items: dict[int, Tensor] = {}
        for first in firsts:
            if first in items:
                continue
            numbers = range(first // BLOCK, -(-(first + length) // BLOCK))
            for number in numbers:
                if number not in blocks:
                    # frames lead, so that a block's values do not depend on how many of them are used
                    blocks[number] = _draw((BLOCK, *feature), like, _generator(_mix(seed, k, number)))
            offset = first - numbers.start * BLOCK
            frames = torch.cat([blocks[number] for number in numbers])[offset : offset + length]
            items[first] = frames.movedim(0, -1)
        batch = firsts * len(like) if len(firsts) == 1 else firsts
        return torch.stack([items[first] for first in batch]).to(like)

    return draw


def replay(tensors: Iterable[Tensor]) -> Noise:
    """Return recorded noise, in order: for comparing with another implementation on its own draws.

    Args:
        tensors: one tensor per draw, shaped like the state it is drawn for; or one tensor with the draws as first axis.

    Raises:
        ValueError: when drawing: all are used up, or the next one has another shape or is complex for a real state.
    """
    recorded = list(tensors)
    draws = count()

    def draw(like: Tensor) -> Tensor:
        k = next(draws)
        if k >= len(recorded):
            raise ValueError(f"replay: draw {k + 1} asked for, but only {len(recorded)} were recorded")
        if recorded[k].shape != like.shape or recorded[k].is_complex() != like.is_complex():
            raise ValueError(
                f"replay: draw {k + 1} was recorded as {recorded[k].dtype} {tuple(recorded[k].shape)}, "
                f"asked for as {like.dtype} {tuple(like.shape)}"
            )
        return recorded[k].to(like)

    return draw


def _draw(shape: Iterable[int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw on the CPU, in double precision for double `like` and else in single (half types are rounded afterwards)."""
    double = like.dtype in (torch.float64, torch.complex128)
    if like.is_complex():
        dtype = torch.complex128 if double else torch.complex64
    else:
        dtype = torch.float64 if double else torch.float32
    return torch.randn(tuple(shape), dtype=dtype, generator=generator)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_seed(seed: int) -> int:
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise ValueError(f"seed={seed}: need an integer in [0, 2^64)")
    return seed


def _mix(*words: int) -> int:
    """Hash integers to 64 well mixed bits by rounds of SplitMix64 (Steele, Lea and Flood 2014)."""
    mask = 2**64 - 1
    state = 0
    for word in words:
        state = (state + word + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state
