"""Maps from waveforms to features and back."""

from gense.representations.base import Representation
from gense.representations.stft import CompressedSTFT

__all__ = ["CompressedSTFT", "Representation"]
