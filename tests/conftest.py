"""Fixtures shared by all tests: the shipped demo clip and the optional folder of real recordings."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.browser import chromium

__all__ = ["chromium"]  # one browser for all modules: two of playwright's loops cannot run in one thread

EXAMPLES = Path(__file__).parents[1] / "examples"


@dataclass(frozen=True)
class Clip:
    """The demo clip: sample-aligned (S,) float32 in [-1, 1]."""

    noisy: np.ndarray
    clean: np.ndarray
    sample_rate: int


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real recordings that GENSE_TEST_DATA names; a test that asks for it is skipped without one."""
    folder = os.environ.get("GENSE_TEST_DATA")
    if not folder:
        pytest.skip("GENSE_TEST_DATA is not set: it names a folder with val_pairs/{clean,noisy}/NN.flac")
    if not Path(folder).is_dir():
        pytest.skip(f"GENSE_TEST_DATA={folder}: no such folder")
    return Path(folder)


@pytest.fixture(scope="session")
def clip() -> Clip:
    """examples/noisy.wav and examples/clean.wav. The arrays are read-only: a test that writes into them fails."""
    noisy, rate = soundfile.read(EXAMPLES / "noisy.wav", dtype="float32")
    clean, clean_rate = soundfile.read(EXAMPLES / "clean.wav", dtype="float32")
    assert rate == clean_rate == 16000
    assert noisy.shape == clean.shape
    noisy.flags.writeable = clean.flags.writeable = False
    return Clip(noisy=noisy, clean=clean, sample_rate=rate)
