"""DNSMOS P.835, also personalised: speech quality predicted without a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dnsmos_network import P835, PERSONALISED, RATE, WINDOW_SECONDS, load_session, scored_windows, windows
from .signals import Signal

__all__ = [
    "BAK",
    "DNSMOS",
    "OVRL",
    "RATE",
    "SIG",
    "WINDOW_SECONDS",
    "dnsmos",
    "load_session",
    "pdnsmos",
    "windows",
]

Curve = tuple[float, ...]

# Raw network output -> P.835 scale, highest power first (DNS challenge, microsoft/DNS-Challenge, dnsmos_local.py):
# the quadratics of the usual network, the cubics of the personalised one.
SIG: Curve = (-0.08397278, 1.22083953, 0.0052439)
BAK: Curve = (-0.13166888, 1.60915514, -0.39604546)
OVRL: Curve = (-0.06766283, 1.11546468, 0.04602535)
PERSONALISED_SIG: Curve = (-0.01019296, 0.02751166, 1.19576786, -0.24348726)
PERSONALISED_BAK: Curve = (-0.04976499, 0.44276479, -0.1644611, 0.96883132)
PERSONALISED_OVRL: Curve = (-0.00533021, 0.005101, 1.18058466, -0.11236046)


@dataclass(frozen=True)
class DNSMOS:
    """Mean opinion scores from 1 to about 5: overall, of the speech signal, of the background (5 = not intrusive)."""

    ovrl: float
    sig: float
    bak: float


def dnsmos(wav: Signal, sample_rate: int) -> DNSMOS:
    """DNSMOS P.835 (Reddy et al., ICASSP 2022), mean over windows of 9.01 s that start one second apart.

    Shorter clips are doubled until they fill a window. The scores depend on the level of the signal.

    Args:
        wav: (S,), full scale 1.0.
        sample_rate: in Hz; any other than 16 kHz is resampled first.

    Raises:
        ImportError: `onnxruntime`, or `speechmos`, which ships the network, is not installed.
        ValueError: the signal is not (S,), not finite, silent, or 16-bit samples stored as floats.
    """
    return _score(wav, sample_rate, P835, (SIG, BAK, OVRL))


def pdnsmos(wav: Signal, sample_rate: int) -> DNSMOS:
    """Personalised DNSMOS P.835: as `dnsmos`, by a network that also counts other people's speech as background (Dubey
    et al., "ICASSP 2022 deep noise suppression challenge")."""
    return _score(wav, sample_rate, PERSONALISED, (PERSONALISED_SIG, PERSONALISED_BAK, PERSONALISED_OVRL))


def _score(wav: Signal, sample_rate: int, network: str, curves: tuple[Curve, Curve, Curve]) -> DNSMOS:
    """Mean over windows of a network's outputs, each put through its curve; curves of signal, background, overall."""
    session = load_session(network)
    batch = scored_windows(wav, sample_rate)
    raw = np.concatenate([session.run(None, {"input_1": window[None]})[0] for window in batch]).astype(np.float64)
    sig, bak, ovrl = (float(np.polyval(curve, column).mean()) for curve, column in zip(curves, raw.T, strict=True))
    return DNSMOS(ovrl=ovrl, sig=sig, bak=bak)
