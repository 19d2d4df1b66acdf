"""From any name of a model to an `Enhancer` that is ready for use."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

from torch import Tensor

from gense.checkpoints import registry
from gense.checkpoints.build import build, read_config
from gense.checkpoints.fetch import cache_folder, fetch, from_hub
from gense.checkpoints.folder import METHOD, WEIGHTS, load_strict, read_state
from gense.checkpoints.formats import checkpoint_in, convert_file
from gense.enhancer import Enhancer
from gense.types import Sampling

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_enhancer(source: str | os.PathLike[str], *, trust: bool = False) -> Enhancer:
    """Load by name, folder, file or hub repository; see `gense.load`."""
    entry = registry.find(source) if isinstance(source, str) else None
    if entry is not None:
        return _load_entry(entry)
    path = Path(source)
    if path.is_dir():
        return load_folder(path, trust=trust)
    if path.is_file():
        return _load_file(path, trust=trust)
    text = os.fspath(source)
    if _HUB.fullmatch(text) and not path.suffix and not path.parent.exists():
        return _load_hub(text, trust=trust)
    if path.suffix or os.sep in text:
        raise FileNotFoundError(f"{text}: no such file or folder, and no method has that name")
    raise ValueError(f"method {text!r} unknown; {registry.nearest(text)}")


def load_folder(folder: str | os.PathLike[str], *, trust: bool = False) -> Enhancer:
    """Load a folder: with `method.yaml` and `model.safetensors`, as `gense fit` and `gense convert` write it, or with
    the files of a published model of several."""
    folder = Path(folder)
    published = checkpoint_in(folder)
    if published is not None and not (folder / METHOD).exists():
        return _load_file(published, trust=trust)
    for name in (METHOD, WEIGHTS):
        if not (folder / name).exists():
            raise FileNotFoundError(f"{folder}: no {name} in this folder; a model has {METHOD} and {WEIGHTS}")
    return _load_pair(folder / METHOD, folder / WEIGHTS, str(folder), trust=trust)


def _load_hub(repository: str, *, trust: bool) -> Enhancer:
    try:
        method, weights = from_hub(repository, METHOD), from_hub(repository, WEIGHTS)
    except OSError as error:
        meant = registry.nearest(repository, least=0.7)
        raise OSError(f"{error}. {repository!r} is no method of this library either; {meant}") from error
    return _load_pair(method, weights, repository, trust=trust)


def _load_pair(method: Path, weights: Path, source: str, *, trust: bool) -> Enhancer:
    state = {name: value.float() for name, value in read_state(weights).items()}
    try:
        enhancer = build(read_config(method), trust=trust, state=state)
    except ValueError as error:
        raise ValueError(f"{method}: {str(error).removeprefix(f'{method}: ')}") from error
    load_strict(enhancer, state, source)
    return enhancer.eval()


def _load_file(path: Path, *, trust: bool) -> Enhancer:
    if path.name == WEIGHTS or path.name == METHOD:
        return load_folder(path.parent, trust=trust)
    if path.suffix == ".safetensors":
        raise ValueError(f"{path}: weights without their {METHOD}; name the file {WEIGHTS}, beside it {METHOD}")
    config, state, _ = convert_file(path)
    enhancer = build(config, state=state)
    load_strict(enhancer, state, str(path))
    return enhancer.eval()


def _load_entry(entry: registry.Entry) -> Enhancer:
    if entry.unsupported:
        raise ValueError(f"{entry.name} is listed, but this version cannot load it: {entry.unsupported}")
    if entry.bundled is not None:
        assert entry.config is not None
        method = Path(str(resources.files("gense.configs") / "method" / entry.config))
        config = read_config(method)
        for name in entry.without:
            del config["init_args"]["representations"][name]
        enhancer = build(config)
        load_strict(enhancer, _bundled_state(entry), entry.name)
        return enhancer.eval()
    assert entry.url is not None
    path = cached(entry)
    files = {**{path.with_name(name): url for name, url in entry.beside.items()}, path: entry.url}
    try:
        for file, url in files.items():
            fetch(url, file, sha256=entry.sha256 if file == path else None)
    except OSError as error:  # about the first that is missing; who installs it by hand needs the others, too
        others = [(file, url) for file, url in files.items() if not file.exists()][1:]
        raise OSError("".join([str(error), *(f", and {url} as {file}" for file, url in others)])) from error
    enhancer = _load_file(path, trust=False)
    if entry.sampling:
        enhancer.head.sampling = replace(Sampling(), **entry.sampling)
    return enhancer


def _bundled_state(entry: registry.Entry) -> dict[str, Tensor]:
    """Weights of a bundled model, float32, with the parts that lie in other bundled files."""
    assert entry.bundled is not None
    state = {name: value.float() for name, value in read_state(entry.bundled).items()}
    for part, other in entry.others.items():
        for name, value in _bundled_state(other).items():
            if name.startswith("head."):
                state[f"{part}.{name.removeprefix('head.')}"] = value
    return state


def cached(entry: registry.Entry) -> Path:
    """Where a published file is kept once it has been fetched; one with others beside it in a folder of its own."""
    folder = cache_folder() / entry.method
    return folder / entry.weights / "model.ckpt" if entry.beside else folder / f"{entry.weights}.ckpt"
