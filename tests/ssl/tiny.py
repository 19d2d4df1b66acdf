"""Self-supervised networks small enough for tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gense.ssl import SSLNetwork, config_of_original, fresh_network, state_of_original
from tests.metrics.tiny_speech import TRUNK
from tests.parity.fixtures import Parity

STYLES = {
    "norm first": {"do_stable_layer_norm": True, "feat_extract_norm": "layer"},
    "norm last": {"do_stable_layer_norm": False, "feat_extract_norm": "group"},
}
KINDS = ("wavlm", "hubert", "wav2vec2")


def tiny(kind: str = "wavlm", style: str = "norm first", **fields: Any) -> dict[str, Any]:
    """A configuration of three layers of 16 channels."""
    return {"model_type": kind, **TRUNK, **STYLES[style], **fields}


def tiny_network(kind: str = "wavlm", style: str = "norm first", seed: int = 0) -> SSLNetwork:
    """The network of `tiny`, its weights large enough that the input matters."""
    torch.manual_seed(seed)
    network = fresh_network(tiny(kind, style)).eval()
    spread(network)
    return network


def spread(network: SSLNetwork) -> None:
    """Give matrices and kernels weights that keep the scale of what passes through them."""
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=(parameter[0].numel()) ** -0.5)


def wave(items: int, samples: int, seed: int = 0) -> Tensor:
    """Noise (B, S)."""
    return 0.1 * torch.randn(items, samples, generator=torch.Generator().manual_seed(seed))


def recorded(fixture: Parity) -> SSLNetwork:
    """The network of a recording."""
    config = config_of_original(fixture.config["original_cfg"])
    network = fresh_network(config).eval()
    network.model.load_state_dict(state_of_original(fixture.weights(), config))
    return network
