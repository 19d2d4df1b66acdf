"""Training on Lightning."""

from gense.training.ema import EMA
from gense.training.module import EnhancerModule

__all__ = ["EMA", "EnhancerModule"]
