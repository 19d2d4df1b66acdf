"""The inner core of every way to enhance: pieces through the network, and items of any length cut into them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from gense import samplers
from gense.chunking import Chunking, Plan
from gense.samplers.types import Noise, Step
from gense.text import PADDING, excerpt
from gense.types import Condition, Sampling

if TYPE_CHECKING:
    from gense.enhancer import Enhancer

TEXT = "text"
"""The condition that is made from transcripts."""

SILENCE = 1e-30
"""Peaks below it are silence: numbers too small to be brought to a level, where a model would invent something."""

DIVERGED = "the result holds NaN: sampling diverged; take the method's own options, and float32"


def spare(rate: int, sample_rate: int) -> int:
    """Zeros to put behind a recording, as resampling there and back loses up to a sample of the lower rate."""
    return 0 if rate == sample_rate else -(-rate // sample_rate)


@dataclass(frozen=True)
class Piece:
    """What goes through the network at once.

    Args:
        wav: (L,) at the enhancer's rate and the model's level.
        start: its first sample in the recording, a multiple of the hop; the noise is keyed to it.
        seed: of the noise.
        tokens: ids (N,) of what is said in it; None leaves the condition out.
    """

    wav: Tensor
    start: int
    seed: int
    tokens: Tensor | None = None


def enhance_pieces(
    enhancer: Enhancer,
    pieces: Iterable[Piece],
    *,
    chunk: int,
    batch: int,
    sampling: Sampling | None = None,
    noise: Noise | None = None,
    callback: Callable[[Step], None] | None = None,
    alone: bool | None = None,
) -> Iterator[Tensor]:
    """Yield the result (L',) of each piece, in their order and on their device.

    Pieces that follow each other share a batch where their features have one shape: pieces of one length, and those
    that the representation fills up to the same number of frames. Each is encoded and decoded at its own length.

    On a CPU every piece goes alone: matrix products in another batch size add up in another order, so a result would
    differ in its last bits with its neighbours, and one core is no faster with four pieces than with one.

    Args:
        enhancer: whose network.
        pieces: taken as they are needed.
        chunk: samples of a whole chunk.
        batch: whole chunks that a batch holds; of shorter pieces it holds as many more.
        sampling: overrides the head's own.
        noise: replaces the seeded noise; pieces then go in batches of `batch` on a CPU, too.
        callback: called once a sampling step.
        alone: whether every piece goes alone; None: on a CPU, with seeded noise, unless the network couples items.
    """
    if alone is None:
        coupled = any(getattr(module, "coupled", False) for module in enhancer.head.modules())
        alone = noise is None and enhancer.device.type == "cpu" and not coupled

    def most(length: int) -> int:
        return 1 if alone else batch if noise else max(batch, batch * chunk // length)

    waiting: list[tuple[list[Piece], Condition]] = []
    for run in _runs(pieces, most):
        wav = torch.stack([piece.wav for piece in run])
        cond = enhancer.conditions(wav.to(enhancer.device))
        held = sum(len(other) for other, _ in waiting)
        if held and (held + len(run) > most(wav.shape[-1]) or _shapes(cond) != _shapes(waiting[0][1])):
            yield from _generate(enhancer, waiting, sampling, noise, callback)
            waiting = []
        waiting.append((run, cond))
    if waiting:
        yield from _generate(enhancer, waiting, sampling, noise, callback)


def _runs(pieces: Iterable[Piece], most: Callable[[int], int]) -> Iterator[list[Piece]]:
    """Equally long neighbours, at most `most(length)` together."""
    run: list[Piece] = []
    for piece in pieces:
        if run and (len(piece.wav) != len(run[0].wav) or len(run) >= most(len(piece.wav))):
            yield run
            run = []
        run.append(piece)
    if run:
        yield run


def _shapes(cond: Condition) -> list[tuple[str, torch.Size]]:
    return [(key, value.shape[1:]) for key, value in cond.items()]


def _generate(
    enhancer: Enhancer,
    runs: list[tuple[list[Piece], Condition]],
    sampling: Sampling | None,
    noise: Noise | None,
    callback: Callable[[Step], None] | None,
) -> Iterator[Tensor]:
    """One batch: runs of pieces whose encoded conditions have one shape."""
    pieces = [piece for run, _ in runs for piece in run]
    cond = {key: torch.cat([encoded[key] for _, encoded in runs]) for key in runs[0][1]}
    ids = [piece.tokens for piece in pieces if piece.tokens is not None]
    if ids:
        cond[TEXT] = pad_sequence(ids, True, PADDING).to(enhancer.device)
    draw = noise or _noise(enhancer, pieces)
    with torch.autocast(enhancer.device.type, dtype=enhancer.autocast, enabled=enhancer.autocast is not None):
        features = enhancer.head.generate(cond, sampling=sampling, noise=draw, callback=callback)
    for (run, _), part in zip(runs, features.split([len(run) for run, _ in runs]), strict=True):
        length = -(-len(run[0].wav) * enhancer.output_rate // enhancer.sample_rate)
        yield from enhancer.decode(part, length).to(run[0].wav.device)


def _noise(enhancer: Enhancer, pieces: list[Piece]) -> Noise:
    """Noise by seed and absolute frame: that of a piece does not depend on the others of its batch."""
    hop, frames = enhancer.target.hop_length, enhancer.target.hop_frames
    starts = [piece.start // hop * frames for piece in pieces]
    if len({piece.seed for piece in pieces}) == 1:
        return samplers.by_frame(pieces[0].seed, starts)
    draws = [samplers.by_frame(piece.seed, [start]) for piece, start in zip(pieces, starts, strict=True)]
    return lambda like: torch.cat([draw(item[None]) for draw, item in zip(draws, like, strict=True)])


def enhance_items(
    enhancer: Enhancer,
    items: Sequence[Tensor],
    seeds: Sequence[int],
    *,
    texts: list[str] | None = None,
    sampling: Sampling | None = None,
    noise: Noise | None = None,
    callback: Callable[[Step], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    alone: bool | None = None,
) -> list[Tensor]:
    """Enhance float32 items (S_i,), each brought to the level as a whole and cut on its own plan.

    Args:
        enhancer: whose network.
        items: finite, at its rate.
        seeds: of the noise, one an item.
        texts: checked transcripts, one an item.
        sampling: overrides the head's own.
        noise: replaces the seeded noise, see `enhance_pieces`.
        callback: called once a sampling step.
        progress: called with (chunks done, chunks in all) after each chunk.
        alone: whether every chunk goes alone, see `enhance_pieces`.

    Returns:
        (ceil(S_i * output_rate / sample_rate),) of each item, on its device.
    """
    rate, rate_out, hop = enhancer.sample_rate, enhancer.output_rate, enhancer.target.hop_length
    longest = max(len(item) for item in items)
    chunking = enhancer.chunking or Chunking(longest / rate + 4.0)
    plans = [chunking.plan(len(item), rate, hop) for item in items]
    joined = [plan.at(rate_out, rate) for plan in plans]
    scales = [enhancer.level.scale(item[None])[0] for item in items]
    tokens = None if texts is None else tokens_of(enhancer, texts, plans)
    outs = [item.new_zeros(plan.samples) for item, plan in zip(items, joined, strict=True)]
    jobs = [(item, index) for item, plan in enumerate(plans) for index in range(len(plan.starts))]
    # Stable: items of one length keep their order. The longest first, so that memory runs out at once or not at all
    jobs.sort(key=lambda job: -plans[job[0]].length)

    def cut() -> Iterator[Piece]:
        for item, index in jobs:
            start = plans[item].starts[index]
            wav = plans[item].cut(items[item], start) / scales[item]
            yield Piece(wav, start, seeds[item], None if tokens is None else tokens[item, index])

    chunk = min(longest, chunking.length(rate, hop))
    clean = enhance_pieces(
        enhancer, cut(), chunk=chunk, batch=chunking.batch, sampling=sampling, noise=noise, callback=callback,
        alone=alone,
    )
    for done, ((item, index), piece) in enumerate(zip(jobs, clean, strict=True), 1):
        plan = joined[item]
        start = plan.starts[index]
        stop = min(start + plan.length, plan.samples)
        outs[item][start:stop] += (piece * plan.weight(index).to(piece.device))[: stop - start] * scales[item]
        if progress:
            progress(done, len(jobs))
    for source, out in zip(items, outs, strict=True):
        finish(enhancer, source, out)
    return outs


def finish(enhancer: Enhancer, item: Tensor, out: Tensor) -> None:
    """What concerns a whole result (S',), in place: silence stays silence, and the level of the output."""
    low, high = torch.aminmax(item)
    if max(-low, high) < SILENCE:
        out.zero_()
    if enhancer.output_level is not None:
        out /= enhancer.output_level.scale(out[None, : whole_frames(enhancer, len(out))])[0]


def whole_frames(enhancer: Enhancer, samples: int) -> int:
    """Samples of a result on which `output_level` is measured: its whole frames, or all where it has none."""
    hop, frames = enhancer.target.hop_length, enhancer.target.hop_frames
    frame = max(1, hop * enhancer.output_rate // (enhancer.sample_rate * frames))
    return samples // frame * frame or samples


def tokens_of(enhancer: Enhancer, texts: Sequence[str], plans: Sequence[Plan]) -> dict[tuple[int, int], Tensor]:
    """Token ids (N,) of each (item, chunk): the words spoken in it at an even pace."""
    assert enhancer.text is not None
    jobs = {
        (item, index): excerpt(text, start / plan.samples, (start + plan.length) / plan.samples)
        for item, (text, plan) in enumerate(zip(texts, plans, strict=True))
        for index, start in enumerate(plan.starts)
    }
    ids = enhancer.text(list(jobs.values()))  # all at once, so that what is unknown is told once
    return {job: row[: int((row != PADDING).sum())] for job, row in zip(jobs, ids, strict=True)}
