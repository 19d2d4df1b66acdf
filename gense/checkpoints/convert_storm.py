"""Checkpoints of storm (stochastic regeneration, and its score-only and denoiser-only baselines).

Facts on the format come from the published code at sp-uhh/storm, commit 257e963.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from gense.checkpoints import lightning
from gense.checkpoints.ncsnpp_keys import convert_ncsnpp

# What the training script uses where a file lacks the key
_DEFAULTS: dict[str, Any] = {
    "sde": "ouve", "mode": "regen-joint-training", "condition": "both", "t_eps": 0.03, "theta": 1.5, "sigma_min": 0.05,
    "sigma_max": 0.5, "n_fft": 510, "hop_length": 128, "window": "hann", "spec_factor": 0.33, "spec_abs_exponent": 0.5,
    "transform_type": "exponent", "image_size": 256, "spatial_channels": 1, "weighting_denoiser_to_score": 0.5,
    "loss_type": "mse", "loss_type_denoiser": "mse", "loss_type_score": "mse", "backbone": "ncsnpp",
    "backbone_denoiser": "ncsnpp", "backbone_score": "ncsnpp",
}
# Only the first takes its sizes from the hyper-parameters; the others are what their names say
_SIZES: dict[str, dict[str, Any]] = {
    "ncsnpp": {"nf": 128, "ch_mult": [1, 2, 2, 2], "num_res_blocks": 1, "attn_resolutions": [0]},
    "ncsnpplarge": {"nf": 128, "ch_mult": [1, 1, 2, 2, 2, 2, 2], "num_res_blocks": 2, "attn_resolutions": [16]},
    "ncsnpp12M": {"nf": 96, "ch_mult": [1, 2, 2, 1], "num_res_blocks": 1, "attn_resolutions": [0]},
    "ncsnpp6M": {"nf": 96, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 1, "attn_resolutions": [0]},
}
_CONDITIONS = {"noisy": ["noisy_stft"], "post_denoiser": ["denoised"], "both": ["noisy_stft", "denoised"]}
_CRITERIA = {"mse": "squared", "mae": "absolute"}
_MODES = ("regen-joint-training", "regen-freeze-denoiser")


def recognise(checkpoint: Mapping[str, Any]) -> bool:
    """Whether a checkpoint is of this format.

    Its files name the same classes as those of sgmse. Apart from the pair of networks, what tells them is a number of
    steps under the name of this script alone, and that its networks have no choice of being centred.
    """
    settings = checkpoint.get("hyper_parameters")
    state = checkpoint.get("state_dict")
    if not isinstance(settings, Mapping) or not isinstance(state, Mapping) or "sde" not in settings:
        return False
    if "backbone_denoiser" in settings or any(str(name).startswith("denoiser_net.") for name in state):
        return True
    single = "sde_n" in settings and not settings.keys() & {"N", "centered"}
    return (single or "discriminative" in settings) and any(str(name).startswith("dnn.") for name in state)


def convert(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Turn a published checkpoint into (configuration, weights) of an `Enhancer`.

    The averaged weights are taken where the file has them. A score network's output layer changes its sign, because
    the published score is minus the network's output.

    Raises:
        ValueError: a process, backbone, condition or objective that this version does not know, or weights that do not
            fit.
    """
    settings = {**_DEFAULTS, **checkpoint["hyper_parameters"]}
    lightning.require(settings, {"sde": ("ouve",), "spatial_channels": (1,)})
    if any(name.startswith("denoiser_net.") for name in checkpoint["state_dict"]):
        head, weights = _regeneration(checkpoint, settings)
    else:
        (published,) = lightning.networks(checkpoint, "dnn.")
        kind = _regression if settings.get("discriminative") else _diffusion
        head, weights = kind(settings, "backbone", published)
    representation = lightning.stft(settings, sample_rate=16000, pad_mode="zero")
    return lightning.enhancer(head, representation), {f"head.{name}": value for name, value in weights.items()}


