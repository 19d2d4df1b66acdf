"""Figures for people: as many digits as say something, aligned, and with names."""

from __future__ import annotations

import math
from collections.abc import Iterable

NAMES = {
    "pesq": "PESQ",
    "pesq_nb": "PESQ narrow band",
    "stoi": "STOI",
    "estoi": "ESTOI",
    "si_sdr": "SI-SDR (dB)",
    "si_sir": "SI-SIR (dB)",
    "si_sar": "SI-SAR (dB)",
    "lsd": "LSD (dB)",
    "csig": "CSIG",
    "cbak": "CBAK",
    "covl": "COVL",
    "dnsmos_ovrl": "DNSMOS overall",
    "dnsmos_sig": "DNSMOS signal",
    "dnsmos_bak": "DNSMOS background",
    "dnsmos_p808": "DNSMOS P.808",
    "pdnsmos_ovrl": "pDNSMOS overall",
    "pdnsmos_sig": "pDNSMOS signal",
    "pdnsmos_bak": "pDNSMOS background",
    "prism": "PRISM",
    "wer": "WER",
    "dwer": "dWER",
    "semdist": "Semantic distance",
    "speaker_similarity": "Speaker similarity",
    "speech_bert_score": "SpeechBERTScore",
    "lps": "LPS",
    "dns_score": "DNS score",
}
"""How a column is called in print; one that is not listed keeps its name."""


def name_of(column: str) -> str:
    """The name of a column in print."""
    return NAMES.get(column, column)


def decimals_of(values: Iterable[float]) -> int:
    """Digits after the point that suit figures of this size: 3 up to 1, 2 up to 10, else 1."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    return 3 if largest <= 1 else 2 if largest <= 10 else 1


def number(value: float, decimals: int, *, signed: bool = False) -> str:
    """A figure with a real minus sign; a dash where it is undefined.

    A figure that rounds to zero has no sign.
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    digits = f"{abs(value):.{decimals}f}"
    if float(digits) == 0:
        return digits
    return ("−" if value < 0 else "+" if signed else "") + digits


def significant(value: float, digits: int = 2) -> str:
    """A figure with so many significant digits and no exponent, as for costs that span decades."""
    if not math.isfinite(value):
        return number(value, 0)
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return number(value, max(decimals, 0))


def probability(p: float) -> str:
    """A p-value: three digits, and no more than the test can tell."""
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def count(amount: int, noun: str) -> str:
    """An amount of things: "1 file", "1,234 files"."""
    return f"{amount:,} {noun}" if amount == 1 else f"{amount:,} {noun}s"
