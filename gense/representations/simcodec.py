"""SimCodec: speech as one stream of codes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from gense.representations.base import Representation
from gense.representations.convolutional import ConvDecoder, ConvEncoder, Stages
from gense.representations.quantiser import Quantised, ResidualQuantiser


class SimCodec(Representation):
    """Convolutional encoder, quantiser and convolutional decoder (Yao et al. 2025, after Yang et al. 2023).

    Tokens are (B, K, T) int64 with K = levels * groups, T = S // hop_length. Sizes have no defaults: those of the
    published model were never told.

    Args:
        stages: from frames to samples; the encoder has their reverse.
        encoder_width: channels of the encoder before its first stage.
        decoder_width: channels of the decoder after its last stage.
        dim: channels of a frame.
        levels: residual levels of the quantiser.
        groups: groups of channels that are quantised apart.
        codes: codes in each codebook.
        sample_rate: Hz.
        samples_multiple: waveforms are lengthened by zeros to a multiple of this. 1 leaves what is under a whole frame
            at the end without a code; `stages.hop_length` covers it.
        codebook_weight: of the quantiser's loss of that name.
        commitment_weight: of the quantiser's loss of that name.
        spread_weight: of the quantiser's loss of that name.
        frozen: whether its weights are left alone, as everywhere but in the training of the codec itself.

    Attributes:
        codebooks: K.
        vocabulary: ids of each codebook, `codes`.

    Raises:
        ValueError: a number is out of its range.
    """

    def __init__(
        self,
        stages: Stages,
        *,
        encoder_width: int,
        decoder_width: int,
        dim: int,
        levels: int,
        groups: int,
        codes: int,
        sample_rate: int = 16000,
        samples_multiple: int = 1,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        spread_weight: float = 0.1,
        frozen: bool = True,
    ):
        super().__init__()
        if min(encoder_width, decoder_width, sample_rate, samples_multiple) < 1:
            raise ValueError(
                f"encoder_width={encoder_width}, decoder_width={decoder_width}, sample_rate={sample_rate}, "
                f"samples_multiple={samples_multiple}: need all >= 1"
            )
        self.sample_rate, self.hop_length = sample_rate, stages.hop_length
        self.samples_multiple = samples_multiple
        self.codebooks, self.vocabulary = levels * groups, codes
        self.weights = {"codebook": codebook_weight, "commitment": commitment_weight, "spread": spread_weight}
        self.encoder = ConvEncoder(encoder_width, dim, stages)
        self.quantiser = ResidualQuantiser(dim, levels=levels, groups=groups, codes=codes)
        self.decoder = ConvDecoder(decoder_width, dim, stages)
        self.requires_grad_(not frozen)

    def vectors(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into what is quantised, (B, dim, T); a wave under one frame becomes one."""
        samples = max(wav.shape[-1], self.hop_length)
        return self.encoder(F.pad(wav, (0, samples - wav.shape[-1] + -samples % self.samples_multiple)))

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into codes (B, K, T)."""
        return self.quantiser.encode(self.vectors(wav))

    @torch.no_grad()
    def decode(self, x: Tensor, length: int) -> Tensor:
        """Turn codes (B, K, T) into (B, length); what the frames do not cover is zero.

        Raises:
            ValueError: another number of codes a frame, or a code that is not there.
        """
        return self._cut(self.decoder(self.quantiser.decode(x)), length)

    @staticmethod
    def _cut(wav: Tensor, length: int) -> Tensor:
        return F.pad(wav[:, :length], (0, max(0, length - wav.shape[-1])))

    def reconstruct(self, wav: Tensor) -> tuple[Tensor, Quantised]:
        """Encode and decode (B, S) for training.

        Returns:
            (B, S), whose gradient passes the quantiser as if it were not there, and what the quantiser did.
        """
        quantised = self.quantiser(self.vectors(wav))
        return self._cut(self.decoder(quantised.data), wav.shape[-1]), quantised

    def quantiser_loss(self, quantised: Quantised) -> Tensor:
        """The quantiser's part of the training loss, a scalar: its losses with the weights given to the codec.

        Another part must say how far the reconstruction is from the speech.
        """
        return torch.stack([weight * quantised.losses[name] for name, weight in self.weights.items()]).sum()
