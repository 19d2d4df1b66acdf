"""What a network of sgmse was trained for, in the arguments of `PathHead`.

Facts come from the published code at sp-uhh/sgmse, commit ae690e8; the objectives of its newer backbone are those of
Richter et al. (2025), "Investigating training objectives for generative speech enhancement", and its Schroedinger
bridge that of Jukic et al. (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gense.checkpoints import lightning

DEFAULTS: dict[str, Any] = {
    "sde": "ouve", "loss_type": "score_matching", "loss_weighting": "sigma^2", "network_scaling": None, "c_in": "1",
    "c_out": "1", "c_skip": "0", "sigma_data": 0.1, "l1_weight": 1e-3, "pesq_weight": 0.0,
    "theta": 1.5, "sigma_min": 0.05, "sigma_max": 0.5, "k": 2.6, "c": 0.4,
}
"""What the training script uses where an older file lacks the key."""

_WEIGHTS = {"1": "unit", "sigma^2": "variance", "edm": "edm"}
_INPUT = {"1": "unit", "edm": "edm"}
_SKIP = {"0": "none", "edm": "edm"}
_OUTPUT = {"1": "unit", "sigma": "noise", "1/sigma": "inverse_noise", "edm": "edm"}
_SCALING = {"1/sigma": "inverse_noise", "1/t": "inverse_time"}


def score(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The older backbones: a score, trained by denoising score matching.

    Raises:
        ValueError: another SDE or loss.
    """
    lightning.require(settings, {"sde": ("ouve",), "loss_type": ("score_matching", "mse")})
    return {"predicts": "score", "loss_on": "noise", **_diffusion(settings)}


def preconditioned(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The newer backbone: the score or the mean of a diffusion, or the data of a bridge, with scalings around it.

    The published weighting "edm" fails for more than one item in a batch; here it weights each item.

    Raises:
        ValueError: an unknown SDE, loss, weighting or scaling, or a combination without a published sampler.
    """
    known = {"sde": ("ouve", "sbve"), "c_in": tuple(_INPUT), "c_skip": tuple(_SKIP), "c_out": tuple(_OUTPUT)}
    lightning.require(settings, known)
    scalings = {
        "c_in": _INPUT[settings["c_in"]],
        "c_skip": _SKIP[settings["c_skip"]],
        "c_out": _OUTPUT[settings["c_out"]],
        # any other word means no scaling there
        "scaling": _SCALING.get(settings["network_scaling"], "unit"),
    }
    weight = "unit"
    if settings["sde"] == "sbve":
        lightning.require(settings, {"loss_type": ("data_prediction",)})
        objective = {"predicts": "data", **_bridge(settings)}
    else:
        lightning.require(settings, {"loss_type": ("score_matching", "denoiser")})
        if settings["loss_type"] == "score_matching":
            lightning.require(settings, {"loss_weighting": ("sigma^2",)})
            objective = {"predicts": "score", "loss_on": "noise"}
        else:
            lightning.require(settings, {"loss_weighting": tuple(_WEIGHTS)})
            weight = _WEIGHTS[settings["loss_weighting"]]
            objective = {"predicts": "mean", "weight": weight}
            scalings.update(c_skip="none", c_out="unit")  # the published denoiser passes them over
        objective.update(_diffusion(settings))
    plain = {"c_in": "unit", "c_skip": "none", "c_out": "unit", "scaling": "unit"}
    if scalings != plain or weight == "edm":
        objective["precondition"] = {
            "class_path": "gense.processes.Precondition",
            "init_args": {**scalings, "sigma_data": float(settings["sigma_data"])},
        }
    return objective


def wave_losses(settings: Mapping[str, Any], sample_rate: int) -> list[dict[str, Any]]:
    """The losses on waveforms beside data prediction; the perceptual one is defined at 16 kHz only.

    The published sum halves both the spectral and the sample loss, but not the perceptual one.
    """
    if settings["loss_type"] != "data_prediction":
        return []
    losses = [
        ("gense.losses.WaveformLoss", float(settings["l1_weight"])),
        ("gense.losses.PerceptualLoss", 2 * float(settings["pesq_weight"]) if sample_rate == 16000 else 0.0),
    ]
    return [{"class_path": name, "init_args": {"weight": weight}} for name, weight in losses if weight]


def _diffusion(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "process": lightning.ornstein_uhlenbeck(settings),
        "sampling": {"sampler": "predictor_corrector", "steps": 30, "options": {"snr": 0.5, "corrector_steps": 1}},
    }


def _bridge(settings: Mapping[str, Any]) -> dict[str, Any]:
    lightning.require(settings, {"sampler_type": ("ode", "sde")})
    sampler: dict[str, Any] = {"sampler": "bridge_ode"}
    if settings["sampler_type"] == "sde":
        sampler = {"sampler": "exponential", "options": {"eta": 1.0, "lookahead": True}}
    return {
        "process": {
            "class_path": "gense.processes.BridgeVE",
            "init_args": {"k": float(settings["k"]), "c": float(settings["c"])},
        },
        "sampling": {**sampler, "steps": int(settings["N"]), "schedule_options": {"end": 1e-4}},
    }
