"""Settings and names of the original checkpoints (fairseq, unilm) in those of `transformers`."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

_KINDS = {"layer_norm": "layer", "default": "group"}
# Heads and masks of pre-training, which hold nothing of the encoder
_HEADS = ("mask_emb", "quantizer.", "project_q.", "project_hid.", "final_proj.", "label_embs_concat", "target_glu.")


def config_of_original(cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration, as `gense.ssl.fresh_network` takes it, of an original WavLM `cfg`.

    Dropout, masking and the normalisation of waveforms are not carried over: the published enhancers use none.

    Raises:
        ValueError: a setting is missing or has a value that `transformers` knows nothing of.
    """
    needed = (
        "extractor_mode", "encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads",
        "activation_fn", "layer_norm_first", "conv_feature_layers", "conv_bias", "conv_pos", "conv_pos_groups",
        "num_buckets", "max_distance",
    )  # fmt: skip
    if missing := [name for name in needed if name not in cfg]:
        raise ValueError(f"cfg lacks {', '.join(missing)}: expected that of an original WavLM checkpoint")
    if cfg["extractor_mode"] not in _KINDS:
        raise ValueError(f"extractor_mode={cfg['extractor_mode']!r}: expected 'layer_norm' or 'default'")
    for name in ("relative_position_embedding", "gru_rel_pos"):
        if not cfg.get(name, False):
            raise ValueError(f"{name}=False: WavLM in transformers always has it")
    convolutions = _evaluated(str(cfg["conv_feature_layers"]))
    dims, kernels, strides = (list(column) for column in zip(*convolutions, strict=True))
    return {
        "model_type": "wavlm",
        "hidden_size": int(cfg["encoder_embed_dim"]),
        "num_hidden_layers": int(cfg["encoder_layers"]),
        "num_attention_heads": int(cfg["encoder_attention_heads"]),
        "intermediate_size": int(cfg["encoder_ffn_embed_dim"]),
        "hidden_act": str(cfg["activation_fn"]),
        "feat_extract_norm": _KINDS[cfg["extractor_mode"]],
        "feat_extract_activation": "gelu",
        "conv_dim": dims,
        "conv_kernel": kernels,
        "conv_stride": strides,
        "num_feat_extract_layers": len(dims),
        "conv_bias": bool(cfg["conv_bias"]),
        "num_conv_pos_embeddings": int(cfg["conv_pos"]),
        "num_conv_pos_embedding_groups": int(cfg["conv_pos_groups"]),
        "num_buckets": int(cfg["num_buckets"]),
        "max_bucket_distance": int(cfg["max_distance"]),
        "do_stable_layer_norm": bool(cfg["layer_norm_first"]),
        "layer_norm_eps": 1e-5,
    }


def state_of_original(state: Mapping[str, Tensor], config: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights of an original checkpoint under the names of `transformers`: those of `SSLNetwork.model`.

    What only pre-training uses is left out; anything else must fit to the name.

    Args:
        state: original name -> tensor; of WavLM, HuBERT or wav2vec 2.0 (XLS-R).
        config: the network's, as from `config_of_original`; with `model_type`, `num_hidden_layers`,
            `num_feat_extract_layers` and, where they are not the values below, `feat_extract_norm` ("group") and
            `conv_bias` (False).

    Raises:
        ValueError: naming what is missing and what is unknown.
    """
    names = dict(original_names(config))
    given = {name for name in state if not name.startswith(_HEADS)}
    problems = []
    for what, found in (("missing", names.keys() - given), ("unknown", given - names.keys())):
        if found:
            listed = ", ".join(sorted(found)[:5])
            problems.append(f"{len(found)} {what} ({listed}{', ...' if len(found) > 5 else ''})")
    if problems:
        raise ValueError(f"these are not the weights of this {config['model_type']}: {'; '.join(problems)}")
    return {new: state[old] for old, new in names.items()}


def original_names(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(original name, name in `transformers`) of every weight of a network; `config` as for `state_of_original`."""
    both = ("weight", "bias")
    gated = config["model_type"] == "wavlm"
    by_layer = config.get("feat_extract_norm", "group") == "layer"
    for index in range(config["num_feat_extract_layers"]):
        old, new = f"feature_extractor.conv_layers.{index}", f"feature_extractor.conv_layers.{index}"
        for leaf in both if config.get("conv_bias", False) else both[:1]:
            yield f"{old}.0.{leaf}", f"{new}.conv.{leaf}"
        if by_layer or index == 0:
            for leaf in both:
                yield f"{old}.2.{'1.' if by_layer else ''}{leaf}", f"{new}.layer_norm.{leaf}"
    parts = {
        "layer_norm": "feature_projection.layer_norm",
        "post_extract_proj": "feature_projection.projection",
        "encoder.layer_norm": "encoder.layer_norm",
    }
    inner = {f"self_attn.{x}_proj": f"attention.{x}_proj" for x in ("q", "k", "v", "out")} | {
        "self_attn_layer_norm": "layer_norm",
        "fc1": "feed_forward.intermediate_dense",
        "fc2": "feed_forward.output_dense",
        "final_layer_norm": "final_layer_norm",
    }
    if gated:
        inner["self_attn.grep_linear"] = "attention.gru_rel_pos_linear"
    for index in range(config["num_hidden_layers"]):
        layer = f"encoder.layers.{index}"
        parts |= {f"{layer}.{old}": f"{layer}.{new}" for old, new in inner.items()}
        if gated:
            yield f"{layer}.self_attn.grep_a", f"{layer}.attention.gru_rel_pos_const"
    for old, new in parts.items():
        yield from ((f"{old}.{leaf}", f"{new}.{leaf}") for leaf in both)
    if gated:
        table = "encoder.layers.0.attention.rel_attn_embed.weight"
        yield "encoder.layers.0.self_attn.relative_attention_bias.weight", table
    position = "encoder.pos_conv_embed.conv"
    yield "encoder.pos_conv.0.weight_g", f"{position}.parametrizations.weight.original0"
    yield "encoder.pos_conv.0.weight_v", f"{position}.parametrizations.weight.original1"
    yield "encoder.pos_conv.0.bias", f"{position}.bias"


def _evaluated(text: str) -> list[tuple[int, int, int]]:
    """The list that `[(512,10,5)] + [(512,3,2)] * 4` stands for; nothing but lists, +, * and numbers is read."""

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return value(node.left) + value(node.right)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.right, ast.Constant):
            return value(node.left) * min(int(node.right.value), 100)  # type: ignore[arg-type]
        return ast.literal_eval(node)

    try:
        found = [tuple(int(number) for number in entry) for entry in value(ast.parse(text, mode="eval").body)]
        return [(dim, kernel, stride) for dim, kernel, stride in found]
    except (SyntaxError, ValueError, TypeError) as error:
        raise ValueError(f"conv_feature_layers={text!r}: expected [(channels, kernel, stride)] + ...") from error
