"""Training losses on waveforms."""

from gense.losses.base import WaveLoss
from gense.losses.intelligibility import IntelligibilityLoss
from gense.losses.mel import MultiScaleMelLoss
from gense.losses.perceptual import PerceptualLoss
from gense.losses.quality import QualityLoss
from gense.losses.sisdr import SISDRLoss
from gense.losses.spectral import SpectralLoss
from gense.losses.waveform import WaveformLoss

__all__ = [
    "IntelligibilityLoss", "MultiScaleMelLoss", "PerceptualLoss", "QualityLoss", "SISDRLoss", "SpectralLoss",
    "WaveLoss", "WaveformLoss",
]  # fmt: skip
