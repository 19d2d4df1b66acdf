"""Self-supervised speech models (WavLM, HuBERT, wav2vec 2.0, XLS-R), of `pip install gense[hub]`, read by layer."""

from gense.ssl.frames import RATE, Frames, Scaling
from gense.ssl.load import PUBLISHED, load_network, own_network, read_original
from gense.ssl.network import SSLNetwork, fresh_network
from gense.ssl.original import config_of_original, state_of_original
from gense.ssl.reading import Reading

__all__ = [
    "PUBLISHED", "RATE", "Frames", "Reading", "SSLNetwork", "Scaling", "config_of_original", "fresh_network",
    "load_network", "own_network", "read_original", "state_of_original",
]  # fmt: skip
