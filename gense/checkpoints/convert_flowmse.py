"""Checkpoints of flowmse (flow matching from noisy to clean, Lee et al. 2025): Lightning files.

Facts on the format come from the published code at seongq/flowmse, commit f6b479d. It is not the FlowSE of Wang et al.,
which generates mel spectrograms.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from gense.checkpoints import lightning
from gense.checkpoints.ncsnpp_keys import convert_ncsnpp

# What the training script uses where a file lacks the key; it stores none of the network's sizes
_DEFAULTS: dict[str, Any] = {
    "backbone": "ncsnpp", "ode": "flowmatching", "t_eps": 0.03, "T_rev": 1.0, "sigma_min": 0.0, "sigma_max": 0.487,
    "n_fft": 510, "hop_length": 128, "window": "hann", "spec_factor": 0.15, "spec_abs_exponent": 0.5,
    "transform_type": "exponent", "nf": 128, "ch_mult": [1, 1, 2, 2, 2, 2, 2], "num_res_blocks": 2,
    "attn_resolutions": [16], "image_size": 256,
}


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of this format: Lightning's, with a network `dnn` and an ODE in the hyper-parameters."""
    settings = checkpoint.get("hyper_parameters")
    state = checkpoint.get("state_dict")
    return (
        isinstance(settings, Mapping)
        and isinstance(state, Mapping)
        and "ode" in settings
        and any(str(name).startswith("dnn.") for name in state)
    )


def convert(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint into (configuration, weights) of an `Enhancer`.

    The averaged weights are taken where the file has them. The network's output layer changes its sign, because the
    published velocity is minus the network's output. Sampling is the published one, Euler's method over 5 times from
    T_rev to t_eps and from there to 0; the published adaptive solver is sampler="odeint", solver="scipy:RK45",
    end=t_eps. A training loss of absolute values ("mae") is not carried over: the configuration says squares.

    Raises:
        ValueError: a path or backbone that this version does not know, or weights that do not fit.
    """
    settings = {**_DEFAULTS, **checkpoint["hyper_parameters"]}
    lightning.require(settings, {"ode": ("flowmatching",), "backbone": ("ncsnpp",)})
    network = {
        "base_channels": int(settings["nf"]),
        "channel_mult": [int(m) for m in settings["ch_mult"]],
        "blocks_per_level": int(settings["num_res_blocks"]),
        "attention_levels": lightning.attention_levels(settings),
        "progressive": "output_skip",
        "progressive_input": "input_skip",
        "centered": True,
        "divide_by_time": "before",
    }
    (published,) = lightning.networks(checkpoint, "dnn.")
    state = lightning.negated(convert_ncsnpp(published, **network))
    sampling: dict[str, Any] = {"sampler": "euler", "steps": 5}
    if float(settings["T_rev"]) != 1.0:
        sampling["schedule_options"] = {"start": float(settings["T_rev"])}
    head = {
        "target": "stft", "predicts": "velocity", "anchor": "noisy_stft", "condition": ["noisy_stft"],
        "t_eps": float(settings["t_eps"]), "sampling": sampling,
        "process": {
            "class_path": "gense.processes.NoisyFlow",
            "init_args": {"sigma_min": float(settings["sigma_min"]), "sigma_max": float(settings["sigma_max"])},
        },
        "backbone": {"class_path": "gense.backbones.NCSNpp", "init_args": network},
    }
    config = lightning.enhancer(
        {"class_path": "gense.heads.PathHead", "init_args": head},
        lightning.stft(settings, sample_rate=16000, pad_mode="zero"),
    )
    return config, {f"head.backbone.{name}": value for name, value in state.items()}
