"""What the networks of the DNSMOS family share: where they lie, and the pieces of a signal that they score."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from .signals import Signal, as_signal, at_rate

RATE = 16000
WINDOW_SECONDS = 9.01
LOUDEST = 8.0  # A resampled or denoised signal may pass full scale, but never by 18 dB: such a peak is 16-bit samples.
P835 = "dnsmos_models/sig_bak_ovr.onnx"
P808 = "dnsmos_models/model_v8.onnx"
PERSONALISED = "pdnsmos_models/sig_bak_ovr.onnx"


def scored_windows(wav: Signal, sample_rate: int) -> list[np.ndarray]:
    """The pieces of a signal that are scored, each (144160,) float32 at 16 kHz.

    Args:
        wav: (S,), full scale 1.0.
        sample_rate: in Hz; any other than 16 kHz is resampled first.

    Raises:
        ValueError: the signal is not (S,), not finite, silent, or 16-bit samples stored as floats.
    """
    signal = as_signal(wav, "wav")
    peak = np.abs(signal).max()
    if peak > LOUDEST:
        raise ValueError(f"wav has a peak of {peak:.0f}: expected full scale 1.0 (divide 16-bit samples by 32768)")
    return windows(at_rate(signal, sample_rate, RATE).astype(np.float32))


def windows(signal: np.ndarray) -> list[np.ndarray]:
    """The pieces of a 16 kHz signal (S,) that are scored, each (144160,): 9.01 s, one starting every second.

    A shorter signal is doubled until it fills a window. As published, the end of a window is rounded down in floating
    point; the windows that start at 7 to 23 s come out one sample short and are passed over. Scores in the literature
    are made this way, so these are too.
    """
    length = int(WINDOW_SECONDS * RATE)
    while signal.size < length:
        signal = np.concatenate([signal, signal])
    count = int(signal.size // RATE - WINDOW_SECONDS) + 1
    pieces = [signal[second * RATE : int((second + WINDOW_SECONDS) * RATE)] for second in range(count)]
    return [piece for piece in pieces if piece.size == length]


@lru_cache(maxsize=4)
def load_session(network: str = P835) -> Any:
    """A network in onnxruntime, on one thread: reading the file takes longer than scoring a clip.

    Args:
        network: its file in the package `speechmos`.

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
    path = Path(package.origin).parent / network
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
