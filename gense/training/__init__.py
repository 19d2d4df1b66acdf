"""Training on Lightning."""

from gense.training.ema import EMA
from gense.training.made import MadeFeatures
from gense.training.module import EnhancerModule
from gense.training.vocoder_module import VocoderModule

__all__ = ["EMA", "EnhancerModule", "MadeFeatures", "VocoderModule"]
