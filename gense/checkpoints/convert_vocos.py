"""Checkpoints of vocos (gemelo-ai/vocos, commit c859e3b): `config.yaml` and a state dict to configuration and weights.

The YAML names classes of that package; they are recognised by name and never imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

# Computed by both sides; the extractor has no parameters
_COMPUTED = ("feature_extractor.", "head.istft.window")
_OUTER = {
    "embed": "backbone.embed", "norm": "backbone.norm", "blocks": "backbone.convnext",
    "final_norm": "backbone.final_layer_norm", "out": "head.out",
}  # fmt: skip
_INNER = {"depthwise": "dwconv", "expand": "pwconv1", "contract": "pwconv2", "scale": "gamma"}
_KNOWN: dict[str, tuple[str, dict[str, Any]]] = {
    "feature_extractor": ("vocos.feature_extractors.MelSpectrogramFeatures", {
        "sample_rate": 24000, "n_fft": 1024, "hop_length": 256, "n_mels": 100, "padding": "center",
    }),
    "backbone": ("vocos.models.VocosBackbone", {
        "input_channels": None, "dim": None, "intermediate_dim": None, "num_layers": None,
        "layer_scale_init_value": None, "adanorm_num_embeddings": None,
    }),
    "head": ("vocos.heads.ISTFTHead", {"dim": None, "n_fft": None, "hop_length": None, "padding": "same"}),
}  # fmt: skip


def published_name(own: str) -> str:
    """Say how the published package names one of our parameters."""
    outer, _, rest = own.partition(".")
    if outer == "blocks":
        index, inner, *leaf = rest.split(".")
        rest = ".".join([index, _INNER.get(inner, inner), *leaf])
    return f"{_OUTER[outer]}.{rest}"


def convert_config(published: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the content of a published `config.yaml` into the configuration of a `Vocos`.

    Raises:
        ValueError: a part is missing, or a class or setting is not one that this version knows.
    """
    given = {part: _settings(published, part) for part in _KNOWN}
    features, backbone, head = given["feature_extractor"], given["backbone"], given["head"]
    if backbone["adanorm_num_embeddings"] is not None:
        raise ValueError("backbone: adanorm_num_embeddings, the variant for EnCodec tokens, is not supported")
    if backbone["dim"] != head["dim"]:
        raise ValueError(f"backbone and head differ: dim {backbone['dim']} and {head['dim']}")
    mel = {
        "sample_rate": features["sample_rate"], "n_fft": features["n_fft"], "hop_length": features["hop_length"],
        "bands": features["n_mels"], "padding": features["padding"], "floor": 1e-7,
    }
    settings = {
        "mel": mel, "channels": backbone["input_channels"], "dim": backbone["dim"],
        "hidden": backbone["intermediate_dim"], "blocks": backbone["num_layers"],
        "sample_rate": features["sample_rate"], "n_fft": head["n_fft"], "hop_length": head["hop_length"],
        "padding": head["padding"],
    }
    return {"class_path": "gense.vocoders.Vocos", "init_args": settings}


def _settings(published: Mapping[str, Any], part: str) -> dict[str, Any]:
    """The `init_args` of a part of the YAML, complete."""
    node = published.get(part)
    if not isinstance(node, Mapping) or not isinstance(node.get("init_args", {}), Mapping):
        raise ValueError(f"no {part} with class_path and init_args; is this the config.yaml of a Vocos model?")
    known, defaults = _KNOWN[part]
    if node.get("class_path") != known:
        raise ValueError(f"{part}: {node.get('class_path')!r} is not supported, only {known!r}")
    given = node.get("init_args", {})
    if unknown := sorted(set(given) - set(defaults)):
        raise ValueError(f"{part}: unknown settings {', '.join(map(str, unknown))}")
    needed = [k for k in ("input_channels", "dim", "intermediate_dim", "num_layers", "n_fft", "hop_length")
              if k in defaults and defaults[k] is None and k not in given]  # fmt: skip
    if needed:
        raise ValueError(f"{part}: lacks {', '.join(needed)}")
    return {**defaults, **given}


def convert_state(published: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, Tensor]:
    """Rename a published state dict to the names of our parameters.

    Args:
        published: name -> tensor.
        own: names of all our parameters.

    Raises:
        ValueError: naming, as they are published, parameters that are missing or that nothing takes.
    """
    names = {published_name(name): name for name in own}
    found = {name for name in published if not name.startswith(_COMPUTED)}
    problems = [
        f"{len(listed)} {what} ({', '.join(sorted(listed)[:5])}{', ...' if len(listed) > 5 else ''})"
        for what, listed in (("missing", names.keys() - found), ("extra", found - names.keys()))
        if listed
    ]
    if problems:
        raise ValueError("the weights do not fit their configuration: " + "; ".join(problems))
    return {names[name]: published[name] for name in found}
