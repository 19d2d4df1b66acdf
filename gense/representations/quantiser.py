"""Vectors as codes: residual vector quantisation, each level in groups of channels."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gense.representations.kmeans import kmeans
from gense.representations.nearest import nearest

# Scale of the inner products in the loss that keeps codes apart
_SHARPNESS = 3.0


class Quantised(NamedTuple):
    """What a quantiser gives in training.

    Attributes:
        codes: (B, K, T) int64.
        data: (B, C, T), the quantised vectors, with the gradient of what was quantised.
        losses: scalars by name, with gradient.
    """

    codes: Tensor
    data: Tensor
    losses: dict[str, Tensor]


class ResidualQuantiser(nn.Module):
    """Residual vector quantisation in groups (Yang et al. 2023, HiFi-Codec).

    The channels are cut into groups of neighbours, each with codebooks of its own. The first level takes the nearest
    code of each group, every further level the nearest to what is left over. Vectors are compared as they are, without
    projection or normalisation. Of the K = levels * groups codes of a frame, those of one level are neighbours.

    Args:
        dim: channels.
        levels: residual levels.
        groups: groups of channels, a divisor of `dim`.
        codes: vectors in each codebook.

    Raises:
        ValueError: a number is under 1, or `groups` does not divide `dim`.
    """

    def __init__(self, dim: int, *, levels: int, groups: int, codes: int):
        super().__init__()
        if min(dim, levels, groups, codes) < 1 or dim % groups:
            raise ValueError(
                f"dim={dim}, levels={levels}, groups={groups}, codes={codes}: "
                "need all >= 1, and groups a divisor of dim"
            )
        self.levels, self.groups, self.codes = levels, groups, codes
        self.codebooks = nn.Parameter(torch.empty(levels, groups, codes, dim // groups).uniform_(-1 / codes, 1 / codes))

    def _level(self, rest: Tensor, level: int) -> tuple[Tensor, Tensor]:
        """Codes (B, groups, T) of (B, T, C), and their vectors (B, T, C)."""
        parts = zip(rest.chunk(self.groups, dim=-1), self.codebooks[level], strict=True)
        codes = [nearest(part.detach(), book.detach()) for part, book in parts]
        return torch.stack(codes, dim=1), self._vectors(codes, level)

    def _vectors(self, codes: list[Tensor], level: int) -> Tensor:
        """Vectors (B, T, C) of one level's codes, (B, T) for each group."""
        books = self.codebooks[level]
        return torch.cat([F.embedding(index, book) for index, book in zip(codes, books, strict=True)], dim=-1)

    def encode(self, z: Tensor) -> Tensor:
        """Turn (B, C, T) into codes (B, K, T)."""
        rest, codes = z.float().mT, []
        for level in range(self.levels):
            chosen, vectors = self._level(rest, level)
            rest = rest - vectors
            codes.append(chosen)
        return torch.cat(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Turn codes (B, K, T) into (B, C, T).

        Raises:
            ValueError: another number of codes a frame, or a code that is not there.
        """
        if codes.ndim != 3 or codes.shape[1] != self.levels * self.groups:
            raise ValueError(
                f"codes have shape {tuple(codes.shape)}: expected (batch, {self.levels * self.groups}, frames)"
            )
        if codes.numel() and (int(codes.min()) < 0 or int(codes.max()) >= self.codes):
            raise ValueError(f"codes from {int(codes.min())} to {int(codes.max())}: there are 0 to {self.codes - 1}")
        levels = codes.unflatten(1, (self.levels, self.groups)).unbind(1)
        return torch.stack([self._vectors(list(c.unbind(1)), k) for k, c in enumerate(levels)]).sum(dim=0).mT

    @torch.no_grad()
    def fit(self, z: Tensor, *, rounds: int = 20, seed: int = 0) -> None:
        """Set all codes by k-means: of the vectors, then, level by level, of what is left over.

        Args:
            z: (B, C, T), together at least as many frames as there are codes in a codebook.
            rounds: most rounds, see `kmeans`.
            seed: of the points to begin with.

        Raises:
            ValueError: fewer frames than codes.
        """
        rest = z.float().mT
        for level in range(self.levels):
            for book, part in zip(self.codebooks[level], rest.chunk(self.groups, dim=-1), strict=True):
                book.copy_(kmeans(part.flatten(0, 1), self.codes, rounds=rounds, seed=seed))
            rest = rest - self._level(rest, level)[1]

    @torch.no_grad()
    def taken(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """How often each code is chosen, (K, codes), and the sum of what it then stands for, (K, codes, C / groups).

        Args:
            z: (B, C, T).
        """
        rest, counts, sums = z.float().mT, [], []
        for level in range(self.levels):
            chosen, vectors = self._level(rest, level)
            for codes, part in zip(chosen.unbind(1), rest.chunk(self.groups, dim=-1), strict=True):
                counts.append(torch.bincount(codes.flatten(), minlength=self.codes))
                zeros = part.new_zeros(self.codes, part.shape[-1])
                sums.append(zeros.index_add_(0, codes.flatten(), part.flatten(0, 1)))
            rest = rest - vectors
        return torch.stack(counts), torch.stack(sums)

    @torch.no_grad()
    def reseed(self, z: Tensor, dead: Tensor) -> None:
        """Move codes to where vectors are: each to one drawn at random, of its group and of what is left at its level.

        Random numbers are the global ones, as in all training.

        Args:
            z: (B, C, T).
            dead: (K, codes) bool, which codes move.
        """
        rest = z.float().mT
        for level, moving in enumerate(dead.unflatten(0, (self.levels, self.groups))):
            for book, part, rows in zip(self.codebooks[level], rest.chunk(self.groups, dim=-1), moving, strict=True):
                points = part.flatten(0, 1)
                book[rows] = points[torch.randint(len(points), (int(rows.sum()),), device=points.device)]
            rest = rest - self._level(rest, level)[1]

    def forward(self, z: Tensor) -> Quantised:
        """Quantise (B, C, T) for training.

        Losses, each a mean over elements, groups and levels: "codebook", the squared distance that moves codes towards
        the vectors; "commitment", the same that moves the vectors; "spread", which keeps codes in use, the
        cross-entropy of the first level's codes told apart by 3 times their inner products; 0 for the other levels.
        """
        rest, codes = z.float().mT, []
        total = torch.zeros_like(rest)
        codebook, commitment = rest.new_zeros(()), rest.new_zeros(())
        for level in range(self.levels):
            chosen, vectors = self._level(rest, level)
            codebook = codebook + F.mse_loss(vectors, rest.detach())
            commitment = commitment + F.mse_loss(rest, vectors.detach())
            rest, total = rest - vectors.detach(), total + vectors
            codes.append(chosen)
        data = z + (total.mT - z).detach()
        losses = {"codebook": codebook, "commitment": commitment, "spread": self._spread()}
        losses = {name: value / self.levels for name, value in losses.items()}
        return Quantised(torch.cat(codes, dim=1), data, losses)

    def _spread(self) -> Tensor:
        own = torch.arange(self.codes, device=self.codebooks.device)
        spread = [F.cross_entropy(_SHARPNESS * (book @ book.T), own) for book in self.codebooks[0]]
        return torch.stack(spread).mean()
