"""Features of a frozen self-supervised speech model."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gense.representations.base import Representation
from gense.ssl import RATE, Frames, Reading, Scaling, SSLNetwork, fresh_network, load_network

_HOP, _WIDTH = 320, 400  # of all published models


class SSLFeatures(Representation):
    """States of one or several layers of a frozen network: (B, C, T), or (B, L, C, T) for a list of L layers.

    With the model's name, its weights are loaded when they are first needed and are no part of this module: a method
    whose head predicts such features runs without them, and what is saved of it does not hold them. With a
    configuration, the network is part of the module and its weights come with the method's.

    Args:
        model: a word of `gense.ssl.PUBLISHED` such as "wavlm-large", a model of the hub, a folder of `transformers`, a
            checkpoint file of the original WavLM code; or a configuration, `model_type` ("wavlm", "hubert", "wav2vec2")
            and fields of `transformers`.
        layers: one layer, or a list; 0 is the input of the first layer, i the output of layer i, before any
            normalisation that follows the last one.
        scaling: of each layer's features: "none"; "item" for mean 0 and variance 1 over an item's channels and frames;
            "batch" for the same over the whole batch, whose items then depend on each other.
        frames: "ceil" for ceil(S / hop) frames, the waveform lengthened by zeros; "floor" for floor(S / hop), its end
            cut where it fills no frame; "inside" for frames that lie inside the waveform.
        standardise: bring each waveform to mean 0 and variance 1 first; see `gense.ssl.Reading`.
        revision: of a model of the hub.

    Attributes:
        sample_rate: 16000.
        hop_length: samples a frame, 320 for all published models.

    Raises:
        ImportError: transformers is not installed; by name, only `encode` raises it.
        ValueError: a configuration of another kind, a layer that is not there, or an unknown word.
    """

    network: SSLNetwork | None

    def __init__(
        self,
        model: str | dict[str, Any],
        layers: int | list[int],
        *,
        scaling: Scaling = "none",
        frames: Frames = "ceil",
        standardise: bool = False,
        revision: str | None = None,
    ):
        super().__init__()
        self.reading = Reading(layers, scaling=scaling, frames=frames, standardise=standardise)
        self.model, self.revision = model, revision
        self.sample_rate, self.hop_length = RATE, _HOP
        self.network = None
        if not isinstance(model, str):
            self.network = fresh_network(model).requires_grad_(False).eval()
            self.network.check(self.reading.all_layers)
            self.hop_length = self.network.hop_length

    def train(self, mode: bool = True) -> SSLFeatures:
        """Keep the network in evaluation mode, in which it computes the same for the same input."""
        super().train(mode)
        if self.network is not None:
            self.network.eval()
        return self

    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, C, T) or (B, L, C, T).

        Raises:
            ImportError: transformers is not installed.
            OSError: the model is not on this machine and cannot be fetched.
            ValueError: not a model of this kind, no such layer, or a waveform too short for a frame.
        """
        network = self.network
        if network is None:
            assert isinstance(self.model, str)
            network = load_network(self.model, self.revision, str(wav.device))
            if (network.hop_length, network.width) != (_HOP, _WIDTH):
                raise ValueError(
                    f"{self.model} makes a frame every {network.hop_length} samples, expected {_HOP}; give its "
                    "configuration instead of its name"
                )
        return self.reading(network, wav)
