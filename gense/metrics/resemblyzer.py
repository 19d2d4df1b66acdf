"""The speaker network that the package Resemblyzer ships, computed here: the package itself is never imported."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from gense.representations.melbank import mel_filterbank

from .signals import Signal, UndefinedScore, as_signal, at_rate

RATE = 16000
WIDTH, HOP, BANDS = 400, 160, 40
WINDOW = 160  # frames
OVERLAP = 77  # frames from window to window: 1.3 windows a second, the package's default
LEVEL = 10 ** (-30 / 20)  # RMS to which speech is brought
AUDIBLE = 1e-3  # windows whose power is less than this share of the loudest one's are pauses


class SpeakerEncoder(nn.Module):
    """Three LSTM layers and a projection (Wan et al., "Generalized end-to-end loss for speaker verification", 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(BANDS, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mel: Tensor) -> Tensor:
        """(B, BANDS, T) mel power -> (B, 256), of unit length and without negative entries."""
        hidden = self.lstm(mel.transpose(1, 2))[1][0][-1]
        return nn.functional.normalize(torch.relu(self.linear(hidden)))


def embed_resemblyzer(wav: Signal, sample_rate: int) -> np.ndarray:
    """Speaker vector (256,) of unit length: mean over windows of 1.6 s.

    The package brings quiet speech up to -30 dBFS and cuts pauses out with the voice detector of `webrtcvad`. Here loud
    speech is brought down as well, so that a gain changes nothing, and windows 30 dB below the loudest are passed over,
    so that no compiled package is needed.

    Args:
        wav: (S,), full scale 1.0.
        sample_rate: Hz; any other than 16 kHz is resampled first.

    Raises:
        ImportError: the package `resemblyzer`, which ships the network, is not installed.
        UndefinedScore: the signal is silent or shorter than half a second.
        ValueError: the signal is not (S,) or not finite.
    """
    network, bank = load_encoder()
    signal = at_rate(as_signal(wav, "wav"), sample_rate, RATE)
    if signal.size < RATE // 2:
        raise UndefinedScore(f"speaker of {signal.size / RATE:.2f} s: needs at least half a second")
    level = np.sqrt(np.mean(signal**2))
    windows = spoken(mel_windows(torch.from_numpy(signal * (LEVEL / level)).float(), bank))
    with torch.no_grad():
        mean = network(windows).mean(0)
    return nn.functional.normalize(mean, dim=0).double().numpy()


def mel_windows(signal: Tensor, bank: Tensor) -> Tensor:
    """Mel power spectrogram of a 16 kHz signal (S,) in overlapping windows, (N, BANDS, WINDOW).

    The last window is filled up with silence; it is left out where less than three quarters of it would be sound.
    """
    frames = -(-(signal.shape[0] + 1) // HOP)
    starts = list(range(0, max(1, frames - WINDOW + OVERLAP + 1), OVERLAP))
    if len(starts) > 1 and signal.shape[0] - starts[-1] * HOP < 0.75 * WINDOW * HOP:
        starts.pop()
    signal = nn.functional.pad(signal, (0, max(0, (starts[-1] + WINDOW) * HOP - signal.shape[0])))
    window = torch.hann_window(WIDTH)
    spectrum = torch.stft(signal, WIDTH, HOP, window=window, pad_mode="constant", return_complex=True)
    mel = bank @ spectrum.abs().square()
    return torch.stack([mel[:, start : start + WINDOW] for start in starts])


def spoken(windows: Tensor) -> Tensor:
    """Those of (N, BANDS, WINDOW) that are not pauses."""
    power = windows.mean((1, 2))
    return windows[power > AUDIBLE * power.max()]


@lru_cache(maxsize=1)
def load_encoder() -> tuple[SpeakerEncoder, Tensor]:
    """The network with the package's weights, and the mel bands that it takes, (BANDS, WIDTH / 2 + 1).

    Raises:
        ImportError: the package `resemblyzer` is not installed.
    """
    # Located without importing it: that would need librosa and webrtcvad.
    package = find_spec("resemblyzer")
    if package is None or package.origin is None:
        raise ImportError("resemblyzer is not installed: pip install --no-deps resemblyzer")
    path = Path(package.origin).parent / "pretrained.pt"
    state = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
    network = SpeakerEncoder()
    network.load_state_dict({key: value for key, value in state.items() if not key.startswith("similarity_")})
    bank = mel_filterbank(WIDTH // 2 + 1, RATE, BANDS, scale="slaney", norm="slaney")
    return network.eval().requires_grad_(False), bank
