"""Checkpoints of sgmse (SGMSE+ at 16 and 48 kHz): Lightning files to configuration and weights.

Facts on the format come from the published code at sp-uhh/sgmse, commit ae690e8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gense.checkpoints.ncsnpp_keys import convert_ncsnpp

# What the training script uses where an older file lacks the key
_DEFAULTS: dict[str, Any] = {
    "backbone": "ncsnpp", "sde": "ouve", "loss_type": "score_matching", "t_eps": 0.03, "theta": 1.5,
    "sigma_min": 0.05, "sigma_max": 0.5, "n_fft": 510, "hop_length": 128, "window": "hann", "spec_factor": 0.15,
    "spec_abs_exponent": 0.5, "transform_type": "exponent", "nf": 128, "ch_mult": [1, 1, 2, 2, 2, 2, 2],
    "num_res_blocks": 2, "attn_resolutions": [16], "image_size": 256, "centered": True, "normalize": "noisy",
}
_DEFAULTS_48K: dict[str, Any] = {"attn_resolutions": [], "progressive": "none", "progressive_input": "none"}
_WINDOWS = {"hann": "hann", "sqrthann": "sqrthann"}
_DIVISION = {"ncsnpp": "before", "ncsnpp_48k": "after"}


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of this format: Lightning's, with a network `dnn` and an SDE in the hyper-parameters."""
    settings = checkpoint.get("hyper_parameters")
    state = checkpoint.get("state_dict")
    return (
        isinstance(settings, Mapping)
        and isinstance(state, Mapping)
        and "sde" in settings
        and "sde_n" not in settings
        and any(str(name).startswith("dnn.") for name in state)
    )


def convert(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint into (configuration, weights) of an `Enhancer`.

    The averaged weights are taken where the file has them. The network's output layer changes its sign, because the
    published score is minus the network's output.

    Raises:
        ValueError: an SDE, backbone or objective that this version does not know, or weights that do not fit.
    """
    given = checkpoint["hyper_parameters"]
    backbone = given.get("backbone", _DEFAULTS["backbone"])
    settings = {**_DEFAULTS, **(_DEFAULTS_48K if backbone == "ncsnpp_48k" else {}), **given}
    for key, known in (("sde", ("ouve",)), ("backbone", tuple(_DIVISION)), ("loss_type", ("score_matching", "mse"))):
        if settings[key] not in known:
            raise ValueError(
                f"hyper-parameter {key}={settings[key]!r} is not supported; this version converts {', '.join(known)}"
            )
    network = {
        "base_channels": int(settings["nf"]),
        "channel_mult": [int(m) for m in settings["ch_mult"]],
        "blocks_per_level": int(settings["num_res_blocks"]),
        "attention_levels": _attention_levels(settings),
        "progressive": settings.get("progressive", "output_skip"),
        "progressive_input": settings.get("progressive_input", "input_skip"),
        "centered": bool(settings["centered"]),
        "divide_by_time": _DIVISION[backbone],
    }
    state = convert_ncsnpp(_averaged(checkpoint), **network)
    for name in ("output_layer.weight", "output_layer.bias"):
        state[name] = -state[name]
    weights = {f"head.backbone.{name}": value for name, value in state.items()}
    return _configuration(settings, network, high_rate=backbone == "ncsnpp_48k"), weights


def _attention_levels(settings: Mapping[str, Any]) -> list[int]:
    levels = range(len(settings["ch_mult"]))
    return [i for i in levels if settings["image_size"] // 2**i in settings["attn_resolutions"]]


def _averaged(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The network's weights without prefix: the moving average, stored as a bare list in the order of the names."""
    raw = {k.removeprefix("dnn."): v for k, v in checkpoint["state_dict"].items() if k.startswith("dnn.")}
    average = (checkpoint.get("ema") or {}).get("shadow_params")
    if average is None:
        return raw
    if len(average) != len(raw):
        raise ValueError(f"the moving average holds {len(average)} tensors, the network {len(raw)}")
    for (name, value), mean in zip(raw.items(), average, strict=True):
        if value.shape != mean.shape:
            raise ValueError(f"the moving average of {name} is {tuple(mean.shape)}, the weight {tuple(value.shape)}")
    return dict(zip(raw, average, strict=True))


def _configuration(settings: Mapping[str, Any], network: dict[str, Any], *, high_rate: bool) -> dict[str, Any]:
    if settings["window"] not in _WINDOWS:
        raise ValueError(f"hyper-parameter window={settings['window']!r}: expected {', '.join(_WINDOWS)}")
    # The published enhancement script takes both from the backbone, not from the hyper-parameters
    sample_rate, pad_mode = (48000, "reflect") if high_rate else (16000, "zero")
    stft = {
        "sample_rate": sample_rate, "n_fft": int(settings["n_fft"]), "hop_length": int(settings["hop_length"]),
        "factor": float(settings["spec_factor"]), "exponent": float(settings["spec_abs_exponent"]),
        "transform": settings["transform_type"], "window": _WINDOWS[settings["window"]],
        "frames_multiple": 64, "pad_mode": pad_mode,
    }
    path = {
        "stiffness": float(settings["theta"]), "sigma_min": float(settings["sigma_min"]),
        "sigma_max": float(settings["sigma_max"]),
    }
    sampling = {"sampler": "predictor_corrector", "steps": 30, "options": {"snr": 0.5, "corrector_steps": 1}}
    head = {
        "target": "stft", "predicts": "score", "loss_on": "noise", "anchor": "noisy_stft", "condition": ["noisy_stft"],
        "t_eps": float(settings["t_eps"]), "sampling": sampling,
        "process": {"class_path": "gense.processes.OrnsteinUhlenbeck", "init_args": path},
        "backbone": {"class_path": "gense.backbones.NCSNpp", "init_args": network},
    }
    return {
        "class_path": "gense.Enhancer",
        "init_args": {
            "sample_rate": sample_rate,
            "level": {"kind": "peak"},
            "chunking": {"seconds": 20.0, "overlap": 2.0, "batch": 1},
            "representations": {"stft": {"class_path": "gense.representations.CompressedSTFT", "init_args": stft}},
            "head": {"class_path": "gense.heads.PathHead", "init_args": head},
        },
    }
