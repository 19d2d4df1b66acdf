"""YAML files from strangers: plain values, of bounded size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

_MOST_BYTES = 1 << 20
_MOST_NODES = 100_000


def read_yaml(path: Path) -> Any:
    """Read a YAML file that holds plain values.

    An alias counts as what it stands for: nested, half a kilobyte of them stands for more than any machine holds.

    Raises:
        ValueError: it is no YAML, is nested too deeply, refers to itself, or is far larger than any configuration.
    """
    with path.open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{path}: larger than {_MOST_BYTES} bytes; this is no configuration")
    try:
        text = content.decode("utf-8")
        if _nodes(yaml.compose(text, Loader=yaml.SafeLoader), {}) > _MOST_NODES:
            raise ValueError(f"its aliases stand for more than {_MOST_NODES} values")
        return yaml.safe_load(text)
    except RecursionError:
        raise ValueError(f"{path}: not readable as YAML (nested too deeply, or refers to itself)") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # PyYAML lets the errors of numbers and dates through, and others on tags that stand on the wrong kind of value
        raise ValueError(f"{path}: not readable as YAML ({' '.join(str(error).split())[:200]})") from error


def _nodes(node: yaml.Node | None, known: dict[int, int]) -> int:
    """How many values a node stands for, those of aliases each time; RecursionError where it holds itself."""
    if isinstance(node, yaml.CollectionNode):
        if id(node) not in known:
            known[id(node)] = -1
            pairs = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            known[id(node)] = 1 + sum(_nodes(part, known) for part in pairs)
        if known[id(node)] < 0:
            raise RecursionError
        return known[id(node)]
    return 1
