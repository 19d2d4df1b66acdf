"""Weights of the GPT-2 of `transformers` to the names of `gense.backbones.CausalLM`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

_OUTSIDE = {"wte": "token_embedding", "wpe": "position_embedding", "ln_f": "norm"}
_INSIDE = {
    "ln_1": "attention_norm",
    "ln_2": "feed_forward_norm",
    "attn.c_attn": "qkv",
    "attn.c_proj": "out",
    "mlp.c_fc": "feed_forward.expand",
    "mlp.c_proj": "feed_forward.project",
}
_TRANSPOSED = tuple(name for name in _INSIDE if "c_" in name)  # stored as (inputs, outputs)
_IGNORED = ("attn.bias", "attn.masked_bias")  # masks, which old versions stored


def convert_gpt2(weights: Mapping[str, Tensor], prefix: str = "lm.") -> dict[str, Tensor]:
    """Rename the weights of a `GPT2LMHeadModel` and turn its projections, for a strict `CausalLM.load_state_dict`.

    Args:
        weights: a state dict with names <prefix>transformer.*; names that begin otherwise are left out.
        prefix: what stands before "transformer.".

    Raises:
        ValueError: there are none, one has no counterpart, or the output is not tied to the embedding.
    """
    root, converted = f"{prefix}transformer.", {}
    for name, value in weights.items():
        if not name.startswith(root):
            continue
        layer, _, leaf = name.removeprefix(root).rpartition(".")
        if layer in _OUTSIDE:
            converted[f"{_OUTSIDE[layer]}.{leaf}"] = value
            continue
        head, _, rest = layer.partition(".")
        number, _, part = rest.partition(".")
        if head == "h" and part in _INSIDE:
            turned = leaf == "weight" and part in _TRANSPOSED
            converted[f"blocks.{number}.{_INSIDE[part]}.{leaf}"] = value.T.contiguous() if turned else value
        elif not name.endswith(_IGNORED):
            raise ValueError(f"{name}: no weight of a GPT-2")
    if "token_embedding.weight" not in converted:
        raise ValueError(f"no weight is called {root}wte.weight: these are not the weights of a GPT-2 under {prefix!r}")
    output = weights.get(f"{prefix}lm_head.weight")
    if output is not None and not output.equal(converted["token_embedding.weight"]):
        raise ValueError(f"{prefix}lm_head.weight differs from {root}wte.weight, with which it should share its memory")
    return converted
