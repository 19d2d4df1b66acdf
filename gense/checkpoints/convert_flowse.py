"""Checkpoints of FlowSE (log-mel, text): `*.pt.tar` files to configuration and weights.

Facts on the format come from the published code at Honee-W/FlowSE, commit cfb81f1. The network's sizes are read off its
tensors. What else a model needs lies beside the file: `vocab.txt` for transcripts, a Vocos, and `train.yaml`, whose
spectrogram is compared with the one that is known; each may be missing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gense.backbones.layers.rotary import rotary_table
from gense.checkpoints.plain_yaml import read_yaml
from gense.checkpoints.vocoder import read_vocoder
from gense.text import Tokenizer

_PREFIX = "transformer."
_TIME = "time_embed.time_mlp.0.weight"

VOCABULARY, TRAINING = "vocab.txt", "train.yaml"
VOCODER = "charactr/vocos-mel-24khz"
# Where the published vocoder may lie: in the checkpoint's folder itself, or in one of these inside it
_VOCODER_FOLDERS = (".", "vocoder", "vocos", "vocos-mel-24khz", VOCODER)
_VOCODER_FILES = (("config.yaml", "pytorch_model.bin"), ("vocoder.yaml", "model.safetensors"))
_MEL = {
    "target_sample_rate": 24000, "n_mel_channels": 100, "hop_length": 256, "win_length": 1024, "n_fft": 1024,
    "mel_spec_type": "vocos",
}  # fmt: skip
# The published code gives a whole file to the network, whose tokens have 4096 positions, 43.7 s
_CHUNKING = {"seconds": 40.0, "overlap": 2.0, "batch": 1}

# Published names -> ours, applied one after the other to each name
_RENAMED = [
    (re.compile(pattern), ours)
    for pattern, ours in (
        (r"^time_embed\.time_mlp\.0\.", "time.linear_in."),
        (r"^time_embed\.time_mlp\.2\.", "time.linear_out."),
        (r"^text_embed\.text_embed\.", "text.tokens."),
        (r"^text_embed\.text_blocks\.(\d+)\.", r"text.blocks.\1."),
        (r"\.dwconv\.", ".depthwise."),
        (r"\.pwconv1\.", ".expand."),
        (r"\.pwconv2\.", ".project."),
        (r"\.grn\.gamma$", ".response.gain"),
        (r"\.grn\.beta$", ".response.bias"),
        (r"^(input_embed\.proj|audio_embed\.linear)\.", "input.projection."),
        (r"^(input|audio)_embed\.conv_pos_embed\.conv1d\.0\.", "input.position.conv_in."),
        (r"^(input|audio)_embed\.conv_pos_embed\.conv1d\.2\.", "input.position.conv_out."),
        (r"^long_skip_connection\.", "long_skip."),
        (r"^norm_out\.linear\.", "modulation."),
        (r"^norm_out\.g$", "norm.weight"),
        (r"^proj_out\.", "output."),
        # two streams: c is the text's
        (r"^transformer_blocks\.(\d+)\.(attn_norm|ff)_c\.", r"blocks.\1.text.\2."),
        (r"^transformer_blocks\.(\d+)\.(attn_norm|ff)_x\.", r"blocks.\1.frames.\2."),
        (r"^transformer_blocks\.(\d+)\.attn\.to_([qkv]|out)_c\.", r"blocks.\1.text.to_\2."),
        # one stream, as a list of its parts or by name
        (r"^layers\.(\d+)\.0\.", r"blocks.\1.skip."),
        (r"^layers\.(\d+)\.1\.g$", r"blocks.\1.attention_norm.weight"),
        (r"^layers\.(\d+)\.2\.", r"blocks.\1.attention."),
        (r"^layers\.(\d+)\.3\.g$", r"blocks.\1.feed_forward_norm.weight"),
        (r"^layers\.(\d+)\.4\.", r"blocks.\1."),
        (r"^transformer_blocks\.(\d+)\.", r"blocks.\1."),
        (r"\.attn_norm\.linear\.", ".modulation."),
        (r"\.attn\.", ".attention."),
        (r"\.to_out\.0\.|\.to_out\.", ".out."),
        (r"\.ff\.ff\.|\.ff\.(?=\d)", ".feed_forward."),
        (r"\.feed_forward\.0\.0\.", ".feed_forward.expand."),
        (r"\.feed_forward\.2\.", ".feed_forward.project."),
    )
]
_OURS = re.compile(r"(time|text|input|blocks|long_skip|modulation|norm|output)\.")


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of this format: an epoch, and a transformer of one noisy condition without averages.

    Relatives with the same names for their weights have other conditions, or keep averaged weights beside the others.
    """
    state = checkpoint.get("model_state_dict")
    if not isinstance(state, Mapping) or "epoch" not in checkpoint or "ema_model_state_dict" in checkpoint:
        return False
    if _PREFIX + _TIME not in state or not all(str(name).startswith(_PREFIX) for name in state):
        return False
    published = {str(name).removeprefix(_PREFIX): value for name, value in state.items()}
    output = published.get("proj_out.weight")
    return output is not None and _input_width(published) == 2 * len(output)


