"""Checkpoints of PASE (cisco-open/pase, commit 40845d4): a denoising speech model and a vocoder for two of its layers.

A model is two files, `DeWavLM.tar` and `Vocoder_Dual.tar` (or `Vocoder_L24.tar`, which takes the last layer alone).
Each holds `cfg` and `model`; those that training writes hold no `cfg`, and their sizes are read off the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from gense.checkpoints.pickled import read_checkpoint
from gense.ssl import config_of_original, state_of_original

# Computed by both sides
_COMPUTED = ("head.istft.window",)
_OUTER = {
    "embed": "decoder.embed", "norm": "decoder.norm", "context": "decoder.pos_net", "blocks": "decoder.convnext",
    "final_norm": "decoder.final_layer_norm", "out": "head.out", "fusion": "proj",
}  # fmt: skip
_INNER = {
    "depthwise": "dwconv", "expand": "pwconv1", "contract": "pwconv2", "scale": "gamma",
    "norm_in": "norm1", "conv_in": "conv1", "norm_out": "norm2", "conv_out": "conv2",
    "query": "q", "key": "k", "value": "v", "out": "proj_out",
}  # fmt: skip
CHECKPOINT = "DeWavLM.tar"
# In the order of preference; the published code has the second spelling
VOCODERS = ("Vocoder_Dual.tar", "Vocoder_dual.tar", "Vocoder_L24.tar")
_VOCODER = ("input_channels", "dim", "intermediate_dim", "num_layers", "n_fft", "hop_length")
_RATE = 16000
# The vocoder with two streams takes this layer and the last; the other one the last alone
_ACOUSTIC_LAYER = 1
# The published code takes a recording whole. Its attention takes memory with the square of the length, at 30 s 0.14 GB
# for the scores of a layer of WavLM-Large, as much for their bias; it tells no distances beyond 16 s apart
_CHUNKING = {"seconds": 30.0, "overlap": 2.0, "batch": 1}
# What the tensors of a speech model do not tell, as WavLM-Large has it
_STRIDES = (5, 2, 2, 2, 2, 2, 2)
_LARGE = {
    "activation_fn": "gelu", "layer_norm_first": True, "max_distance": 800, "relative_position_embedding": True,
    "gru_rel_pos": True,
}  # fmt: skip


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is one of the files of this format: a speech model or a vocoder."""
    return _is_encoder(checkpoint) or recognise_vocoder(checkpoint)


def _is_encoder(checkpoint: Mapping[str, Any]) -> bool:
    state = checkpoint.get("model")
    return isinstance(state, Mapping) and "encoder.pos_conv.0.weight_v" in state and "post_extract_proj.weight" in state


