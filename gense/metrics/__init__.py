"""Objective measures of speech quality: plain functions of one-dimensional signals.

They need the optional packages of `pip install gense[metrics]`, imported when a function is called; SI-SDR, SI-SIR,
SI-SAR, LSD and PRISM need none. Those that listen with a network of choice (word errors, phonemes, speaker,
SpeechBERTScore) take one of `transformers`, of `pip install gense[hub]`, or PocketSphinx or Resemblyzer.
"""

from .asr import recogniser
from .bss import si_sar, si_sir
from .composite import Composite, composite
from .dnsmos import DNSMOS, dnsmos, pdnsmos
from .dnsmos_p808 import dnsmos_p808
from .estoi import estoi
from .lsd import lsd
from .pesq import pesq
from .phonemes import lps, phoneme_recogniser
from .prism import prism
from .registry import METRICS, Clip, Metric, evaluate_pair, score_clip
from .semantic import semantic_distance
from .signals import UndefinedScore
from .sisdr import si_sdr
from .speaker import embedder, speaker_similarity
from .speechbert import speech_bert_score
from .stoi import stoi
from .wer import error_counts, wer
from .with_models import WITH_MODEL

__all__ = [
    "DNSMOS",
    "METRICS",
    "WITH_MODEL",
    "Clip",
    "Composite",
    "Metric",
    "UndefinedScore",
    "composite",
    "dnsmos",
    "dnsmos_p808",
    "embedder",
    "error_counts",
    "estoi",
    "evaluate_pair",
    "lps",
    "lsd",
    "pdnsmos",
    "pesq",
    "phoneme_recogniser",
    "prism",
    "recogniser",
    "score_clip",
    "semantic_distance",
    "si_sar",
    "si_sdr",
    "si_sir",
    "speaker_similarity",
    "speech_bert_score",
    "stoi",
    "wer",
]
