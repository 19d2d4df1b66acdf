"""Objective measures of speech quality: plain functions of one-dimensional signals.

They need the optional packages of `pip install gense[metrics]`, imported when a function is called; SI-SDR needs none.
"""

from .dnsmos import DNSMOS, dnsmos
from .estoi import estoi
from .pesq import pesq
from .registry import METRICS, Clip, Metric, evaluate_pair, score_clip
from .signals import UndefinedScore
from .sisdr import si_sdr

__all__ = [
    "DNSMOS",
    "METRICS",
    "Clip",
    "Metric",
    "UndefinedScore",
    "dnsmos",
    "estoi",
    "evaluate_pair",
    "pesq",
    "score_clip",
    "si_sdr",
]
