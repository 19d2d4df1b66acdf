"""Maps from waveforms to features and back."""

from gense.representations.base import Representation
from gense.representations.mel import LogMel
from gense.representations.mel_settings import MelSettings
from gense.representations.stft import CompressedSTFT

__all__ = ["CompressedSTFT", "LogMel", "MelSettings", "Representation"]
