"""From a method's YAML to the module."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from gense.enhancer import Enhancer

Config = Mapping[str, Any]
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a method's YAML.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, or no mapping with `class_path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(config, dict) or "class_path" not in config:
        raise ValueError(f"{path}: expected a mapping with class_path: gense.Enhancer and init_args")
    return config


def build(config: Config, *, trust: bool = False) -> Enhancer:
    """Construct the enhancer that a configuration describes, with fresh weights.

    Args:
        config: `class_path` and `init_args`, nested as in `configs/method/*.yaml`.
        trust: allow classes and functions from outside gense, which are imported. Only for files that you wrote or read.

    Raises:
        ValueError: an unknown key or a wrong value, with the path to it, or a name outside gense without `trust`.
    """
    from jsonargparse import ArgumentError, ArgumentParser

    if not trust:
        for where, name in _foreign(config, "enhancer"):
            raise ValueError(
                f"{where}: {name!r} lies outside gense and was not imported; pass trust=True if you trust this file"
            )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--enhancer", type=Enhancer)
    try:
        parsed = parser.parse_object({"enhancer": dict(config)})
    except ArgumentError as error:
        raise ValueError(f"the method's configuration is wrong: {error}") from error
    return parser.instantiate(parsed).enhancer


def _foreign(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Find strings that an object parser may take for something to import.

    Any string of the form `name.name` is one, wherever it stands: a class can be named by a bare string, too.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _foreign(value, f"{where}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _foreign(value, f"{where}[{index}]")
    elif isinstance(node, str) and _DOTTED.fullmatch(node) and not node.startswith("gense."):
        yield where, node
