"""What codecs that can be trained here have in common: an encoder, a quantiser of its vectors, a decoder."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gense.representations.base import Representation
from gense.representations.quantiser import ResidualQuantiser


class Reconstruction(NamedTuple):
    """What a codec makes of waveforms in training.

    Attributes:
        wav: (B, S), whose gradient passes the quantiser as if it were not there.
        vectors: what is quantised, (B, C, T).
        codes: (B, K, T) int64; None where nothing was quantised.
        losses: the quantiser's, weighted, scalars by name; none where nothing was quantised.
    """

    wav: Tensor
    vectors: Tensor
    codes: Tensor | None
    losses: dict[str, Tensor]


class VectorCodec(Representation):
    """Encoder, residual quantiser and decoder: waveforms as codes (B, K, T) int64 and back.

    K = levels * groups of the quantiser, T = S // hop_length.

    Args:
        encoder: from (B, S) to vectors (B, C, S // hop_length).
        quantiser: of C channels.
        decoder: from (B, C, T) to (B, T * hop_length); a subclass may call it otherwise, see `waveform`.
        sample_rate: Hz.
        hop_length: samples per frame.
        samples_multiple: waveforms are lengthened by zeros to a multiple of this. 1 leaves what is under a whole frame
            at the end without a code; `hop_length` covers it.
        weights: of the quantiser's losses, by the names that `ResidualQuantiser` gives them, >= 0.
        frozen: whether its weights are left alone, as everywhere but in the training of the codec itself.

    Attributes:
        codebooks: K.
        vocabulary: ids of each codebook.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        encoder: nn.Module,
        quantiser: ResidualQuantiser,
        decoder: nn.Module,
        *,
        sample_rate: int,
        hop_length: int,
        samples_multiple: int,
        weights: dict[str, float],
        frozen: bool,
    ):
        super().__init__()
        if min(sample_rate, samples_multiple) < 1 or not all(weight >= 0 for weight in weights.values()):
            raise ValueError(
                f"sample_rate={sample_rate}, samples_multiple={samples_multiple}, weights {weights}: need the first "
                "two >= 1 and no weight under 0"
            )
        self.sample_rate, self.hop_length, self.samples_multiple = sample_rate, hop_length, samples_multiple
        self.codebooks, self.vocabulary = quantiser.levels * quantiser.groups, quantiser.codes
        self.weights = weights
        self.encoder, self.quantiser, self.decoder = encoder, quantiser, decoder
        self.requires_grad_(not frozen)

    def vectors(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into what is quantised, (B, C, T); a wave under one frame becomes one."""
        samples = max(wav.shape[-1], self.hop_length)
        return self.encoder(F.pad(wav, (0, samples - wav.shape[-1] + -samples % self.samples_multiple)))

    def waveform(self, vectors: Tensor, length: int) -> Tensor:
        """Turn vectors (B, C, T) into (B, length); what the frames do not cover is zero."""
        wav = self.decoder(vectors)
        return F.pad(wav[:, :length], (0, max(0, length - wav.shape[-1])))

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into codes (B, K, T)."""
        # Under autocast, roundings would choose other codes
        with torch.autocast(wav.device.type, enabled=False):
            return self.quantiser.encode(self.vectors(wav.float()))

    @torch.no_grad()
    def decode(self, x: Tensor, length: int) -> Tensor:
        """Turn codes (B, K, T) into (B, length); what the frames do not cover is zero.

        Raises:
            ValueError: another number of codes a frame, or a code that is not there.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self.waveform(self.quantiser.decode(x), length)

    def reconstruct(self, wav: Tensor, *, quantise: bool = True) -> Reconstruction:
        """Encode and decode (B, S) for training.

        Another part must say how far the reconstruction is from the speech.

        Args:
            wav: (B, S).
            quantise: otherwise the decoder gets the vectors themselves, and the codes learn nothing.
        """
        vectors = self.vectors(wav)
        if not quantise:
            return Reconstruction(self.waveform(vectors, wav.shape[-1]), vectors, None, {})
        quantised = self.quantiser(vectors)
        losses = {name: weight * quantised.losses[name] for name, weight in self.weights.items() if weight > 0}
        return Reconstruction(self.waveform(quantised.data, wav.shape[-1]), vectors, quantised.codes, losses)
