"""A self-supervised speech model as the network of a method."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gense.backbones.base import Backbone
from gense.ssl import Frames, Reading, Scaling, own_network
from gense.types import Condition


class SSLEncoder(Backbone):
    """From noisy waveforms to the features that a self-supervised model has of the clean ones.

    In `RegressionHead(SSLEncoder(...), target=<SSLFeatures>, condition=["noisy_<Waveform>"])` with the same layer and
    scaling on both sides, the loss is the denoising representation distillation of Rong et al., "PASE" (arXiv
    2511.13300): the mean squared distance between the scaled features of the noisy speech, by the trained copy, and of
    the clean speech, by the frozen original. That recipe reads the last layer alone while it trains, and another one
    beside it afterwards; the names of the weights are the same.

    Parameters on which the layers that are read do not depend, such as those of later layers, are frozen.

    Args:
        model: a configuration, `model_type` ("wavlm", "hubert", "wav2vec2") and fields of `transformers`, whose weights
            come with the method's; or a name as for `gense.representations.SSLFeatures`, from whose weights training
            begins. Dropout and masking are off.
        layers: one layer, or a list; see there.
        scaling: of each layer's features; see there.
        frames: how many; see there.
        standardise: bring each waveform to mean 0 and variance 1 first.
        revision: of a model of the hub.

    Attributes:
        network: the `gense.ssl.SSLNetwork`.

    Raises:
        ImportError: transformers is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        ValueError: a model of another kind, a layer that is not there, or an unknown word.
    """

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
        self.network = own_network(model, revision)
        self.network.check(self.reading.all_layers)
        unread = set(self.network.unread(self.reading.all_layers))
        for name, parameter in self.network.named_parameters():
            parameter.requires_grad_(name not in unread)

    @property
    def coupled(self) -> bool:  # type: ignore[override]
        """With "batch" scaling, features are normalised over all items."""
        return self.reading.scaling == "batch"

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        """Turn waveforms (B, S) into (B, C, T), or for a list of L layers into (B, L, C, T).

        Args:
            x: (B, S) at 16 kHz.
            t: None; the network has no time.
            cond: not read.

        Raises:
            ValueError: a time, or a waveform too short for a frame.
        """
        if t is not None:
            raise ValueError("this network has no time: use it in a head that gives none, such as RegressionHead")
        return self.reading(self.network, x)
