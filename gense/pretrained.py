"""Models of `transformers` by name or folder: found, fetched, checked, loaded once."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

# Weights that checkpoints leave out though nothing is wrong, because nothing here uses them: the mask of pre-training,
# the pooling head of a language model, the loss of a speaker model.
_DISPENSABLE = ("masked_spec_embed", "pooler.dense.weight", "pooler.dense.bias", "objective.weight")


def transformers_class(name: str) -> Any:
    """A class of the package `transformers`.

    Raises:
        ImportError: the package is not installed.
    """
    try:
        import transformers
    except ModuleNotFoundError as error:
        raise ImportError("transformers is not installed: pip install gense[hub]") from error
    return getattr(transformers, name)


@lru_cache(maxsize=16)
def load_config(name: str, revision: str | None = None) -> Any:
    """The configuration of a model; what is missing on this machine is fetched.

    Raises:
        ImportError: transformers is not installed.
        OSError: neither a folder with a model nor a model that can be fetched; the message says where it was looked
            for and what to do.
        ValueError: a type of model that the installed transformers does not know.
    """
    return _loaded("AutoConfig", name, revision)


@lru_cache(maxsize=16)
def load_part(auto: str, name: str, revision: str | None = None) -> Any:
    """The tokenizer or feature extractor of a model.

    Args:
        auto: `AutoTokenizer` or `AutoFeatureExtractor`.
        name: model of the hub or folder.
        revision: branch, tag or commit on the hub.

    Raises:
        ImportError: transformers, or a package that this part needs, is not installed.
        OSError: as `load_config`.
        ValueError: the model has no such part.
    """
    try:
        return _loaded(auto, name, revision)
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{name}: its {auto.removeprefix('Auto')} cannot be made: {_first_sentence(error)}") from error


def make_config(fields: Mapping[str, Any], usual: Mapping[str, Any] | None = None) -> Any:
    """A configuration object from its fields.

    Args:
        fields: `model_type`, such as "wavlm", and fields of that type; the others have their values of transformers.
        usual: values of fields that are left out, as far as the type has them.

    Raises:
        ImportError: transformers is not installed.
        ValueError: no such type, an unknown field, or a value that does not fit.
    """
    given = dict(fields)
    kind = given.pop("model_type", None)
    if not isinstance(kind, str):
        raise ValueError(f"model_type={kind!r}: expected a type of transformers, such as 'wavlm'")
    factory = transformers_class("AutoConfig")
    try:
        known = factory.for_model(kind).to_dict()
    except ValueError as error:
        raise ValueError(f"model_type={kind!r}: the installed transformers has no such type") from error
    if unknown := [name for name in given if name not in known]:
        near = get_close_matches(unknown[0], known, 1)
        raise ValueError(f"{kind} has no field {unknown[0]!r}{f'; nearest: {near[0]!r}' if near else ''}")
    values = {name: value for name, value in (usual or {}).items() if name in known} | given
    try:
        return factory.for_model(kind, **values)
    except Exception as error:  # the configuration classes have several of their own
        raise ValueError(f"{kind} cannot have these values: {_first_sentence(error)}") from error


@lru_cache(maxsize=8)
def load_model(auto: str, name: str, role: str, revision: str | None = None, device: str = "cpu") -> Any:
    """A network in evaluation mode and single precision, its weights on `device`; asked again, the same one.

    safetensors are preferred; weights that exist as a pickle only are read by a loader that builds tensors and nothing
    else. Code that lies beside a model is never run.

    Args:
        auto: class that chooses the network by the configuration, such as `AutoModelForCTC`.
        name: model of the hub or folder.
        role: what the model is meant to be, for messages: "a speech recogniser".
        revision: branch, tag or commit on the hub.
        device: of the weights.

    Raises:
        ImportError: transformers is not installed.
        OSError: as `load_config`, or there are no weights.
        ValueError: the model is not of that kind, or its checkpoint lacks the weights of such a head.
    """
    from safetensors import SafetensorError

    config = load_config(name, revision)
    if type(config) not in transformers_class(auto)._model_mapping:
        raise ValueError(f"{name} is of type {config.model_type!r}, which is not {role}")
    try:
        model, report = _loaded(auto, name, revision, weights_only=True, output_loading_info=True)
    except (pickle.UnpicklingError, OSError) as error:
        if not _refused(error):
            raise
        raise ValueError(f"the weights of {name} are refused: a pickle that holds more than tensors") from error
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(f"the weights of {name} cannot be read: {_first_sentence(error)}") from error
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(_DISPENSABLE))
    if missing:
        raise ValueError(
            f"{name} is not {role}: its checkpoint lacks {', '.join(missing[:3])}"
            f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}, which would be random"
        )
    return model.float().eval().requires_grad_(False).to(device)


def file_of(name: str, filename: str, revision: str | None = None) -> Path | None:
    """A file of a model, None where the model has no such file.

    Raises:
        ImportError: transformers is not installed.
        OSError: as `load_config`.
    """
    load_config(name, revision)
    if Path(name).is_dir():
        path = Path(name) / filename
        return path if path.is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        return Path(hf_hub_download(name, filename, revision=revision))
    except EntryNotFoundError:
        return None


def _loaded(auto: str, name: str, revision: str | None, **options: Any) -> Any:
    """`auto.from_pretrained`: from the folder or the cache where they have it, else fetched."""
    factory = transformers_class(auto)
    options.update(revision=revision, trust_remote_code=False)
    if Path(name).is_dir():
        try:
            return factory.from_pretrained(name, local_files_only=True, **options)
        except OSError as error:
            raise OSError(f"{name} holds no complete model: {_first_sentence(error)}") from error
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise FileNotFoundError(f"{name}: no such folder")
    try:
        return factory.from_pretrained(name, local_files_only=True, **options)
    except OSError:
        _reachable(name, revision)
    try:
        return factory.from_pretrained(name, **options)
    except OSError as error:
        raise OSError(f"{name} could not be fetched: {_first_sentence(error)}") from error


def _reachable(name: str, revision: str | None) -> None:
    """Ask the hub once: transformers would ask for each of its files, half a minute each where there is no network."""
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    try:
        get_hf_file_metadata(hf_hub_url(name, "config.json", revision=revision), timeout=10)
    except Exception as error:  # which ones depends on the HTTP library of the installed huggingface_hub
        raise OSError(
            f"{name} is neither a folder nor in the cache {constants.HF_HUB_CACHE}, and {constants.ENDPOINT}/{name} "
            f"could not be reached: {_first_sentence(error)}. Offline, put its files into a folder and pass that"
        ) from error


def _refused(error: BaseException | None) -> bool:
    """Whether a pickle was the cause, which older versions of transformers wrap into errors about files."""
    return error is not None and (isinstance(error, pickle.UnpicklingError) or _refused(error.__context__))


def _first_sentence(error: Exception) -> str:
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__).split(". ")[0].rstrip(".")
