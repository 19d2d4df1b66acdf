"""One sandbox for all fuzz tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.fuzz.sandbox import Sandbox


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A process that may crash and whose memory is bounded; needs Linux."""
    if not sys.platform.startswith("linux"):
        pytest.skip("the memory of a process is bounded and measured by Linux's means")
    box = Sandbox(tmp_path_factory.mktemp("hostile"))
    yield box
    box.close()
