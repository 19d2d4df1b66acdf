"""Features of self-supervised speech models: WavLM, HuBERT, wav2vec 2.0 and their relatives."""

from __future__ import annotations

import math
from threading import Lock
from typing import Any

import numpy as np
import torch

from .pretrained import load_model
from .signals import Signal, UndefinedScore, as_signal, at_rate

RATE = 16000
PIECE_SECONDS = 40  # Attention takes memory with the square of the length
_BUSY = Lock()  # a hook sees the calls of every thread


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
        model: name on the hub or folder of a model of `transformers` with a convolutional front end and a Transformer.
        layer: 0 is the input of the first layer, i the output of layer i, before any normalisation that follows the
            last one. (In `hidden_states` of transformers the last entry has that normalisation or not by version.)
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
    network = load_ssl(model, revision, device)
    hop, width = frame_grid(network.config, model)
    layers = network.encoder.layers
    if not 0 <= layer <= len(layers):
        raise ValueError(f"layer={layer}: {model} has layers 0 (the input) to {len(layers)}")
    if signal.size < width:
        raise UndefinedScore(f"wav has {signal.size / RATE:.3f} s: at least {width / RATE:.3f} s make a frame")
    frames = (signal.size - width) // hop + 1
    most = PIECE_SECONDS * RATE // hop
    length = math.ceil(frames / math.ceil(frames / most))
    ends = [hop * (k - 1) + width for k in range(length, frames, length)] + [signal.size]
    pieces = [signal[hop * length * k : end] for k, end in enumerate(ends)]
    return np.concatenate([_hidden(network, layers, torch.from_numpy(piece), layer, device) for piece in pieces])


def load_ssl(model: str, revision: str | None = None, device: str = "cpu") -> Any:
    """The network whose features `features` gives. Arguments and errors as there."""
    network = load_model("AutoModel", model, "a self-supervised speech model", revision, device)
    frame_grid(network.config, model)
    return network


def frame_grid(config: Any, model: str) -> tuple[int, int]:
    """Samples from frame to frame and samples that a frame sees, 320 and 400 for all published models.

    Raises:
        ValueError: the model has no convolutional front end.
    """
    if not hasattr(config, "conv_stride"):
        raise ValueError(f"{model} is of type {config.model_type!r}: expected WavLM, HuBERT, wav2vec 2.0 or the like")
    hop, width = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        hop, width = hop * stride, width + (kernel - 1) * hop
    return hop, width


def _hidden(network: Any, layers: Any, wav: torch.Tensor, layer: int, device: str) -> np.ndarray:
    """State behind `layer`, (T, C), read where it arises."""
    seen: list[torch.Tensor] = []

    def keep(*call: Any) -> None:
        value = call[-1]
        seen.append(value if torch.is_tensor(value) else value[0])

    with _BUSY, torch.no_grad():
        hook = layers[layer - 1].register_forward_hook(keep) if layer else layers[0].register_forward_pre_hook(keep)
        try:
            network(wav[None].to(device))
        finally:
            hook.remove()
    return seen[0][0].float().cpu().numpy()
