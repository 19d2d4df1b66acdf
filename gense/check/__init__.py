"""Does the output say what the input says? Flags, with the seconds, where it does not."""

from .flags import Flag
from .models import Embedder, Features
from .run import Checks, check

__all__ = ["Checks", "Embedder", "Features", "Flag", "check"]
