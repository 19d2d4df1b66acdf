"""Published NCSN++ weights to the names of `gense.backbones.NCSNpp`.

The published code (sp-uhh/sgmse at ae690e8; StoRM and flowmse share the layout) keeps its layers in one flat list,
`all_modules.0`, `all_modules.1`, ..., in the order in which they run, beside `output_layer`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gense.backbones.ncsnpp import NCSNpp

Table = dict[str, tuple[str, ...]]
"""Name of a weight inside a layer here -> its names there; several are stacked into one."""


def _layer(ours: str = "", theirs: str = "") -> Table:
    return {ours + leaf: (theirs + leaf,) for leaf in ("weight", "bias")}


_SIMPLE = _layer()
_FOURIER: Table = {"frequencies": ("W",)}
_INJECT = _layer("", "Conv_0.")
_TIME = _layer("time.", "Dense_0.")
_BLOCK = {
    **_layer("norm_in.", "GroupNorm_0."),
    **_layer("conv_in.", "Conv_0."),
    **_TIME,
    **_layer("norm_out.", "GroupNorm_1."),
    **_layer("conv_out.", "Conv_1."),
    **_layer("skip.", "Conv_2."),
}
_ATTENTION: Table = {
    **_layer("norm.", "GroupNorm_0."),
    "qkv.weight": ("NIN_0.W", "NIN_1.W", "NIN_2.W"),
    "qkv.bias": ("NIN_0.b", "NIN_1.b", "NIN_2.b"),
    "out.weight": ("NIN_3.W",),
    "out.bias": ("NIN_3.b",),
}


def convert_ncsnpp(published: Mapping[str, Tensor], **arguments: Any) -> dict[str, Tensor]:
    """Rename the weights of a published NCSN++.

    The matrices of the attention's pointwise layers are stored [in, out] there; they are transposed, and those of
    query, key and value become one.  Values are otherwise untouched: where a published score is minus the network's
    output, the sign is the caller's business.  A published network without time owns time layers that it never runs;
    they are dropped.

    Args:
        published: state dict with the names `output_layer.*` and `all_modules.*`.
        arguments: those of `NCSNpp`, describing the published network.

    Returns:
        A complete state dict for `NCSNpp(**arguments)`.

    Raises:
        ValueError: names are missing or left over, or shapes differ; the first five are listed.
    """
    with torch.device("meta"):
        network = NCSNpp(**arguments)
    names, unused = _names(network)
    expected = {source for sources in names.values() for source in sources} | unused
    if missing := sorted(expected - published.keys()):
        raise ValueError(f"the published weights lack {_some(missing)}; do the architecture arguments match?")
    if extra := sorted(published.keys() - expected):
        raise ValueError(f"the network has no place for {_some(extra)}; do the architecture arguments match?")

    converted, wrong = {}, []
    for name, parameter in network.state_dict().items():
        tensors = [published[source] for source in names[name]]
        if names[name][0].endswith(("NIN_0.W", "NIN_3.W")):
            tensors = [tensor.T for tensor in tensors]
        converted[name] = torch.cat(tensors).contiguous()
        if converted[name].shape != parameter.shape:
            shapes = f"{tuple(converted[name].shape)} instead of {tuple(parameter.shape)}"
            wrong.append(f"{' + '.join(names[name])} for {name}: {shapes}")
    if wrong:
        raise ValueError(f"shapes differ: {_some(wrong)}; do the architecture arguments match?")
    return converted


def _some(items: list[str]) -> str:
    """The first five of a list and the number of all."""
    return ", ".join(items[:5]) + (f", ... ({len(items)} in all)" if len(items) > 5 else "")


def _names(network: NCSNpp) -> tuple[dict[str, tuple[str, ...]], set[str]]:
    """Our name -> published names, for every weight, and the published names of weights that are never used."""
    prefixes = {module: prefix for prefix, module in network.named_modules()}
    names: dict[str, tuple[str, ...]] = {f"output_layer.{k}": (f"output_layer.{k}",) for k in ("weight", "bias")}
    unused: set[str] = set()
    for index, (layer, table) in enumerate(_published_order(network)):
        own, prefix = (layer.state_dict(), prefixes[layer]) if layer is not None else ({}, "")
        for ours, theirs in table.items():
            sources = tuple(f"all_modules.{index}.{leaf}" for leaf in theirs)
            if ours in own:
                names[f"{prefix}.{ours}"] = sources
            elif network.time is None and (ours in _TIME or table is _FOURIER):
                unused.update(sources)
    return names, unused


def _published_order(network: NCSNpp) -> Iterator[tuple[nn.Module | None, Table]]:
    """Our layers in the order of the published list, each with the names of its weights there."""
    if network.time is None:
        yield None, _FOURIER
    else:
        yield network.time.fourier, _FOURIER
        yield network.time.linear_in, _SIMPLE
        yield network.time.linear_out, _SIMPLE
    yield network.stem, _SIMPLE
    for level in network.down:
        for index, block in enumerate(level.blocks):
            yield block, _BLOCK
            if level.attention:
                yield level.attention[index], _ATTENTION
        if level.shrink is not None:
            yield level.shrink, _BLOCK
        if level.inject is not None:
            yield level.inject, _INJECT
    yield network.middle_in, _BLOCK
    yield network.middle_attention, _ATTENTION
    yield network.middle_out, _BLOCK
    for step in network.up:
        for block in step.blocks:
            yield block, _BLOCK
        if step.attention is not None:
            yield step.attention, _ATTENTION
        if step.head is not None:
            yield from ((step.head.norm, _SIMPLE), (step.head.conv, _SIMPLE))
        if step.grow is not None:
            yield step.grow, _BLOCK
    if network.head is not None:
        yield from ((network.head.norm, _SIMPLE), (network.head.conv, _SIMPLE))
