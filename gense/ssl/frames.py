"""How many frames a self-supervised model makes of a waveform, and how their values are scaled."""

from __future__ import annotations

from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

RATE = 16000
"""Hz, of every model of this kind."""

Frames = Literal["ceil", "floor", "inside"]
Scaling = Literal["none", "item", "batch"]


def frame_grid(config: Any, name: str) -> tuple[int, int]:
    """Samples from frame to frame and samples that a frame sees, 320 and 400 for all published models.

    Args:
        config: of `transformers`.
        name: what messages call the model.

    Raises:
        ValueError: the model has no convolutional front end.
    """
    if not hasattr(config, "conv_stride"):
        raise ValueError(f"{name} is of type {config.model_type!r}: expected WavLM, HuBERT, wav2vec 2.0 or the like")
    hop, width = 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        hop, width = hop * stride, width + (kernel - 1) * hop
    return hop, width


def fit_frames(wav: Tensor, hop: int, width: int, frames: Frames) -> Tensor:
    """Lengthen waveforms by zeros, or cut them, such that a model makes the wanted number of frames.

    Args:
        wav: (B, S).
        hop: samples from frame to frame.
        width: samples that a frame sees.
        frames: "ceil" for ceil(S / hop), which cover every sample; "floor" for floor(S / hop), which cuts up to
            hop - 1 samples off the end where they do not fill a frame; "inside" for the frames that lie inside the
            waveform, which is left as it is.

    Raises:
        ValueError: not one frame.
    """
    samples = wav.shape[-1]
    if frames == "inside":
        if samples < width:
            raise ValueError(f"wav has {samples} samples: a frame takes {width}")
        return wav
    count = -(-samples // hop) if frames == "ceil" else samples // hop
    if count < 1:
        raise ValueError(f"wav has {samples} samples: a frame takes {1 if frames == 'ceil' else hop}")
    return F.pad(wav, (0, (count - 1) * hop + width - samples))


def scaled(x: Tensor, over: Scaling) -> Tensor:
    """Bring features to mean 0 and variance 1: y = (x - mean) / sqrt(var + 1e-6), var the mean square deviation.

    Args:
        x: (B, C, T).
        over: "item": mean and variance of each item, one pair for all its channels and frames; "batch": of the whole
            tensor, by which the items of a batch depend on each other; "none": x itself.
    """
    if over == "none":
        return x
    axes = (1, 2) if over == "item" else (0, 1, 2)
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred * (centred.square().mean(dim=axes, keepdim=True) + 1e-6).rsqrt()
