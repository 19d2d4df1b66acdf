"""Names and settings of a published SimCodec (yaoxunji/gen-se, commit 898024a) in ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# Published settings -> ours; all must be there, for nothing else says how a codec was built
_SETTINGS = {
    "en_filters": "encoder_width", "de_filters": "decoder_width", "vq_dim": "dim", "n_q": "levels",
    "n_code_groups": "groups", "n_codes": "codes", "codebook_loss_lambda": "codebook_weight",
    "commitment_loss_lambda": "commitment_weight",
}  # fmt: skip
_STAGES = {
    "upsample_rates": "rates", "upsample_kernel_sizes": "kernels", "resblock_kernel_sizes": "block_kernels",
    "resblock_dilation_sizes": "block_dilations",
}  # fmt: skip
_PARTS = {"encoder": "encoder", "generator": "decoder"}
_OUTER = {"conv_pre": "conv_in", "conv_post": "conv_out"}
_LAYERS = {"convs1": "dilated", "convs2": "plain"}
_BOOK = re.compile(r"quantizer\.quantizer_modules\.(\d+)\.(\d+)\.embedding\.weight")


def convert_settings(published: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the content of a published `config.json` into arguments of `SimCodec`.

    Raises:
        ValueError: a setting is missing, or asks for more than one channel.
    """
    if missing := [name for name in ("channel", *_SETTINGS, *_STAGES) if name not in published]:
        raise ValueError(f"the codec's settings lack {', '.join(missing)}")
    if published["channel"] != 1:
        raise ValueError(f"the codec's channel={published['channel']!r} is not supported, only 1")
    stages = {ours: published[name] for name, ours in _STAGES.items()}
    return {"stages": stages, **{ours: published[name] for name, ours in _SETTINGS.items()}}


def convert_codec(published: Mapping[str, Tensor], settings: Mapping[str, Any]) -> dict[str, Tensor]:
    """Turn a published state dict into that of a `SimCodec`.

    Direction and length of its kernels, which are stored apart, are multiplied.

    Args:
        published: name -> tensor, without prefix.
        settings: what `convert_settings` made.

    Raises:
        ValueError: naming a tensor that no codec has, that is missing, or that has another shape than its fellows.
    """
    blocks = len(settings["stages"]["block_kernels"])
    state: dict[str, Tensor] = {}
    books: dict[tuple[int, int], Tensor] = {}
    for name, value in published.items():
        if match := _BOOK.fullmatch(name):
            books[int(match[1]), int(match[2])] = value
        elif name.endswith(".weight_v"):
            length = name.removesuffix("v") + "g"
            if length not in published:
                raise ValueError(f"the codec's weights lack {length}")
            # torch.norm over all but the first axis, for transposed convolutions, too
            norm = torch.linalg.vector_norm(value, dim=(1, 2), keepdim=True)
            state[_our_name(name, blocks).removesuffix("_v")] = value * (published[length] / norm)
        elif name.endswith(".weight_g"):
            if name.removesuffix("g") + "v" not in published:
                raise ValueError(f"the codec's weights lack {name.removesuffix('g')}v")
        else:
            state[_our_name(name, blocks)] = value
    wanted = [(level, group) for level in range(settings["levels"]) for group in range(settings["groups"])]
    if wanted != sorted(books):
        raise ValueError(f"the codec has codebooks (level, group) {sorted(books)}, its settings ask for {wanted}")
    if len({book.shape for book in books.values()}) > 1:
        raise ValueError(f"the codec's codebooks have different shapes: {[tuple(b.shape) for b in books.values()]}")
    stacked = torch.stack([books[key] for key in wanted])
    state["quantiser.codebooks"] = stacked.unflatten(0, (settings["levels"], settings["groups"]))
    return state


def _our_name(name: str, blocks: int) -> str:
    """Our name of a published tensor; lists over all stages become lists inside the stages."""
    part, _, rest = name.partition(".")
    outer, _, leaf = rest.partition(".")
    if part in _PARTS:
        if outer in _OUTER:
            return f"{_PARTS[part]}.{_OUTER[outer]}.{leaf}"
        index, _, leaf = leaf.partition(".")
        if outer == "ups" and index.isdigit():
            return f"{_PARTS[part]}.stages.{index}.{'down' if part == 'encoder' else 'up'}.{leaf}"
        if index.isdigit():
            stage, inner = divmod(int(index), blocks)
            if outer == "normalize":
                return f"{_PARTS[part]}.stages.{stage}.norms.{inner}.{leaf}"
            layers, _, leaf = leaf.partition(".")
            if outer == "resblocks" and layers in _LAYERS:
                return f"{_PARTS[part]}.stages.{stage}.blocks.{inner}.{_LAYERS[layers]}.{leaf}"
    raise ValueError(f"the codec has no place for {name}")
