"""A codec that works at the frame rate throughout, which is quick on processors."""

from __future__ import annotations

from torch import Tensor, nn

from gense.representations.codec import VectorCodec
from gense.representations.mel import LogMel
from gense.representations.mel_settings import MelSettings
from gense.representations.quantiser import ResidualQuantiser
from gense.vocoders.vocos import ConvNeXtBlock, Vocos


class SpectralEncoder(nn.Module):
    """From waveforms to vectors: a log-mel spectrogram, then ConvNeXt blocks, whose view is a few frames to each side.

    Args:
        mel: of the spectrogram, with padding "same".
        dim: channels of the vectors.
        width: channels of the blocks.
        hidden: channels inside the blocks.
        blocks: number of blocks, each of which adds 3 frames to each side of the view.
    """

    def __init__(self, mel: MelSettings, *, dim: int, width: int, hidden: int, blocks: int):
        super().__init__()
        self.front = LogMel(mel)
        self.embed = nn.Conv1d(mel.bands, width, 7, padding=3)
        self.norm, self.final_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, hidden, 1 / blocks) for _ in range(blocks)))
        self.out = nn.Linear(width, dim)

    def forward(self, wav: Tensor) -> Tensor:
        """Map (B, S) to (B, dim, S // hop)."""
        x = self.norm(self.embed(self.front.encode(wav)).transpose(1, 2)).transpose(1, 2)
        return self.out(self.final_norm(self.blocks(x).transpose(1, 2))).transpose(1, 2)


class SpectralCodec(VectorCodec):
    """Log-mel spectrogram, ConvNeXt blocks, residual quantiser, Vocos: codes (B, K, T) int64 and back.

    Nothing in it runs at the rate of samples but two Fourier transforms, so that a frame costs a fraction of what the
    convolutions of `SimCodec` take. A spectrogram has no phase and the codes hold none: the decoder makes one up, as a
    vocoder does (Siuzdak 2023). K = levels * groups, T = S // hop_length.

    Args:
        mel: what the encoder sees; its hop is the codec's, its transform the decoder's, too. Padding "same".
        dim: channels of a frame where it is quantised.
        width: channels of the blocks on both sides.
        hidden: channels inside the blocks.
        encoder_blocks: ConvNeXt blocks before the quantiser.
        decoder_blocks: and after it.
        levels: residual levels of the quantiser.
        groups: groups of channels that are quantised apart.
        codes: codes in each codebook.
        samples_multiple: see `VectorCodec`.
        codebook_weight: of the quantiser's loss of that name.
        commitment_weight: of the quantiser's loss of that name.
        spread_weight: of the quantiser's loss of that name; 0 where training puts codes to where vectors are.
        frozen: see `VectorCodec`.

    Raises:
        ValueError: a number is out of its range, or the padding is another one.
    """

    def __init__(
        self,
        mel: MelSettings = MelSettings(16000, hop_length=320, bands=80, padding="same"),  # noqa: B008 - frozen
        *,
        dim: int = 64,
        width: int = 256,
        hidden: int = 512,
        encoder_blocks: int = 4,
        decoder_blocks: int = 7,
        levels: int = 1,
        groups: int = 1,
        codes: int = 1024,
        samples_multiple: int = 1,
        codebook_weight: float = 1.0,
        commitment_weight: float = 0.25,
        spread_weight: float = 0.0,
        frozen: bool = True,
    ):
        if mel.padding != "same" or min(width, hidden, encoder_blocks) < 1:
            raise ValueError(
                f"padding={mel.padding!r}, width={width}, hidden={hidden}, encoder_blocks={encoder_blocks}: need "
                "padding 'same', so that frames and hops are equally many, and numbers >= 1"
            )
        decoder = Vocos(
            mel=None, channels=dim, dim=width, hidden=hidden, blocks=decoder_blocks, sample_rate=mel.sample_rate,
            n_fft=mel.n_fft, hop_length=mel.hop_length, padding="same",
        )  # fmt: skip
        super().__init__(
            SpectralEncoder(mel, dim=dim, width=width, hidden=hidden, blocks=encoder_blocks),
            ResidualQuantiser(dim, levels=levels, groups=groups, codes=codes),
            decoder,
            sample_rate=mel.sample_rate, hop_length=mel.hop_length, samples_multiple=samples_multiple,
            weights={"codebook": codebook_weight, "commitment": commitment_weight, "spread": spread_weight},
            frozen=frozen,
        )  # fmt: skip

    def waveform(self, vectors: Tensor, length: int) -> Tensor:
        """Turn vectors (B, dim, T) into (B, length); what the frames do not cover is zero."""
        return self.decoder(vectors, length)