def convert(checkpoint: Mapping[str, Any], folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint and what lies beside it into (configuration, weights) of an `Enhancer`.

    It does what the published inference does: 16 kHz in, brought to 24 kHz by a short sinc, 32 Euler steps with
    guidance 1, Vocos, and an output level of -25 dBFS; recordings over 40 s are cut, where the published code takes
    them whole. Tokens are characters, as there; `enhancer.text.rule = "pinyin"` is the rule of its training, and the
    one for Chinese.

    Args:
        checkpoint: content of the file.
        folder: where it lies.

    Raises:
        ValueError: weights that do not fit, another spectrogram, or a vocabulary of another size.
        OSError: no vocoder in the folder, and the hub cannot be asked for it.
    """
    backbone, weights = network(checkpoint)
    drops = _training(folder / TRAINING)
    state = {f"head.backbone.{name}": value for name, value in weights.items()}
    try:
        vocoder, loaded = read_vocoder(_vocoder_source(folder))
    except OSError as error:
        raise OSError(f"{error}. Or put the vocoder's files into {folder / 'vocoder'}") from error
    state |= {f"vocoder.{name}": value for name, value in loaded.state_dict().items()}
    settings: dict[str, Any] = {
        "sample_rate": 16000, "level": {"kind": "none"}, "output_level": {"kind": "rms", "target_db": -25.0},
        "chunking": dict(_CHUNKING),
        "representations": {
            "mel": {"class_path": "gense.representations.LogMel", "init_args": {"settings": {}, "input_rate": 16000}},
        },
    }  # fmt: skip
    if (folder / VOCABULARY).is_file():
        tokenizer = Tokenizer.read(folder / VOCABULARY)
        tokens, places = len(tokenizer.ids()), backbone["init_args"]["vocabulary"]
        if tokens != places:
            raise ValueError(f"{folder / VOCABULARY} has {tokens} tokens, the network {places}")
        state["text.vocabulary"] = tokenizer.vocabulary
        settings["text"] = {"class_path": "gense.text.Tokenizer", "init_args": {"size": len(tokenizer.vocabulary)}}
    settings["head"] = {
        "class_path": "gense.heads.PathHead",
        "init_args": {
            "target": "mel", "predicts": "velocity", "anchor": None, "condition": ["noisy_mel", "text"], "t_eps": 0.0,
            **drops, "process": {"class_path": "gense.processes.LinearFlow"}, "backbone": backbone,
            "sampling": {"sampler": "euler", "steps": 32, "guidance": 1.0},
        },
    }  # fmt: skip
    settings["vocoder"] = vocoder
    return {"class_path": "gense.Enhancer", "init_args": settings}, state


def _vocoder_source(folder: Path) -> str | Path:
    """The folder that holds the vocoder, or its name on the hub."""
    for place in _VOCODER_FOLDERS:
        if any(all((folder / place / name).is_file() for name in names) for names in _VOCODER_FILES):
            return folder / place
    return VOCODER


def _training(path: Path) -> dict[str, Any]:
    """Check the spectrogram in a training YAML, and return the shares of conditions left out, by our names."""
    model: Any = {}
    if path.is_file():
        try:
            model = (read_yaml(path) or {}).get("model") or {}
            mel = {**_MEL, **(model.get("mel_spec") or {})}
        except (ValueError, AttributeError, TypeError) as error:
            raise ValueError(f"{path}: not readable as a training YAML ({error})") from error
        if other := ", ".join(f"{name} {value}" for name, value in mel.items() if _MEL.get(name) != value):
            raise ValueError(f"{path}: mel_spec with {other} is not supported, only {_MEL}")
    audio, everything = float(model.get("audio_drop_prob") or 0), float(model.get("cond_drop_prob") or 0)
    return {"dropout": {"noisy_mel": audio, "text": 0.0}, "unconditional": everything}


def network(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration of the network in a published checkpoint, and its weights.

    Raises:
        ValueError: see `convert_transformer`.
    """
    state = checkpoint["model_state_dict"]
    return convert_transformer({str(name).removeprefix(_PREFIX): value for name, value in state.items()})


def convert_transformer(published: Mapping[str, Tensor]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published transformer into (configuration, weights) of a backbone.

    Query, key and value become one matrix. The published last norm takes its scale before its shift, ours the other
    way round, as both do in the blocks.

    Args:
        published: state dict of the published DiT, UNetT or MMDiT, without prefix.

    Returns:
        `class_path` and `init_args`, and a complete state dict for them.

    Raises:
        ValueError: a name that none of the networks has, a weight that is missing, or rotary frequencies of another
            kind.
    """
    weights: dict[str, Tensor] = {}
    try:
        config = _configuration(published)
        two_streams = "audio_embed.linear.weight" in published
        for name, value in published.items():
            if name == "rotary_embed.inv_freq" or re.search(r"\.to_[kv](_c)?\.", name):
                continue
            ours = name
            for pattern, replacement in _RENAMED:
                ours = pattern.sub(replacement, ours)
            if two_streams:
                ours = ours.replace(".attention.", ".frames.")
            if not _OURS.match(ours):
                raise ValueError(f"the network has no place for {name}")
            if ".to_q." in ours:
                ours = ours.replace(".to_q.", ".qkv.")
                value = torch.cat([value, *(published[name.replace(".to_q", f".to_{part}")] for part in "kv")])
            elif ".response." in ours:
                value = value.flatten()
            elif name.startswith("norm_out.linear.") or _is_final(name, value, published):
                value = torch.cat(value.chunk(2)[::-1])
            weights[ours] = value
    except KeyError as error:
        raise ValueError(f"the published weights lack {error}") from None
    return config, weights


def _is_final(name: str, value: Tensor, published: Mapping[str, Tensor]) -> bool:
    """Whether this is the norm of a text stream in its last block, which is modulated as the network's last norm is."""
    return ".attn_norm_c." in name and len(value) == 2 * published[_TIME].shape[0]


def _input_width(published: Mapping[str, Tensor]) -> int:
    """Features of state and conditions at the input, those of tokens not counted."""
    if "audio_embed.linear.weight" in published:
        return published["audio_embed.linear.weight"].shape[1]
    if "input_embed.proj.weight" not in published or "text_embed.text_embed.weight" not in published:
        return 0
    return published["input_embed.proj.weight"].shape[1] - published["text_embed.text_embed.weight"].shape[1]


def _configuration(published: Mapping[str, Tensor]) -> dict[str, Any]:
    features, dim = published["proj_out.weight"].shape
    vocabulary, text_dim = published["text_embed.text_embed.weight"].shape
    head_dim = 2 * len(published["rotary_embed.inv_freq"])
    _check_rotary(published["rotary_embed.inv_freq"], head_dim)
    settings: dict[str, Any] = {
        "features": features, "dim": dim, "head_dim": head_dim, "vocabulary": vocabulary - 1, "rotary_heads": 1,
    }  # fmt: skip
    text = {"text_dim": text_dim, "text_blocks": _count(published, "text_embed.text_blocks")}
    if "audio_embed.linear.weight" in published:
        kind, blocks, attention, expand = "MMDiT", "transformer_blocks", "attn", "ff_x.ff.0.0"
    elif "layers.0.1.g" in published:
        kind, blocks, attention, expand = "UNetT", "layers", "2", "4.ff.0.0"
        # A network without skip connections would have the same weights as one that adds them; none is known
        concatenated = any(re.fullmatch(r"layers\.\d+\.0\.weight", name) for name in published)
        settings |= {**text, "skip": "concat" if concatenated else "add"}
    else:
        kind, blocks, attention, expand = "DiT", "transformer_blocks", "attn", "ff.ff.0.0"
        settings |= {**text, "long_skip": "long_skip_connection.weight" in published}
    settings["depth"] = _count(published, blocks)
    settings["heads"] = len(published[f"{blocks}.0.{attention}.to_q.weight"]) // head_dim
    settings["ff_mult"] = len(published[f"{blocks}.0.{expand}.weight"]) // dim
    return {"class_path": f"gense.backbones.{kind}", "init_args": settings}


def _count(published: Mapping[str, Tensor], prefix: str) -> int:
    """Length of a published list of layers."""
    found = [match for name in published if (match := re.match(rf"{re.escape(prefix)}\.(\d+)\.", name))]
    return 1 + max((int(match[1]) for match in found), default=-1)


def _check_rotary(frequencies: Tensor, head_dim: int) -> None:
    """The file stores the rotary frequencies, which are computed here: make sure that they are the same."""
    second = torch.atan2(*rotary_table(2, head_dim)[:, 1].flip(0))  # angles of position 1
    if not torch.allclose(frequencies.float(), second, rtol=1e-4, atol=1e-7):
        raise ValueError("rotary_embed.inv_freq holds other frequencies than 10000^(-2i/d), which are the ones known")
