"""The interface of what makes waveforms from features."""

from __future__ import annotations

from torch import Tensor, nn

from gense.representations.mel_settings import MelSettings
from gense.samplers.types import Noise


class Vocoder(nn.Module):
    """A map from features to waveforms.

    Attributes:
        sample_rate: of its waveforms, Hz.
        hop_length: samples of them per frame.
        mel: settings of the log-mel spectrograms that it was trained on; None where it takes other features.
    """

    sample_rate: int
    hop_length: int
    mel: MelSettings | None

    def forward(self, x: Tensor, length: int, *, noise: Noise | None = None) -> Tensor:
        """Make waveforms.

        Args:
            x: (B, C, T).
            length: samples of the result; what the frames do not cover is zero.
            noise: for vocoders that draw some; one seed of their own by default.

        Returns:
            (B, length) float32.
        """
        raise NotImplementedError

    def check(self, produced: MelSettings | None) -> None:
        """Refuse features of another kind than the vocoder was made for.

        Args:
            produced: settings of the features that it is to get, None where they are no mel spectrogram.

        Raises:
            ValueError: they differ in more than their floors; names both sides.
        """
        name = type(self).__name__
        if (produced is None) != (self.mel is None):
            ours, theirs = ("a log-mel spectrogram" if mel else "other features" for mel in (self.mel, produced))
            raise ValueError(f"vocoder {name} takes {ours}, the head makes {theirs}")
        if produced is not None and self.mel is not None and (named := self.mel.differences(produced)):
            raise ValueError(
                f"vocoder {name} was trained on another mel spectrogram than the head makes; vocoder and head: "
                f"{named}. Take a vocoder for the head's mel, or train one with gense fit"
            )


def fit_length(wav: Tensor, length: int) -> Tensor:
    """Cut (B, S) to (B, length), or fill it up with zeros."""
    return nn.functional.pad(wav[:, :length], (0, max(0, length - wav.shape[-1])))
