"""Generative speech enhancement: diffusion, flow matching and token models behind one call."""

from typing import Any

from gense import samplers
from gense.api import enhance, load, methods
from gense.enhancer import Enhancer
from gense.files import enhance_files
from gense.types import Sampling
from gense.version import __version__

__all__ = ["Enhancer", "Sampling", "__version__", "enhance", "enhance_files", "load", "methods", "samplers", "sweep"]


def __getattr__(name: str) -> Any:
    """Import what few programs need when it is asked for."""
    if name == "sweep":
        from gense.sweeps import sweep

        return sweep
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
