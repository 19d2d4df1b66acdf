"""Self-supervised speech models of `transformers` whose states are read layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from gense.pretrained import make_config, transformers_class
from gense.ssl.frames import frame_grid

# Off unless a configuration says otherwise: the published encoders were tuned, and are used, without them
_QUIET: dict[str, Any] = {
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    "final_dropout": 0.0, "layerdrop": 0.0, "apply_spec_augment": False,
}  # fmt: skip


class SSLNetwork(nn.Module):
    """A model with a convolutional front end and a Transformer: WavLM, HuBERT, wav2vec 2.0 (XLS-R) and the like.

    Layer 0 is the input of the Transformer's first layer, layer i the output of its layer i, before any normalisation
    that follows the last one. They are read where they arise: in `hidden_states` of transformers the last entry has
    that normalisation or not by version.

    Args:
        model: of `transformers`, without a head; its parameters are this module's, under `model.`.
        name: what messages call it.

    Attributes:
        hop_length: samples from frame to frame.
        width: samples that a frame sees.
        layers: of the Transformer.
        channels: of every layer.

    Raises:
        ValueError: a model of another kind.
    """

    def __init__(self, model: Any, name: str):
        super().__init__()
        self.hop_length, self.width = frame_grid(model.config, name)
        self.model, self.name = model, name
        model.masked_spec_embed = None  # stands for hidden frames in pre-training; nothing is hidden here
        blocks = model.encoder.layers
        self.layers, self.channels = len(blocks), int(model.config.hidden_size)
        blocks[0].register_forward_pre_hook(_see_input, with_kwargs=True)
        for index, block in enumerate(blocks, start=1):
            block.register_forward_hook(partial(_see_output, index))

    def check(self, layers: Sequence[int]) -> None:
        """Refuse layers that the model does not have.

        Raises:
            ValueError: naming the layer and what there is.
        """
        for layer in layers:
            if not 0 <= layer <= self.layers:
                raise ValueError(f"layer={layer}: {self.name} has layers 0 (the input) to {self.layers}")
        if not layers:
            raise ValueError(f"layers=[]: {self.name} has layers 0 (the input) to {self.layers}")

    def forward(self, wav: Tensor, layers: Sequence[int]) -> list[Tensor]:
        """States behind `layers`, each (B, C, T); nothing beyond the last of them is computed.

        Args:
            wav: (B, S) at 16 kHz, full scale 1, which enters as it is; T = floor((S - width) / hop_length) + 1.
            layers: which, in any order.
        """
        reading = _Reading(frozenset(layers))
        token = _READING.set(reading)
        try:
            with suppress(_EverythingSeen):
                self.model(wav)
        finally:
            _READING.reset(token)
        return [reading.states[layer].transpose(1, 2) for layer in layers]

    def unread(self, layers: Sequence[int]) -> list[str]:
        """Names of the parameters on which the states behind `layers` do not depend."""
        config, last = self.model.config, max(layers)
        outside = ["model.adapter.", *(f"model.encoder.layers.{index}." for index in range(last, self.layers))]
        if getattr(config, "do_stable_layer_norm", False):  # with normalisation first, this one follows the last layer
            outside.append("model.encoder.layer_norm.")
        return [name for name, _ in self.named_parameters() if name.startswith(tuple(outside))]


def fresh_network(config: Mapping[str, Any]) -> SSLNetwork:
    """A network with random weights.

    Args:
        config: `model_type` ("wavlm", "hubert", "wav2vec2", ...) and fields of that configuration of `transformers`;
            what is left out has its value there, which for most types is the base size, except that dropout is off.
            Masking (`apply_spec_augment`) draws from the generator of the process and is refused.

    Raises:
        ImportError: transformers is not installed.
        ValueError: no such type, not of this kind, or an unknown field.
    """
    made = make_config(config, _QUIET)
    if getattr(made, "apply_spec_augment", False):
        raise ValueError("apply_spec_augment=True: masking is not supported; leave it out")
    return built(made, str(config["model_type"]))


def built(config: Any, name: str) -> SSLNetwork:
    """A network with random weights from a configuration object of `transformers`."""
    frame_grid(config, name)
    return SSLNetwork(transformers_class("AutoModel").from_config(config).float(), name)


def quiet(config: Any) -> Any:
    """The configuration object, changed in place: dropout and masking off."""
    for name, value in _QUIET.items():
        if hasattr(config, name):
            setattr(config, name, value)
    return config


class _EverythingSeen(Exception):
    """Leaves a forward pass whose remaining layers nobody reads."""


@dataclass
class _Reading:
    wanted: frozenset[int]
    states: dict[int, Tensor] = field(default_factory=dict)


# Hooks lie on networks that several threads may share; each thread sees its own reading
_READING: ContextVar[_Reading | None] = ContextVar("reading", default=None)


def _see_input(block: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
    _see(0, args[0] if args else options["hidden_states"])


def _see_output(layer: int, block: nn.Module, args: Any, made: Any) -> None:
    _see(layer, made if isinstance(made, Tensor) else made[0])


def _see(layer: int, state: Tensor) -> None:
    reading = _READING.get()
    if reading is None or layer not in reading.wanted:
        return
    reading.states[layer] = state
    if len(reading.states) == len(reading.wanted):
        raise _EverythingSeen
