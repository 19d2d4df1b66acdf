"""Training losses on waveforms."""

from gense.losses.base import WaveLoss
from gense.losses.perceptual import PerceptualLoss
from gense.losses.sisdr import SISDRLoss
from gense.losses.spectral import SpectralLoss

__all__ = ["PerceptualLoss", "SISDRLoss", "SpectralLoss", "WaveLoss"]
