"""Codebooks of one frame in steps of their own, so that a language model can take all of them at once."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def delay(tokens: Tensor, fill: int) -> Tensor:
    """Shift codebook k by k steps to the right: the delay pattern of MusicGen (Copet et al. 2023, section 2.2).

    Step s then holds codebook k of frame s - k. A model that predicts all entries of a step at once sees of the same
    frame the codebooks before k, which codebook k refines, and needs T + K - 1 calls instead of K T.

    Args:
        tokens: (B, K, T).
        fill: id for entries that belong to no frame, K (K - 1) of them, half at each end.

    Returns:
        (B, K, T + K - 1), entry s of codebook k being tokens[:, k, s - k], or `fill` where s - k is no frame.
    """
    streams = tokens.shape[1]
    # Rows of length T + K behind each other, K entries of filling after each; read with T + K - 1 entries a row, every
    # row starts one later than the row before it
    steps = tokens.shape[-1] + streams - 1
    return F.pad(tokens, (0, streams), value=fill).flatten(1)[:, : streams * steps].unflatten(1, (streams, steps))


def undelay(delayed: Tensor) -> Tensor:
    """Turn (B, K, T + K - 1) of `delay` back into (B, K, T); what stands in the entries of no frame is dropped.

    Raises:
        ValueError: fewer than K steps, hence no frame.
    """
    streams, steps = delayed.shape[1:]
    if steps < streams:
        raise ValueError(f"{steps} steps of {streams} codebooks: the first frame is complete after {streams}")
    frames = steps - streams + 1
    return F.pad(delayed.flatten(1), (0, streams)).unflatten(1, (streams, steps + 1))[..., :frames]