def _regeneration(
    checkpoint: Mapping[str, Any], settings: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A denoiser, and diffusion around what it makes."""
    lightning.require(settings, {"mode": _MODES, "condition": tuple(_CONDITIONS)})
    denoiser, score = lightning.networks(checkpoint, "denoiser_net.", "score_net.")
    first, of_first = _regression(settings, "backbone_denoiser", denoiser, loss="loss_type_denoiser")
    condition = _CONDITIONS[settings["condition"]]
    second, of_second = _diffusion(
        settings, "backbone_score", score, loss="loss_type_score", anchor="denoised", condition=condition
    )
    share = float(settings["weighting_denoiser_to_score"])
    cascade: dict[str, Any] = {"stages": {"denoised": first, "out": second}}
    if settings["mode"] == "regen-freeze-denoiser":
        cascade["train"] = ["out"]
    else:
        cascade["weights"] = {"denoised": share, "out": 1 - share}
    weights = {f"stages.denoised.{name}": value for name, value in of_first.items()}
    weights |= {f"stages.out.{name}": value for name, value in of_second.items()}
    return {"class_path": "gense.heads.Cascade", "init_args": cascade}, weights


def _regression(
    settings: Mapping[str, Any], backbone: str, published: Mapping[str, Tensor], *, loss: str = "loss_type"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A denoiser: its configuration and its weights."""
    lightning.require(settings, {loss: tuple(_CRITERIA)})
    network = _network(settings, backbone, {"inputs": 1, "timed": False, "divide_by_time": None})
    head = {
        "target": "stft", "condition": ["noisy_stft"], "criterion": _CRITERIA[settings[loss]],
        "backbone": {"class_path": "gense.backbones.NCSNpp", "init_args": network},
    }
    return {"class_path": "gense.heads.RegressionHead", "init_args": head}, _weights(published, network)


def _diffusion(
    settings: Mapping[str, Any],
    backbone: str,
    published: Mapping[str, Tensor],
    *,
    loss: str = "loss_type",
    anchor: str = "noisy_stft",
    condition: Sequence[str] = ("noisy_stft",),
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A score network: its configuration and its weights."""
    lightning.require(settings, {loss: tuple(_CRITERIA)})
    network = _network(settings, backbone, {"inputs": 1 + len(condition), "divide_by_time": "before"})
    # Those of the published script; whatever the number of steps, each of them has the size 1 / steps
    options = {"snr": 0.5, "corrector_steps": 1, "step_size": "even"}
    head = {
        "target": "stft", "predicts": "score", "loss_on": "noise", "anchor": anchor,
        "condition": list(condition),
        "t_eps": float(settings["t_eps"]),
        "sampling": {"sampler": "predictor_corrector", "steps": 50, "options": options},
        "process": lightning.ornstein_uhlenbeck(settings),
        "backbone": {"class_path": "gense.backbones.NCSNpp", "init_args": network},
    }
    return {"class_path": "gense.heads.PathHead", "init_args": head}, _weights(published, network, negated=True)


def _network(settings: Mapping[str, Any], backbone: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `NCSNpp` for the network that the hyper-parameter `backbone` names."""
    lightning.require(settings, {backbone: tuple(_SIZES)})
    name = settings[backbone]
    sizes = {**_SIZES[name], **(settings if name == "ncsnpp" else {"image_size": settings["image_size"]})}
    return {
        "base_channels": int(sizes["nf"]),
        "channel_mult": [int(m) for m in sizes["ch_mult"]],
        "blocks_per_level": int(sizes["num_res_blocks"]),
        "attention_levels": lightning.attention_levels(sizes),
        "centered": False,
        **arguments,
    }


def _weights(
    published: Mapping[str, Tensor], network: Mapping[str, Any], *, negated: bool = False
) -> dict[str, Tensor]:
    converted = convert_ncsnpp(published, **network)
    if negated:
        converted = lightning.negated(converted)
    return {f"backbone.{name}": value for name, value in converted.items()}
