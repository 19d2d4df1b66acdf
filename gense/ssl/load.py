"""Self-supervised models by name, folder or file."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gense.pretrained import load_model
from gense.ssl.network import SSLNetwork, built, fresh_network, quiet
from gense.ssl.original import config_of_original, state_of_original

ROLE = "a self-supervised speech model"
# Plain words for models of the hub: a method's YAML may name nothing that could be a path
PUBLISHED = {
    "wavlm-base": "microsoft/wavlm-base",
    "wavlm-base-plus": "microsoft/wavlm-base-plus",
    "wavlm-large": "microsoft/wavlm-large",
    "hubert-base": "facebook/hubert-base-ls960",
    "hubert-large": "facebook/hubert-large-ll60k",
    "xls-r-300m": "facebook/wav2vec2-xls-r-300m",
    "xls-r-1b": "facebook/wav2vec2-xls-r-1b",
}


@lru_cache(maxsize=8)
def load_network(model: str, revision: str | None = None, device: str = "cpu") -> SSLNetwork:
    """A frozen network in evaluation mode; asked again, the same one.

    Args:
        model: a word of `PUBLISHED`, a model of the hub, a folder of `transformers`, or a checkpoint file of the
            original WavLM code (`WavLM-Large.pt`).
        revision: branch, tag or commit on the hub.
        device: of the weights.

    Raises:
        ImportError: transformers is not installed.
        OSError: the model is not on this machine and cannot be fetched.
        ValueError: not a model of this kind, or its weights are incomplete.
    """
    with torch.device("cpu"):  # a caller may be building on the meta device
        if Path(model).is_file():
            network = read_original(model)
        else:
            network = SSLNetwork(load_model("AutoModel", PUBLISHED.get(model, model), ROLE, revision, device), model)
    return network.eval().requires_grad_(False).to(device)


def own_network(model: str | Mapping[str, Any], revision: str | None = None) -> SSLNetwork:
    """A network for the caller alone, which may be trained: dropout and masking are off.

    Args:
        model: as `load_network` takes it, with its weights; or a configuration as `fresh_network` takes it, with random
            ones.
        revision: branch, tag or commit on the hub.

    Raises:
        ImportError, OSError, ValueError: as `load_network` and `fresh_network`.
    """
    if isinstance(model, Mapping):
        return fresh_network(model)
    given = load_network(model, revision)
    network = built(quiet(deepcopy(given.model.config)), model)
    network.load_state_dict(given.state_dict())
    return network


def read_original(path: str | os.PathLike[str]) -> SSLNetwork:
    """A network from a checkpoint file of the original WavLM code: a dict with `cfg` and `model`.

    Raises:
        FileNotFoundError: there is no such file.
        ImportError: transformers is not installed.
        ValueError: the file is none of these, or its weights do not fit its configuration.
    """
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"{path}: no checkpoint, or one that holds more than tensors and settings") from error
    if not isinstance(found, Mapping) or not {"cfg", "model"} <= found.keys():
        raise ValueError(f"{path}: expected a checkpoint of the original WavLM code, a dict with 'cfg' and 'model'")
    config = config_of_original(found["cfg"])
    network = fresh_network(config)
    network.name = os.fspath(path)
    try:
        network.model.load_state_dict(state_of_original(found["model"], config))
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return network
