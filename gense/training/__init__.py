"""Training on Lightning."""

from gense.training.adapters import LoRA
from gense.training.centres import FitCentres
from gense.training.codebooks import CodebookGuard
from gense.training.codec_module import CodecModule
from gense.training.distil import DistilModule
from gense.training.divergence import Diverged, StopOnDivergence
from gense.training.ema import EMA
from gense.training.examples import LogExamples
from gense.training.find_rate import FindRate
from gense.training.grpo_module import GRPOModule
from gense.training.made import MadeFeatures
from gense.training.masked_module import MaskedPredictionModule
from gense.training.module import EnhancerModule
from gense.training.muon import Muon
from gense.training.randomness import SeededSteps
from gense.training.rewards import Reward
from gense.training.vocoder_module import VocoderModule

__all__ = [
    "EMA", "CodebookGuard", "CodecModule", "DistilModule", "Diverged", "EnhancerModule", "FindRate", "FitCentres",
    "GRPOModule", "LoRA", "LogExamples", "MadeFeatures", "MaskedPredictionModule", "Muon", "Reward", "SeededSteps",
    "StopOnDivergence", "VocoderModule",
]  # fmt: skip
