"""Low-rank adapters beside frozen weights (Hu et al. 2022, LoRA), by `peft`."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class LoRA:
    """Low-rank changes of weights: W + alpha / rank * B A, where only A and B are trained and B begins at 0.

    Args:
        rank: of the change, >= 1.
        alpha: its scale, > 0.
        layers: regular expression that the whole dotted name of a layer in the network must match. Of these, linear
            layers and ungrouped convolutions are adapted.

    Raises:
        ValueError: an argument is out of its range.
    """

    rank: int = 8
    alpha: int = 16
    layers: str = ".*"

    def __post_init__(self) -> None:
        if self.rank < 1 or not self.alpha > 0:
            raise ValueError(f"rank={self.rank}, alpha={self.alpha}: need rank >= 1 and alpha > 0")


def adapted_copy(network: nn.Module, lora: LoRA) -> nn.Module:
    """A copy of a network with adapters, which alone are trainable; it computes what the network computes.

    Raises:
        ImportError: `peft` is not installed.
        ValueError: no layer fits.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise ImportError("peft is not installed: pip install gense[lora]") from error
    fits = re.compile(lora.layers).fullmatch
    names = [name for name, layer in network.named_modules() if _adaptable(layer) and fits(name)]
    if not names:
        raise ValueError(f"layers={lora.layers!r}: no linear layer and no convolution of the network has such a name")
    # One expression of whole names: a list of names would also match the ends of longer ones
    targets = "|".join(re.escape(name) for name in names)
    config = LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=f"(?:{targets})", bias="none")
    return inject_adapter_in_model(config, copy.deepcopy(network))


def merged_state(adapted: nn.Module) -> dict[str, Tensor]:
    """The state dict of the network without adapters that computes what an `adapted_copy` does."""
    changes = {
        f"{name}.base_layer.weight": layer.get_delta_weight("default")
        for name, layer in adapted.named_modules()
        if hasattr(layer, "get_delta_weight")
    }
    with torch.no_grad():
        return {
            name.replace(".base_layer.", "."): value + changes[name] if name in changes else value.clone()
            for name, value in adapted.state_dict().items()
            if ".lora_" not in name
        }


def _adaptable(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Linear, nn.Conv1d, nn.Conv2d)) and getattr(layer, "groups", 1) == 1
