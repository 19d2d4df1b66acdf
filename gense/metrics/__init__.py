"""Objective measures of speech quality: plain functions of one-dimensional signals.

They need the optional packages of `pip install gense[metrics]`, imported when a function is called; SI-SDR needs none.
"""

from .dnsmos import DNSMOS, dnsmos
from .estoi import estoi
from .pesq import pesq
from .report import evaluate_pair
from .signals import UndefinedScore
from .sisdr import si_sdr

__all__ = ["DNSMOS", "UndefinedScore", "dnsmos", "estoi", "evaluate_pair", "pesq", "si_sdr"]
