"""Composite measures of speech enhancement: predicted ratings of signal, background and the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .llr import log_likelihood_ratio
from .pesq import pesq
from .segsnr import segmental_snr
from .signals import Signal
from .wss import weighted_spectral_slope


@dataclass(frozen=True)
class Composite:
    """Predicted mean opinion scores, 1 to 5: CSIG of the speech, CBAK of the background (5 = not intrusive), COVL."""

    csig: float
    cbak: float
    covl: float


def composite(est: Signal, ref: Signal, sample_rate: int) -> Composite:
    """CSIG, CBAK and COVL of Hu and Loizou, "Evaluation of objective quality measures for speech enhancement" (IEEE
    TASLP 2008): regressions on PESQ, the log-likelihood ratio (LLR), the weighted spectral slope (WSS) and the
    segmental SNR, limited to [1, 5]:

        CSIG = 3.093 - 1.029 LLR + 0.603 PESQ - 0.009 WSS
        CBAK = 1.634 + 0.478 PESQ - 0.007 WSS + 0.063 segSNR
        COVL = 1.594 + 0.805 PESQ - 0.512 LLR - 0.007 WSS

    The regressions were fitted with narrow-band PESQ at 8 kHz. At 16 kHz and with wide-band PESQ, as here, they are
    what is reported for VoiceBank-DEMAND. The level counts in segSNR, hence in CBAK.

    Args:
        est: estimate, (S,).
        ref: clean reference, (S,), sample-aligned.
        sample_rate: of both, in Hz; any other than 16 kHz is resampled first.

    Raises:
        ImportError: the package `pesq` is not installed.
        UndefinedScore: PESQ finds no speech, or the signal is shorter than a quarter of a second or longer than 40 s.
        ValueError: the lengths differ, a signal is not (S,), not finite, or silent.
    """
    quality = pesq(est, ref, sample_rate)
    likelihood = log_likelihood_ratio(est, ref, sample_rate)
    slope = weighted_spectral_slope(est, ref, sample_rate)
    snr = segmental_snr(est, ref, sample_rate)
    csig = 3.093 - 1.029 * likelihood + 0.603 * quality - 0.009 * slope
    cbak = 1.634 + 0.478 * quality - 0.007 * slope + 0.063 * snr
    covl = 1.594 + 0.805 * quality - 0.512 * likelihood - 0.007 * slope
    return Composite(*(float(np.clip(score, 1.0, 5.0)) for score in (csig, cbak, covl)))
