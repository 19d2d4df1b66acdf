"""Degradations, one idea a file. They are composed by listing them: each is applied with its own probability."""

from gense.data.degradations.band import BandLimit
from gense.data.degradations.clip import Clip
from gense.data.degradations.codec import Codec
from gense.data.degradations.colour import Equalise
from gense.data.degradations.gain import Gain
from gense.data.degradations.noise import AddNoise
from gense.data.degradations.packets import PacketLoss
from gense.data.degradations.reverb import Reverb
from gense.data.degradations.rooms import SimulatedReverb
from gense.data.degradations.talker import InterferingTalker
from gense.data.degradations.wind import Wind

__all__ = [
    "AddNoise", "BandLimit", "Clip", "Codec", "Equalise", "Gain", "InterferingTalker", "PacketLoss", "Reverb",
    "SimulatedReverb", "Wind",
]  # fmt: skip
