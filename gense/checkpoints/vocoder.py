"""From the name of a vocoder to a module that is ready for use."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from torch import Tensor

from gense.checkpoints.build import build_as, read_config
from gense.checkpoints.convert_pase import VOCODERS, convert_vocoder, recognise_vocoder
from gense.checkpoints.convert_vocos import convert_config, convert_state
from gense.checkpoints.fetch import from_hub
from gense.checkpoints.folder import WEIGHTS, load_strict, read_state
from gense.checkpoints.pickled import read_checkpoint
from gense.checkpoints.plain_yaml import read_yaml
from gense.vocoders.base import Vocoder

VOCODER = "vocoder.yaml"
_CONFIG, _PUBLISHED, _HF_CONFIG, _HF_WEIGHTS = "config.yaml", "pytorch_model.bin", "config.json", "model.safetensors"
_WHOLE = ".tar"
_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
# `model_type` or architecture in a config.json of transformers -> our class around it
_HF = {
    "hifigan": "HiFiGAN", "speecht5_hifigan": "HiFiGAN", "SpeechT5HifiGan": "HiFiGAN",
    "univnet": "UnivNet", "UnivNetModel": "UnivNet",
}  # fmt: skip


def load_vocoder(
    name_or_path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    mel: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> Vocoder:
    """Load a vocoder, in evaluation mode on the CPU.

    Args:
        name_or_path: a folder, with `vocoder.yaml` and `model.safetensors` as `gense fit` writes it, with the published
            `config.yaml` and `pytorch_model.bin` of Vocos, with `config.json` and weights of transformers, or with the
            published vocoders of PASE, of which one with two streams goes before; one of these configuration files; a
            checkpoint of PASE; a hub repository with the published files, such as "charactr/vocos-mel-24khz"; or the
            name of a bundled vocoder.
        weights: the file of the weights, where it does not lie beside its configuration.
        mel: fields of `MelSettings` in which the mel spectrogram of a transformers vocoder differs from its class's
            default, that of the best-known weights; a `config.json` does not tell.
        trust: allow classes from outside gense in a `vocoder.yaml`.

    Raises: see `read_vocoder`.
    """
    return read_vocoder(name_or_path, weights, mel=mel, trust=trust)[1]


def read_vocoder(
    name_or_path: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None = None,
    *,
    mel: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> tuple[dict[str, Any], Vocoder]:
    """Load a vocoder as `load_vocoder` does, with the configuration from which `build_vocoder` makes another one.

    Raises:
        FileNotFoundError: no such folder or file.
        OSError: the hub cannot be reached, or has no such files.
        ValueError: unknown name, another kind of model, or weights that do not fit; names what is missing and extra.
    """
    text = os.fspath(name_or_path)
    path = Path(name_or_path)
    bundled = Path(str(resources.files("gense.configs") / "vocoder" / f"{text}.yaml"))
    if path.is_dir():
        config = _configuration(path)
    elif path.is_file():
        config = path
    elif _HUB.fullmatch(text) and not path.suffix and not path.parent.exists():
        config, weights = _from_hub(text, weights)
    elif os.sep not in text and bundled.is_file():
        config, weights = bundled, weights or Path(str(resources.files("gense.weights") / f"{text}.safetensors"))
        if not Path(weights).exists():
            raise FileNotFoundError(f"{text}: this version ships the configuration of this vocoder, not its weights")
    else:
        raise FileNotFoundError(f"{text}: no such folder or file, and neither a bundled vocoder nor a hub repository")
    if config.name not in (_CONFIG, _HF_CONFIG) and config.suffix not in (".yaml", ".yml", _WHOLE):
        config, weights = _configuration(path.parent), weights or path  # the file of the weights was given
    if mel is not None and config.name != _HF_CONFIG:
        raise ValueError(f"{config}: it says itself on which mel spectrogram the vocoder was trained; leave out mel")
    try:
        if config.suffix == _WHOLE:
            settings, vocoder = _load_whole(config, weights)
        elif config.name == _HF_CONFIG:
            settings, vocoder = _load_transformers(config, weights, mel)
        elif config.name == _CONFIG:
            settings, vocoder = _load_published(config, Path(weights or _beside(config, _PUBLISHED, _HF_WEIGHTS)))
        else:
            settings, vocoder = _load_own(config, Path(weights or config.parent / WEIGHTS), trust=trust)
        return settings, vocoder.eval()
    except ValueError as error:
        raise ValueError(f"{config}: {str(error).removeprefix(f'{config}: ')}") from error


def _configuration(folder: Path) -> Path:
    for name in (VOCODER, _CONFIG, _HF_CONFIG, *VOCODERS):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{folder}: no {VOCODER}, {_CONFIG}, {_HF_CONFIG} or {VOCODERS[0]} in this folder; it holds no vocoder"
    )


def _beside(config: Path, *names: str) -> Path:
    """The first of these files that lies beside a configuration."""
    found = next((config.parent / name for name in names if (config.parent / name).is_file()), None)
    if found is None:
        raise FileNotFoundError(f"{config.parent}: no {' or '.join(names)} beside {config.name}")
    return found


def _from_hub(repository: str, weights: str | os.PathLike[str] | None) -> tuple[Path, str | os.PathLike[str]]:
    try:
        config = from_hub(repository, _CONFIG)
    except OSError as first:
        try:
            config = from_hub(repository, _HF_CONFIG)
        except OSError:
            raise first from None
    if weights is not None:
        return config, weights
    try:
        return config, from_hub(repository, _PUBLISHED)
    except OSError as first:
        try:
            return config, from_hub(repository, _HF_WEIGHTS)
        except OSError:
            raise first from None


def _load_own(config: Path, weights: Path, *, trust: bool) -> tuple[dict[str, Any], Vocoder]:
    settings = read_config(config)
    state = {name: value.float() for name, value in read_state(weights).items()}
    vocoder = build_vocoder(settings, trust=trust, state=state)
    load_strict(vocoder, state, str(weights))
    return settings, vocoder


def build_vocoder(
    config: Mapping[str, Any], *, trust: bool = False, state: Mapping[str, Tensor] | None = None
) -> Vocoder:
    """Construct the vocoder that a configuration describes, with fresh weights; see `build`."""
    return build_as(Vocoder, config, "vocoder", "the vocoder's configuration", trust=trust, state=state)


def _load_published(config: Path, weights: Path) -> tuple[dict[str, Any], Vocoder]:
    published = read_yaml(config)
    if not isinstance(published, dict):
        raise ValueError("expected a mapping with feature_extractor, backbone and head")
    settings = convert_config(published)
    tensors = _tensors(weights)
    vocoder = build_vocoder(settings, state=tensors)
    load_strict(vocoder, convert_state(tensors, vocoder.state_dict()), str(weights))
    return settings, vocoder


def _load_whole(path: Path, weights: str | os.PathLike[str] | None) -> tuple[dict[str, Any], Vocoder]:
    """A vocoder whose checkpoint holds its configuration, too."""
    if weights is not None:
        raise ValueError("this file holds the weights, too; leave out weights")
    checkpoint = read_checkpoint(path)
    if not recognise_vocoder(checkpoint):
        keys = ", ".join(str(key) for key in list(checkpoint)[:8]) or "none"
        raise ValueError(f"not the checkpoint of a vocoder that is known here; its top-level keys are: {keys}")
    settings, state = convert_vocoder(checkpoint)
    vocoder = build_vocoder(settings, state=state)
    load_strict(vocoder, state, str(path))
    return settings, vocoder


def _load_transformers(
    config: Path, weights: str | os.PathLike[str] | None, mel: Mapping[str, Any] | None
) -> tuple[dict[str, Any], Vocoder]:
    try:
        given = json.loads(config.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not readable as JSON ({error})") from error
    names = [given.get("model_type"), *(given.get("architectures") or ())] if isinstance(given, dict) else []
    kind = next((_HF[name] for name in names if name in _HF), None)
    if kind is None:
        raise ValueError(f"{names or 'this'} is no vocoder that is known here: {', '.join(sorted(_HF))}")
    settings: dict[str, Any] = {"config": _own_settings(given)}
    if mel is not None:
        settings["mel"] = dict(mel)
    described = {"class_path": f"gense.vocoders.{kind}", "init_args": settings}
    file = Path(weights or _beside(config, _HF_WEIGHTS, _PUBLISHED))
    state = {f"network.{name}": value for name, value in _tensors(file).items()}
    vocoder = build_vocoder(described, state=state)
    load_strict(vocoder, state, str(file))
    return described, vocoder


def _own_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a network in a config.json, which also holds some of transformers' own."""
    return {
        name: value
        for name, value in given.items()
        if name.startswith(("model_in", "model_hidden", "upsample_", "resblock_", "kernel_predictor_", "num_mel_bins"))
        or name in ("sampling_rate", "leaky_relu_slope", "normalize_before")
    }


def _tensors(path: Path) -> dict[str, Any]:
    state = read_state(path) if path.suffix == ".safetensors" else read_checkpoint(path)
    return {str(name): value.float() if value.is_floating_point() else value for name, value in state.items()}