def convert(checkpoint: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint and what lies beside it into (configuration, weights) of an `Enhancer`.

    It does what the published inference does with one recording, but for the end: that is lengthened by zeros to a
    whole number of frames, where the published code cuts up to 239 samples off and returns zeros for them; `frames:
    floor` of the network is the published rule. Features are scaled over each item, where the published code scales
    over the whole batch, whose items then depend on each other: `scaling: batch`.

    Args:
        checkpoint: content of the speech model's file, or of a vocoder's.
        folder: where it lies.

    Raises:
        ValueError: the other file is missing, or configurations and weights do not fit each other.
    """
    if recognise_vocoder(checkpoint):
        if not (folder / CHECKPOINT).is_file():
            raise ValueError(f"a vocoder, and no {CHECKPOINT} beside it, with which it makes a model")
        vocoder: Mapping[str, Any] = checkpoint
        encoder: Mapping[str, Any] = read_checkpoint(folder / CHECKPOINT)
        if not _is_encoder(encoder):
            raise ValueError(f"{CHECKPOINT} beside it holds no speech model")
    else:
        name = next((name for name in VOCODERS if (folder / name).is_file()), None)
        if name is None:
            raise ValueError(f"no {VOCODERS[0]} or {VOCODERS[-1]} beside it: a model is a speech model and a vocoder")
        vocoder, encoder = read_checkpoint(folder / name), checkpoint
        if not recognise_vocoder(vocoder):
            raise ValueError(f"{name} beside it holds no vocoder")
    settings, of_vocoder = convert_vocoder(vocoder)
    network = config_of_original(encoder["cfg"] if "cfg" in encoder else _cfg(encoder["model"]))
    channels, last = settings["init_args"]["channels"], network["num_hidden_layers"]
    if channels != network["hidden_size"]:
        raise ValueError(f"the vocoder takes {channels} channels, the speech model makes {network['hidden_size']}")
    if settings["init_args"]["streams"] == 2 and last <= _ACOUSTIC_LAYER:
        raise ValueError(f"the vocoder takes two layers, the speech model has {last}")
    layers = {"layers": last if settings["init_args"]["streams"] == 1 else [_ACOUSTIC_LAYER, last], "scaling": "item"}
    # The acoustic layer was never a target of its training
    supervised = {"supervised": [1]} if settings["init_args"]["streams"] == 2 else {}
    parts = {
        "sample_rate": _RATE, "level": {"kind": "none"}, "chunking": dict(_CHUNKING),
        "representations": {
            "wave": {"class_path": "gense.representations.Waveform", "init_args": {"sample_rate": _RATE}},
            "ssl": {"class_path": "gense.representations.SSLFeatures", "init_args": {"model": "wavlm-large", **layers}},
        },
        "head": {
            "class_path": "gense.heads.RegressionHead",
            "init_args": {
                "target": "ssl", "condition": ["noisy_wave"], **supervised,
                "backbone": {"class_path": "gense.backbones.SSLEncoder", "init_args": {"model": network, **layers}},
            },
        },
        "vocoder": settings,
    }  # fmt: skip
    weights = {f"vocoder.{name}": value for name, value in of_vocoder.items()}
    for name, value in state_of_original(encoder["model"], network).items():
        weights[f"head.backbone.network.model.{name}"] = value.float()
    return {"class_path": "gense.Enhancer", "init_args": parts}, weights


def _cfg(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The original configuration of a speech model without one, of the kind and family of WavLM-Large."""
    try:
        dim, per_group, taps = state["encoder.pos_conv.0.weight_v"].shape
        table = state["encoder.layers.0.self_attn.relative_attention_bias.weight"]
        hidden = len(state["encoder.layers.0.fc1.weight"])
        shapes = [state[f"feature_extractor.conv_layers.{k}.0.weight"].shape for k in range(len(_STRIDES))]
    except KeyError as error:
        raise ValueError(f"the speech model's weights lack {error}") from None
    convolutions = [(shape[0], shape[-1], stride) for shape, stride in zip(shapes, _STRIDES, strict=True)]
    return {
        **_LARGE, "encoder_embed_dim": dim, "encoder_ffn_embed_dim": hidden, "encoder_attention_heads": table.shape[1],
        "encoder_layers": len({name.split(".")[2] for name in state if name.startswith("encoder.layers.")}),
        "extractor_mode": "layer_norm" if "feature_extractor.conv_layers.0.2.1.weight" in state else "default",
        "conv_feature_layers": str(convolutions), "conv_bias": "feature_extractor.conv_layers.0.0.bias" in state,
        "conv_pos": taps, "conv_pos_groups": dim // per_group, "num_buckets": len(table),
    }  # fmt: skip


def recognise_vocoder(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint holds a vocoder of this format, published or as training writes it."""
    state = checkpoint.get("model", checkpoint.get("generator"))
    return isinstance(state, Mapping) and "decoder.embed.weight" in state and "head.out.weight" in state


def convert_vocoder(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published vocoder into (configuration, weights) of a `Vocos`; two streams where it has a map for one.

    Raises:
        ValueError: settings or weights that are missing, that contradict each other or that nothing takes.
    """
    published = checkpoint.get("model", checkpoint.get("generator"))
    assert isinstance(published, Mapping)
    sizes = _sizes(published)
    given = checkpoint.get("cfg")
    if given is not None:
        if not isinstance(given, Mapping) or set(given) != set(_VOCODER):
            raise ValueError(f"cfg is {given!r}: expected {', '.join(_VOCODER)}")
        wrong = ", ".join(f"{k} {given[k]} and {v}" for k, v in sizes.items() if k != "hop_length" and given[k] != v)
        if wrong:
            raise ValueError(f"cfg and weights of the vocoder differ: {wrong}")
        sizes["hop_length"] = given["hop_length"]
    settings = {
        "mel": None, "channels": sizes["input_channels"], "dim": sizes["dim"], "hidden": sizes["intermediate_dim"],
        "blocks": sizes["num_layers"], "streams": 2 if "proj.weight" in published else 1, "context": True,
        "sample_rate": _RATE, "n_fft": sizes["n_fft"], "hop_length": sizes["hop_length"], "padding": "same",
    }  # fmt: skip
    weights = {_own_name(name): value.float() for name, value in published.items() if name not in _COMPUTED}
    return {"class_path": "gense.vocoders.Vocos", "init_args": settings}, weights


def _sizes(published: Mapping[str, Tensor]) -> dict[str, int]:
    """The constructor's arguments as the tensors tell them; the hop, which they do not, as a quarter of the window."""
    try:
        dim, channels, _ = published["decoder.embed.weight"].shape
        hidden = published["decoder.convnext.0.pwconv1.weight"].shape[0]
        n_fft = published["head.out.weight"].shape[0] - 2
    except KeyError as error:
        raise ValueError(f"the vocoder's weights lack {error}") from None
    blocks = len({name.split(".")[2] for name in published if name.startswith("decoder.convnext.")})
    return dict(zip(_VOCODER, (channels, dim, hidden, blocks, n_fft, n_fft // 4), strict=True))


def _own_name(published: str) -> str:
    """Our name of one of the vocoder's parameters.

    Raises:
        ValueError: the vocoder has no such parameter.
    """
    for own, theirs in _OUTER.items():
        if published.startswith(f"{theirs}."):
            rest = published.removeprefix(f"{theirs}.").split(".")
            rest = [next((ours for ours, name in _INNER.items() if name == word), word) for word in rest]
            return ".".join([own, *(["0"] if own == "fusion" else []), *rest])
    raise ValueError(f"the vocoder has no place for {published}")
