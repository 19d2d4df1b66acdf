"""Maps from waveforms to features and back."""

from gense.representations.base import Representation
from gense.representations.codec import VectorCodec
from gense.representations.codec_tokens import CodecTokens
from gense.representations.convolutional import Stages
from gense.representations.mel import LogMel
from gense.representations.mel_settings import MelSettings
from gense.representations.simcodec import SimCodec
from gense.representations.ssl import SSLFeatures
from gense.representations.stft import CompressedSTFT
from gense.representations.tokens import KMeansTokens
from gense.representations.waveform import Waveform

__all__ = [
    "CodecTokens", "CompressedSTFT", "KMeansTokens", "LogMel", "MelSettings", "Representation", "SSLFeatures",
    "SimCodec", "Stages", "VectorCodec", "Waveform",
]
