"""DNSMOS P.808: overall quality predicted without a reference."""

from __future__ import annotations

import numpy as np

from gense.representations.melbank import mel_filterbank

from .dnsmos_network import P808, RATE, load_session, scored_windows
from .frames import frames
from .signals import Signal

# The input of the network (microsoft/DNS-Challenge, dnsmos_local.py): 120 Slaney mel bands of the power spectrum of
# 321 samples every 160, of the first nine seconds of a window.
_FFT, _HOP, _BANDS = 321, 160, 120
_SAMPLES = 9 * RATE


def dnsmos_p808(wav: Signal, sample_rate: int) -> float:
    """DNSMOS P.808 (Reddy et al., "DNSMOS: a non-intrusive perceptual objective speech quality metric to evaluate noise
    suppressors", ICASSP 2021), mean over windows of 9.01 s that start one second apart.

    Shorter clips are doubled until they fill a window. The network hears log powers relative to the strongest, so the
    level of the signal does not count.

    Args:
        wav: (S,), full scale 1.0.
        sample_rate: in Hz; any other than 16 kHz is resampled first.

    Returns:
        A mean opinion score from 1 to about 5.

    Raises:
        ImportError: `onnxruntime`, or `speechmos`, which ships the network, is not installed.
        ValueError: the signal is not (S,), not finite, silent, or 16-bit samples stored as floats.
    """
    session = load_session(P808)
    features = [log_mel(window) for window in scored_windows(wav, sample_rate)]
    scores = [session.run(None, {"input_1": feature[None]})[0].item() for feature in features]
    return float(np.mean(scores))


def log_mel(window: np.ndarray) -> np.ndarray:
    """(144160,) at 16 kHz -> (900, 120) float32: mel power in dB under the strongest, 0 dB at 1, -40 dB at 0."""
    edge = _FFT // 2
    padded = np.pad(window[:_SAMPLES].astype(np.float64), edge)
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(_FFT) / _FFT)
    power = np.square(np.abs(np.fft.rfft(hann * frames(padded, _FFT, _HOP))))
    # The last bin of an odd transform lies below half the rate, to which the bands reach.
    top = 2.0 * edge * RATE / _FFT
    bank = mel_filterbank(edge + 1, top, _BANDS, f_max=RATE / 2, scale="slaney", norm="slaney").double().numpy()
    decibels = 10.0 * np.log10(np.maximum(power @ bank.T, 1e-10))
    decibels -= decibels.max()
    return ((np.maximum(decibels, -80.0) + 40.0) / 40.0).astype(np.float32)
