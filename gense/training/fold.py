"""A U-Net of the path as a plain one: what a network computes at one time, with the time folded into its weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from gense.backbones import UNet


@torch.no_grad()
def without_time(network: UNet, t: float) -> dict[str, Tensor]:
    """The weights of the network without time that does at all times what this one does at time t.

    The scale and shift that time gives to a block's first convolution go into its weights.

    Args:
        network: a U-Net with one time.
        t: the time.

    Returns:
        A state dict for `UNet(..., time_dim=0)`.

    Raises:
        ValueError: the network has no time, or two.
    """
    if network.time is None or network.span is not None:
        raise ValueError("this U-Net has no time, or two: there is no single time to fold into its weights")
    features = network.time(torch.tensor([float(t)], device=next(network.parameters()).device))
    state = {name: value.clone() for name, value in network.state_dict().items() if not name.startswith("time.")}
    for name in [name for name in state if name.endswith("modulation.weight")]:
        block = name.removesuffix("modulation.weight")
        weight, bias = state.pop(name), state.pop(f"{block}modulation.bias")
        scale, shift = (features @ weight.T + bias)[0].chunk(2)
        state[f"{block}conv_in.weight"] *= (1 + scale)[:, None, None, None]
        state[f"{block}conv_in.bias"] = state[f"{block}conv_in.bias"] * (1 + scale) + shift
    return state


@torch.no_grad()
def with_one_input(network: UNet, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the network with one input that does what this one does when all its inputs are equal.

    Args:
        network: a U-Net, whose number of inputs is read.
        state: its state dict, or one from `without_time`.

    Returns:
        A state dict for `UNet(..., inputs=1)`.
    """
    merged = {name: value.clone() for name, value in state.items()}
    width, _, *kernel = merged["stem.weight"].shape
    # Planes of the stem: real, imaginary, magnitude of every input; of the head: a residual, then a gain for each
    stem = merged["stem.weight"].reshape(width, 3, network.inputs, -1, *kernel)
    merged["stem.weight"] = stem.sum(dim=2).flatten(1, 2).contiguous()
    for name in ("head.weight", "head.bias"):
        planes = merged[name].reshape(network.inputs + 1, -1, *merged[name].shape[1:])
        merged[name] = torch.cat([planes[:1], planes[1:].sum(dim=0, keepdim=True)]).flatten(0, 1).contiguous()
    return merged
