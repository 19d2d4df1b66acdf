"""DNSMOS P.835: speech quality predicted without a reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .signals import Signal, as_signal, at_rate

RATE = 16000
WINDOW_SECONDS = 9.01
LOUDEST = 8.0  # A resampled or denoised signal may pass full scale, but never by 18 dB: such a peak is 16-bit samples.

# Raw network output -> P.835 scale: the quadratics of the non-personalised model, highest power first
# (DNS challenge, microsoft/DNS-Challenge, dnsmos_local.py).
SIG = (-0.08397278, 1.22083953, 0.0052439)
BAK = (-0.13166888, 1.60915514, -0.39604546)
OVRL = (-0.06766283, 1.11546468, 0.04602535)


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
    session = load_session()
    signal = as_signal(wav, "wav")
    peak = np.abs(signal).max()
    if peak > LOUDEST:
        raise ValueError(f"wav has a peak of {peak:.0f}: expected full scale 1.0 (divide 16-bit samples by 32768)")
    batch = windows(at_rate(signal, sample_rate, RATE).astype(np.float32))
    raw = np.concatenate([session.run(None, {"input_1": window[None]})[0] for window in batch]).astype(np.float64)
    sig, bak, ovrl = (
        float(np.polyval(curve, column).mean()) for curve, column in zip((SIG, BAK, OVRL), raw.T, strict=True)
    )
    return DNSMOS(ovrl=ovrl, sig=sig, bak=bak)


def windows(signal: np.ndarray) -> list[np.ndarray]:
    """The pieces of a 16 kHz signal (S,) that are scored, each (144160,).

    As published, the end of a window is rounded down in floating point; the windows that start at 7 to 23 s come out
    one sample short and are passed over. Scores in the literature are made this way, so these are too.
    """
    length = int(WINDOW_SECONDS * RATE)
    while signal.size < length:
        signal = np.concatenate([signal, signal])
    count = int(signal.size // RATE - WINDOW_SECONDS) + 1
    pieces = [signal[second * RATE : int((second + WINDOW_SECONDS) * RATE)] for second in range(count)]
    return [piece for piece in pieces if piece.size == length]


@lru_cache(maxsize=1)
def load_session() -> Any:
    """The network in onnxruntime, on one thread: reading the file takes longer than scoring a clip.

    Raises:
        ImportError: `onnxruntime` or `speechmos` is not installed.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ImportError("onnxruntime is not installed: pip install gense[metrics]") from error
    # Located without importing speechmos, which would import librosa.
    package = find_spec("speechmos")
    if package is None or package.origin is None:
        raise ImportError("speechmos is not installed: pip install gense[metrics]")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = Path(package.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
