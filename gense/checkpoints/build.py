"""From a method's YAML to the module."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from gense.checkpoints.bounded import bounded, check_numbers
from gense.checkpoints.plain_yaml import read_yaml
from gense.enhancer import Enhancer

Config = Mapping[str, Any]
Module = TypeVar("Module", bound=nn.Module)
_HARMLESS = re.compile(r"[\w+-]*|[+-]?[\d.]+([eE][+-]?\d+)?|gense(\.[A-Za-z_]\w*)+", re.ASCII)
_BRANCH = re.compile(r"\s*(Parser key|Problem with given class_path '[\w.]+':$)")


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a method's YAML.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, see `read_yaml`, or no mapping with `class_path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    config = read_yaml(path)
    if not isinstance(config, dict) or "class_path" not in config:
        raise ValueError(f"{path}: expected a mapping with class_path: gense.Enhancer and init_args")
    return config


def build(config: Config, *, trust: bool = False, state: Mapping[str, Tensor] | None = None) -> Enhancer:
    """Construct the enhancer that a configuration describes, with fresh weights.

    Args:
        config: `class_path` and `init_args`, nested as in `configs/method/*.yaml`.
        trust: allow classes and functions from outside gense, which are imported. For files that you wrote or read.
        state: the weights that are to go into it. Where they are given and `trust` is not, a network far larger than
            they are is refused before any memory is taken for it.

    Raises:
        ValueError: an unknown key or a wrong value, with the path to it, a name outside gense without `trust`, or an
            absurd size.
    """
    return build_as(Enhancer, config, "enhancer", "the method's configuration", trust=trust, state=state)


def build_as(
    kind: type[Module],
    config: Config,
    key: str,
    what: str,
    *,
    trust: bool = False,
    state: Mapping[str, Tensor] | None = None,
) -> Module:
    """Construct a `kind` from a configuration, as `build` does; `key` and `what` are what messages call it."""
    from jsonargparse import ArgumentError, ArgumentParser

    if not trust:
        try:
            if state is not None:
                check_numbers(config, key)
            _refuse(_foreign(config, key))
        except RecursionError:
            raise ValueError(f"{what} refers to itself") from None
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument(f"--{key}", type=kind)
    try:
        parsed = parser.parse_object({key: dict(config)})
    except ArgumentError as error:  # its causes are a long chain inside the parser
        raise ValueError(f"{what} is wrong: {one_line(error)}") from None
    if not trust:
        # A word alone may name a class that the running program has imported from elsewhere
        _refuse(_foreign_classes(parsed.as_dict(), ""))
    if state is not None and not trust:
        try:
            with bounded(state):
                parser.instantiate(parsed)
        except Exception as error:  # sizes that no layer foresees fail in any way
            raise ValueError(f"{what} is wrong: {one_line(error)}") from error
    try:
        return parser.instantiate(parsed)[key]
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} is wrong: {one_line(error)}") from error


def _refuse(found: Iterable[tuple[str, str]]) -> None:
    for where, name in found:
        raise ValueError(
            f"{where}: {name!r} lies outside gense and was not imported; pass trust=True if you trust this file"
        )


def one_line(error: Exception) -> str:
    """Say in one line what jsonargparse says in a tree: the path of the key, what is wrong, what was given."""
    lines = _into_classes(str(error).splitlines())
    keys = [match[1] for match in (re.fullmatch(r'\s*Parser key "(.+)":', line) for line in lines) if match]
    body = [line.strip() for line in lines if not _BRANCH.match(line)]
    if body and body[0].startswith("Does not validate against any"):
        causes = [line.removeprefix("- ") for line in body if line.startswith("- ")]
        given = [line.replace("Given", ". Got") for line in body if line.startswith("Given value: ")]
        body = [" or ".join(causes).replace(" or Expected a ", " or "), *given]
    text = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " ".join(body)).replace("typing.", "")
    text = re.sub(r"\s*\. Got value: ", ", got ", text.replace("NoneType", "null").replace("Expected a ", "expected "))
    return f"{'.'.join(keys)}: {text}" if keys else text


def _into_classes(lines: list[str]) -> list[str]:
    """Of alternatives, one a class and the others of no fitting kind at all, keep what is wrong in that class."""
    for start, line in enumerate(lines):
        if not line.lstrip().startswith("Does not validate against any"):
            continue
        indent = len(line) - len(line.lstrip())
        inside = [len(other) - len(other.lstrip()) >= indent for other in lines[start:]] + [False]
        stop = start + inside.index(False)
        bullets = [k for k in range(start, stop) if lines[k].startswith(" " * (indent + 2) + "- ")] + [stop]
        for first, after in itertools.pairwise(bullets):
            if lines[first].lstrip().startswith("- Problem with given class_path"):
                kept = [other for other in lines[first + 1 : after] if not other.startswith(" " * indent + "Given")]
                return _into_classes([*lines[:start], *kept, *lines[stop:]])
    return lines


def _foreign(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Find strings that an object parser may take for something to import.

    Wherever it stands, a string may name a class, or hold JSON that names one, or be resolved later as the dotted path
    of a sampler. So plain words, numbers and names inside gense pass, and nothing else does.
    """
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _foreign(value, f"{where}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _foreign(value, f"{where}[{index}]")
    elif isinstance(node, str) and not _HARMLESS.fullmatch(node):
        yield where, node


def _foreign_classes(node: Any, where: str) -> Iterator[tuple[str, str]]:
    """Find classes outside gense in a parsed configuration, in which every `class_path` is complete."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "class_path" and isinstance(value, str) and not value.startswith("gense."):
                yield where, value
            yield from _foreign_classes(value, f"{where}.{key}".removeprefix("."))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _foreign_classes(value, f"{where}[{index}]")
