"""What the Lightning checkpoints of the spectrogram methods have in common: sgmse and the codes that grew out of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

_WINDOWS = {"hann": "hann", "sqrthann": "sqrthann"}


def networks(checkpoint: Mapping[str, Any], *prefixes: str) -> list[dict[str, Tensor]]:
    """The weights of each network, without its prefix ("dnn."), the averaged ones where the file has them.

    The moving average is a bare list over the parameters of all networks, in the order of their names in the file.

    Raises:
        ValueError: the average does not fit the names.
    """
    raw = {name: value for name, value in checkpoint["state_dict"].items() if name.startswith(prefixes)}
    average = (checkpoint.get("ema") or {}).get("shadow_params")
    if average is not None:
        if len(average) != len(raw):
            raise ValueError(f"the moving average holds {len(average)} tensors, the network {len(raw)}")
        for (name, value), mean in zip(raw.items(), average, strict=True):
            if value.shape != mean.shape:
                raise ValueError(
                    f"the moving average of {name} is {tuple(mean.shape)}, the weight {tuple(value.shape)}"
                )
        raw = dict(zip(raw, average, strict=True))
    return [{k.removeprefix(prefix): v for k, v in raw.items() if k.startswith(prefix)} for prefix in prefixes]


def require(settings: Mapping[str, Any], known: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse hyper-parameters with other values than those that can be converted.

    Raises:
        ValueError: naming the hyper-parameter and the values that it may have.
    """
    for key, values in known.items():
        if settings[key] not in values:
            raise ValueError(
                f"hyper-parameter {key}={settings[key]!r} is not supported; "
                f"this version converts {', '.join(map(str, values))}"
            )


def attention_levels(settings: Mapping[str, Any]) -> list[int]:
    """The levels whose height is among the resolutions with attention, 0 = finest."""
    levels = range(len(settings["ch_mult"]))
    return [i for i in levels if settings["image_size"] // 2**i in settings["attn_resolutions"]]


def negated(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A converted network with the sign of its output changed: the published score is minus the network's output."""
    return {name: -value if name.startswith("output_layer.") else value for name, value in weights.items()}


def stft(settings: Mapping[str, Any], *, sample_rate: int, pad_mode: str) -> dict[str, Any]:
    """Configuration of the representation.

    Raises:
        ValueError: a window of another kind.
    """
    if settings["window"] not in _WINDOWS:
        raise ValueError(f"hyper-parameter window={settings['window']!r}: expected {', '.join(_WINDOWS)}")
    return {
        "class_path": "gense.representations.CompressedSTFT",
        "init_args": {
            "sample_rate": sample_rate, "n_fft": int(settings["n_fft"]), "hop_length": int(settings["hop_length"]),
            "factor": float(settings["spec_factor"]), "exponent": float(settings["spec_abs_exponent"]),
            "transform": settings["transform_type"], "window": _WINDOWS[settings["window"]],
            "frames_multiple": 64, "pad_mode": pad_mode,
        },
    }


def ornstein_uhlenbeck(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Configuration of the process."""
    return {
        "class_path": "gense.processes.OrnsteinUhlenbeck",
        "init_args": {
            "stiffness": float(settings["theta"]), "sigma_min": float(settings["sigma_min"]),
            "sigma_max": float(settings["sigma_max"]),
        },
    }


def enhancer(head: dict[str, Any], representation: dict[str, Any]) -> dict[str, Any]:
    """Configuration of an enhancer with the published level, on one representation named "stft"."""
    return {
        "class_path": "gense.Enhancer",
        "init_args": {
            "sample_rate": representation["init_args"]["sample_rate"],
            "level": {"kind": "peak"},
            "chunking": {"seconds": 20.0, "overlap": 2.0, "batch": 1},
            "representations": {"stft": representation},
            "head": head,
        },
    }
