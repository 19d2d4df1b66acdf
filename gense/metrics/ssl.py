"""Features of self-supervised speech models: WavLM, HuBERT, wav2vec 2.0 and their relatives."""

from __future__ import annotations

import math

import numpy as np
import torch

from gense.ssl import load_network

from .signals import Signal, UndefinedScore, as_signal, at_rate

RATE = 16000
PIECE_SECONDS = 40  # Attention takes memory with the square of the length


def features(
    wav: Signal,
    sample_rate: int,
    *,
    model: str = "microsoft/wavlm-large",
    layer: int = 14,
    revision: str | None = None,
    device: str = "cpu",
) -> np.ndarray:
    """What a layer of a self-supervised model makes of a signal, one vector for every 20 ms.

    The samples enter as they are, without the normalisation that some models come with: so do the published measures
    that build on these features. Frame t covers samples 320 t to 320 t + 400 at 16 kHz. Signals of more than 40 s are
    computed in pieces on the same grid of frames.

    Args:
        wav: (S,), full scale 1.0.
        sample_rate: Hz; any other than 16 kHz is resampled first.
        model: as `gense.ssl.load_network` takes it: a model of the hub, a folder, a file of the original WavLM code.
        layer: 0 is the input of the first layer, i the output of layer i, before any normalisation that follows the
            last one.
        revision: branch, tag or commit on the hub.
        device: where to compute.

    Returns:
        (T, C) float32.

    Raises:
        ImportError: transformers is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        UndefinedScore: the signal is silent or shorter than a frame (25 ms).
        ValueError: not a model of that kind, no such layer, or a signal that is not (S,) or not finite.
    """
    signal = at_rate(as_signal(wav, "wav"), sample_rate, RATE).astype(np.float32)
    network = load_network(model, revision, device)
    network.check([layer])
    hop, width = network.hop_length, network.width
    if signal.size < width:
        raise UndefinedScore(f"wav has {signal.size / RATE:.3f} s: at least {width / RATE:.3f} s make a frame")
    frames = (signal.size - width) // hop + 1
    most = PIECE_SECONDS * RATE // hop
    length = math.ceil(frames / math.ceil(frames / most))
    ends = [hop * (k - 1) + width for k in range(length, frames, length)] + [signal.size]
    pieces = [signal[hop * length * k : end] for k, end in enumerate(ends)]
    with torch.no_grad():
        states = [network(torch.from_numpy(piece)[None].to(device), [layer])[0].cpu() for piece in pieces]
    return torch.cat(states, dim=-1)[0].T.float().numpy()
