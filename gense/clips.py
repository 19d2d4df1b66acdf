"""Recordings at any rate through an enhancer at its own: there and back, one or many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gense import audio as audio_io
from gense.core import DIVERGED, spare
from gense.enhancer import Enhancer
from gense.types import Sampling


def at_rate(channel: np.ndarray, rate: int, enhancer: Enhancer) -> Tensor:
    """Resample float32 (S,) to the enhancer's rate."""
    zeros = spare(rate, enhancer.sample_rate)
    wav = audio_io.resample(np.pad(channel, (0, zeros)) if zeros else channel, rate, enhancer.sample_rate)
    return torch.from_numpy(wav if wav.flags.writeable else wav.copy())  # PyTorch knows no read-only memory


def back_at_rate(clean: Tensor, rate: int, samples: int, enhancer: Enhancer) -> np.ndarray:
    """Resample a result (S',) to the recording's rate: float32 (samples,).

    Raises:
        ValueError: it holds NaN.
    """
    if not all(torch.isfinite(bound) for bound in torch.aminmax(clean)):
        raise ValueError(DIVERGED)
    return audio_io.resample(clean.cpu().numpy(), enhancer.output_rate, rate)[:samples]


def enhance_clips(
    enhancer: Enhancer,
    clips: Sequence[tuple[np.ndarray, int]],
    *,
    text: str | Sequence[str] | None = None,
    sampling: Sampling | None = None,
    seed: int | Sequence[int] = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[np.ndarray | ValueError]:
    """Enhance recordings of any lengths, rates and numbers of channels, filling the network's batches across them.

    Each result is what `gense.enhance` gives for it alone; on a CPU bit for bit. See `Enhancer.enhance_many`.

    Args:
        enhancer: whose network.
        clips: float32 (N, S), full scale 1, finite, at least one sample; and its rate in Hz.
        text: what is said, one transcript a clip or one for all; None leaves the condition out.
        sampling: overrides the head's own.
        seed: of the noise; one for all, or one a clip. Channels of a clip draw the same noise.
        progress: called with (chunks done, chunks in all) after each chunk.

    Returns:
        For each clip, in their order: the result, of its shape; or, where it diverged, the error to raise or report.

    Raises:
        ValueError, TypeError: what `Enhancer.enhance_many` raises.
    """
    seeds = list(seed) if isinstance(seed, Sequence) else [seed] * len(clips)
    texts = enhancer.transcripts(text, len(clips))
    if len(seeds) != len(clips):
        raise ValueError(f"seed: {len(seeds)} seeds for {len(clips)} clips; give one each, or one for all")
    owners = [index for index, (channels, _) in enumerate(clips) for _ in channels]
    wavs = [at_rate(channel, rate, enhancer) for channels, rate in clips for channel in channels]
    clean = iter(
        enhancer.enhance_many(
            wavs, text=None if texts is None else [texts[owner] for owner in owners], sampling=sampling,
            seed=[seeds[owner] for owner in owners], progress=progress,
        )
    )
    results: list[np.ndarray | ValueError] = []
    for channels, rate in clips:
        taken = [next(clean) for _ in channels]
        try:
            results.append(np.stack([back_at_rate(one, rate, channels.shape[-1], enhancer) for one in taken]))
        except ValueError as error:
            results.append(error)
    return results
