"""Features as tokens: the nearest of a set of centres."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from gense.representations.base import Representation
from gense.representations.kmeans import kmeans
from gense.representations.nearest import nearest


class KMeansTokens(Representation):
    """Each frame of other features as the index of the nearest k-means centre, (B, 1, T) int64.

    The features are frozen. The centres come with the weights, or from `fit` before a training; no gradient moves them.
    There is no way back to a waveform: a model of other tokens makes it.

    Args:
        features: what gives (B, C, T).
        clusters: number of centres, the ids 0 to clusters - 1.
        dim: C.
        samples_multiple: waveforms are lengthened by zeros to a multiple of this.
        tail: zero samples appended after that. A chain of convolutions without padding, as in front of wav2vec 2.0,
            makes one frame less than there are hops; 100 samples bring it back.

    Attributes:
        codebooks: 1.
        vocabulary: number of ids, `clusters`.

    Raises:
        ValueError: a number is out of its range.
    """

    centres: Tensor

    def __init__(self, features: Representation, *, clusters: int, dim: int, samples_multiple: int = 1, tail: int = 0):
        super().__init__()
        if min(clusters, dim, samples_multiple) < 1 or tail < 0:
            raise ValueError(
                f"clusters={clusters}, dim={dim}, samples_multiple={samples_multiple}, tail={tail}: "
                "need the first three >= 1, and tail >= 0"
            )
        self.features = features.requires_grad_(False)
        self.sample_rate, self.hop_length, self.hop_frames = (
            features.sample_rate, features.hop_length, features.hop_frames,
        )  # fmt: skip
        self.samples_multiple, self.tail = samples_multiple, tail
        self.codebooks, self.vocabulary = 1, clusters
        self.register_buffer("centres", torch.zeros(clusters, dim))

    def train(self, mode: bool = True) -> KMeansTokens:
        """Switch to training; the features stay as they are in use."""
        super().train(mode)
        self.features.eval()
        return self

    @property
    def fitted(self) -> bool:
        """Whether there are centres."""
        return bool(self.centres.any())

    def tokens(self, features: Tensor) -> Tensor:
        """Turn features (B, C, T) into (B, 1, T).

        Raises:
            ValueError: other features than the centres are of, or there are no centres yet.
        """
        if features.ndim != 3 or features.shape[1] != self.centres.shape[1]:
            raise ValueError(
                f"features have shape {tuple(features.shape)}: expected (batch, {self.centres.shape[1]}, frames), "
                "as the centres have; take another layer or model, or the centres that belong to these features"
            )
        if not self.fitted:
            raise ValueError("the centres are all zero: load weights, or fit them to speech first (KMeansTokens.fit)")
        return nearest(features.mT, self.centres)[:, None]

    def _features(self, wav: Tensor) -> Tensor:
        return self.features.encode(F.pad(wav, (0, -wav.shape[-1] % self.samples_multiple + self.tail)))

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, 1, T)."""
        return self.tokens(self._features(wav))

    @torch.no_grad()
    def fit(self, wavs: Iterable[Tensor], *, rounds: int = 50, seed: int = 0) -> None:
        """Set the centres by k-means over the features of waveforms.

        Args:
            wavs: (B, S) each; together a few hundred frames a centre, which are kept in memory.
            rounds: most rounds, see `kmeans`.
            seed: of the points to begin with.

        Raises:
            ValueError: no waveforms, fewer frames than centres, or features of another width.
        """
        frames = [self._features(wav).mT.flatten(0, 1) for wav in wavs]
        if not frames or frames[0].shape[-1] != self.centres.shape[1]:
            raise ValueError(
                f"{len(frames)} waveforms with features of {frames[0].shape[-1] if frames else 0} channels: expected "
                f"at least one, and {self.centres.shape[1]}"
            )
        self.centres.copy_(kmeans(torch.cat(frames), self.vocabulary, rounds=rounds, seed=seed))
