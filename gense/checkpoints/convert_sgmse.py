"""Checkpoints of sgmse (SGMSE+ at 16 and 48 kHz, other objectives, Schroedinger bridges): Lightning files.

Facts on the format come from the published code at sp-uhh/sgmse, commit ae690e8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gense.checkpoints import lightning, sgmse_objectives
from gense.checkpoints.ncsnpp_keys import convert_ncsnpp

# What the training script uses where an older file lacks the key
_DEFAULTS: dict[str, Any] = {
    **sgmse_objectives.DEFAULTS,
    "backbone": "ncsnpp", "t_eps": 0.03, "n_fft": 510, "hop_length": 128, "window": "hann", "spec_factor": 0.15,
    "spec_abs_exponent": 0.5, "transform_type": "exponent", "nf": 128, "ch_mult": [1, 1, 2, 2, 2, 2, 2],
    "num_res_blocks": 2, "attn_resolutions": [16], "image_size": 256, "centered": True, "normalize": "noisy",
    "sr": 16000,
}
_DEFAULTS_48K: dict[str, Any] = {"attn_resolutions": [], "progressive": "none", "progressive_input": "none"}
_DEFAULTS_BRIDGE: dict[str, Any] = {"N": 50, "sampler_type": "ode"}
_DIVISION = {"ncsnpp": "before", "ncsnpp_48k": "after", "ncsnpp_v2": None}


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of this format: Lightning's, with a network `dnn` and an SDE in the hyper-parameters."""
    settings = checkpoint.get("hyper_parameters")
    state = checkpoint.get("state_dict")
    return (
        isinstance(settings, Mapping)
        and isinstance(state, Mapping)
        and "sde" in settings
        # Older versions had the name, too; without the other keys it is a file of storm
        and ("sde_n" not in settings or bool(settings.keys() & {"N", "centered"}))
        and any(str(name).startswith("dnn.") for name in state)
    )


def convert(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint into (configuration, weights) of an `Enhancer`.

    The averaged weights are taken where the file has them. With the older backbones the output layer changes its sign,
    because the published score is minus the network's output; "ncsnpp_v2" has no minus, but scalings around it.

    Sampling is that of the published enhancement script. For a bridge that is its deterministic sampler with its floors
    (`bridge_ode`), or the stochastic one where the file says so; the exact step is `sampler="exponential"`.

    Raises:
        ValueError: an SDE, backbone or objective that this version does not know, or weights that do not fit.
    """
    given = checkpoint["hyper_parameters"]
    backbone = given.get("backbone", _DEFAULTS["backbone"])
    special = {
        **(_DEFAULTS_48K if backbone == "ncsnpp_48k" else {}), **(_DEFAULTS_BRIDGE if given["sde"] == "sbve" else {})
    }
    settings = {**_DEFAULTS, **special, **given}
    lightning.require(settings, {"backbone": tuple(_DIVISION)})
    scaled_outside = _DIVISION[backbone] is None
    objective = (sgmse_objectives.preconditioned if scaled_outside else sgmse_objectives.score)(settings)
    network = {
        "base_channels": int(settings["nf"]),
        "channel_mult": [int(m) for m in settings["ch_mult"]],
        "blocks_per_level": int(settings["num_res_blocks"]),
        "attention_levels": lightning.attention_levels(settings),
        "progressive": settings.get("progressive", "output_skip"),
        "progressive_input": settings.get("progressive_input", "input_skip"),
        "centered": bool(settings["centered"]),
        "divide_by_time": _DIVISION[backbone],
    }
    (published,) = lightning.networks(checkpoint, "dnn.")
    state = convert_ncsnpp(published, **network)
    if not scaled_outside:
        state = lightning.negated(state)
    # The published enhancement script takes rate and padding from the backbone. It runs everything but the 48 kHz one
    # at 16 kHz, even a bridge that was trained at another rate: there the file's own rate counts.
    sample_rate = 48000 if backbone == "ncsnpp_48k" else int(settings["sr"]) if scaled_outside else 16000
    head = {
        "target": "stft", "anchor": "noisy_stft", "condition": ["noisy_stft"], "t_eps": float(settings["t_eps"]),
        "backbone": {"class_path": "gense.backbones.NCSNpp", "init_args": network}, **objective,
    }
    config = lightning.enhancer(
        {"class_path": "gense.heads.PathHead", "init_args": head},
        lightning.stft(settings, sample_rate=sample_rate, pad_mode="zero" if backbone == "ncsnpp" else "reflect"),
    )
    if losses := sgmse_objectives.wave_losses(settings, sample_rate):
        config["init_args"]["wave_losses"] = losses
    return config, {f"head.backbone.{name}": value for name, value in state.items()}
