"""One Ray for all tests that need a real one: two cores' worth of workers, whatever the machine has."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    """Ray on this machine with room for two workers; jobs find it and leave it running."""
    ray = pytest.importorskip("ray")
    ray.init(
        address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
        object_store_memory=100 << 20,
    )  # fmt: skip
    yield
    ray.shutdown()
