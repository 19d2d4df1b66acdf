"""Training data: files, degradations, pairs."""

from gense.data.clips import Clips
from gense.data.degrade import AddNoise, Degradation, Equalise, Reverb
from gense.data.pairs import Mixtures, Pairs

__all__ = ["AddNoise", "Clips", "Degradation", "Equalise", "Mixtures", "Pairs", "Reverb"]
