"""The interface between waveforms and features."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from gense.representations.mel_settings import MelSettings


class Representation(nn.Module):
    """A map from waveforms to features, and back where it can.

    Attributes:
        sample_rate: of the waveforms, Hz.
        hop_length: samples per frame; more exactly, per `hop_frames` frames.
        hop_frames: 1, unless encoding changes the sampling rate such that a frame is no whole number of samples.
        mel: what the features are, where they are a log-mel spectrogram.
    """

    sample_rate: int
    hop_length: int
    hop_frames: int = 1
    mel: MelSettings | None = None

    @property
    def fitted(self) -> bool:
        """Whether it can be used as it is; otherwise it needs weights, or `fit`."""
        return True

    def fit(self, wavs: Iterable[Tensor], *, rounds: int = 50, seed: int = 0) -> None:
        """Fit what no gradient trains to waveforms, (B, S) each; most representations have nothing of that kind."""

    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, *feature, T)."""
        raise NotImplementedError

    def decode(self, x: Tensor, length: int) -> Tensor:
        """Turn (B, *feature, T) back into (B, length); lossy representations leave this to a vocoder."""
        raise NotImplementedError(f"{type(self).__name__} cannot be inverted; the method needs a vocoder")
