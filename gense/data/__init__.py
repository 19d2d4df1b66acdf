"""Training data: files, degradations, pairs."""

from gense.data.clips import Clips
from gense.data.degradations import (
    AddNoise,
    BandLimit,
    Clip,
    Codec,
    Equalise,
    Gain,
    InterferingTalker,
    PacketLoss,
    Reverb,
    SimulatedReverb,
    Wind,
)
from gense.data.degrade import Degradation
from gense.data.paired import PairClips, PairedFolders
from gense.data.pairs import Mixtures, Pairs

__all__ = [
    "AddNoise", "BandLimit", "Clip", "Clips", "Codec", "Degradation", "Equalise", "Gain", "InterferingTalker",
    "Mixtures", "PacketLoss", "PairClips", "PairedFolders", "Pairs", "Reverb", "SimulatedReverb", "Wind",
]  # fmt: skip
