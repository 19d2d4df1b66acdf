"""What of a self-supervised model is read: which layers, how many frames, on which scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from gense.ssl.frames import Frames, Scaling, fit_frames, scaled
from gense.ssl.network import SSLNetwork


@dataclass(frozen=True)
class Reading:
    """From waveforms to features of some layers.

    Args:
        layers: one layer, or a list; 0 is the input of the first layer, i the output of layer i.
        scaling: of each layer's features, see `gense.ssl.frames.scaled`. With "batch" the items of a batch depend on
            each other, as in some published training runs.
        frames: how many; see `gense.ssl.frames.fit_frames`.
        standardise: bring each waveform to mean 0 and variance 1 first, as models are trained whose feature extractor
            in `transformers` has `do_normalize`. The published enhancers feed all models the samples as they are.

    Raises:
        ValueError: no layer, or an unknown word.
    """

    layers: int | Sequence[int]
    scaling: Scaling = "none"
    frames: Frames = "ceil"
    standardise: bool = False

    def __post_init__(self) -> None:
        for name, value, words in (
            ("scaling", self.scaling, get_args(Scaling)), ("frames", self.frames, get_args(Frames)),
        ):  # fmt: skip
            if value not in words:
                raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, words))}")
        if not self.all_layers or min(self.all_layers) < 0:
            raise ValueError(f"layers={self.layers!r}: expected a layer, or a list of them, each 0 or more")

    @property
    def all_layers(self) -> tuple[int, ...]:
        """The layers, also of one."""
        return (self.layers,) if isinstance(self.layers, int) else tuple(self.layers)

    def __call__(self, network: SSLNetwork, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, C, T), or for a list of L layers into (B, L, C, T).

        Raises:
            ValueError: the waveform is too short for a frame, or the network lacks a layer.
        """
        network.check(self.all_layers)
        if self.standardise:
            wav = F.layer_norm(wav, wav.shape[-1:], eps=1e-7)
        wav = fit_frames(wav, network.hop_length, network.width, self.frames)
        states = [scaled(state.float(), self.scaling) for state in network(wav, self.all_layers)]
        return states[0] if isinstance(self.layers, int) else torch.stack(states, dim=1)
