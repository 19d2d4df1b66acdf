"""SimCodec: speech as one stream of codes."""

from __future__ import annotations

from gense.representations.codec import VectorCodec
from gense.representations.convolutional import ConvDecoder, ConvEncoder, Stages
from gense.representations.quantiser import ResidualQuantiser


class SimCodec(VectorCodec):
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
        samples_multiple: see `VectorCodec`.
        codebook_weight: of the quantiser's loss of that name.
        commitment_weight: of the quantiser's loss of that name.
        spread_weight: of the quantiser's loss of that name.
        frozen: see `VectorCodec`.

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
        if min(encoder_width, decoder_width) < 1:
            raise ValueError(f"encoder_width={encoder_width}, decoder_width={decoder_width}: need both >= 1")
        super().__init__(
            ConvEncoder(encoder_width, dim, stages),
            ResidualQuantiser(dim, levels=levels, groups=groups, codes=codes),
            ConvDecoder(decoder_width, dim, stages),
            sample_rate=sample_rate, hop_length=stages.hop_length, samples_multiple=samples_multiple,
            weights={"codebook": codebook_weight, "commitment": commitment_weight, "spread": spread_weight},
            frozen=frozen,
        )  # fmt: skip
