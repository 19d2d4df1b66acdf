"""Codebooks in training: where their codes begin, which of them are in use, and what becomes of those that are not."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gense.representations.quantiser import ResidualQuantiser

# Vectors from which codes are first placed, for each code: at least and at most
_FEWEST, _MOST = 4, 16


class Usage(NamedTuple):
    """How evenly codes are used.

    Attributes:
        used: share of the codes that were chosen at all, the mean over codebooks, in (0, 1].
        perplexity: exp of the entropy of the codes, the mean over codebooks: the number of codes of a codebook of which
            each is chosen equally often and that says as much, from 1 to the number of codes.
    """

    used: float
    perplexity: float


def count(codes: Tensor, size: int) -> Tensor:
    """How often each code was chosen, (K, size) int64, of codes (B, K, T) from 0 to size - 1."""
    return torch.stack([torch.bincount(stream.flatten(), minlength=size) for stream in codes.unbind(1)])


def usage(counts: Tensor) -> Usage:
    """The usage of codes that were chosen so often, (K, size).

    Raises:
        ValueError: a codebook of which none was chosen.
    """
    total = counts.sum(dim=-1, keepdim=True)
    if not bool((total > 0).all()):
        raise ValueError("counts of a codebook are all 0: there are no codes of which to measure the use")
    share = counts.double() / total
    entropy = -torch.special.xlogy(share, share).sum(dim=-1)
    return Usage(float((counts > 0).double().mean()), float(entropy.exp().mean()))


class CodebookGuard(nn.Module):
    """Keeps the codes of a codec where its vectors are, by three plain rules.

    1. Codes begin there. For the first `plain_batches` batches nothing is quantised; encoder and decoder learn
       together, and then k-means of the vectors of the last of these batches places the codes, residual level by
       residual level (Zeghidour et al. 2021, section III-C, do so with the very first batch, of an encoder that has
       learnt nothing). This waits until there are 4 vectors a code.
    2. Codes follow. After each batch a code becomes the running mean of the vectors that have taken it (van den Oord
       et al. 2017, appendix A.1): sum and number keep the share `memory` of what they were and get the rest from the
       batch. The steps of an optimiser are too small for vectors whose encoder is learning.
    3. Codes that nothing takes move. The choices of `window` batches are counted. A code that was chosen less than
       `dead_share` times as often as it would be if all were equally frequent moves to a vector drawn at random from
       the last batch, of what its level gets (random restarts: Dhariwal et al. 2020, section 3.1).

    Args:
        plain_batches: see 1; 0 leaves the codes where they are, for a codec that has been trained before.
        memory: see 2, in (0, 1); None leaves the codes to their gradient.
        window: batches between two counts, >= 1.
        dead_share: see 3, in [0, 1); 0 moves no code.

    Raises:
        ValueError: a number is out of its range.
    """

    placed: Tensor

    def __init__(
        self,
        *,
        plain_batches: int = 200,
        memory: float | None = 0.98,
        window: int = 50,
        dead_share: float = 0.02,
    ):
        super().__init__()
        if plain_batches < 0 or window < 1 or not 0 <= dead_share < 1 or not (memory is None or 0 < memory < 1):
            raise ValueError(
                f"plain_batches={plain_batches}, memory={memory}, window={window}, dead_share={dead_share}: need the "
                "first >= 0, memory between 0 and 1 or None, window >= 1, and dead_share >= 0 and under 1"
            )
        self.plain_batches, self.memory, self.window, self.dead_share = plain_batches, memory, window, dead_share
        self.seen: list[Tensor] = []  # vectors of the last batches, until codes have been placed
        self.counts: Tensor | None = None
        self.counted = 0
        self.weight: Tensor | None = None  # of each code's running mean, (K, codes)
        # In checkpoints: a run that goes on must not place its codes again
        self.register_buffer("placed", torch.tensor(plain_batches == 0))

    def get_extra_state(self) -> dict[str, Any]:
        """What a run that goes on needs beside `placed`, to end as if it had not been cut off."""
        return {"seen": self.seen, "counts": self.counts, "counted": self.counted, "weight": self.weight}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take what `get_extra_state` gave."""
        device = self.placed.device
        self.seen = [vectors.to(device) for vectors in state["seen"]]
        self.counted = state["counted"]
        self.counts, self.weight = (
            None if state[name] is None else state[name].to(device) for name in ("counts", "weight")
        )

    @torch.no_grad()
    def after(self, quantiser: ResidualQuantiser, vectors: Tensor, *, batch: int, move: bool = True) -> Usage | None:
        """Look at the vectors of a batch, and place or move the codes where it is time to.

        Args:
            quantiser: changed in place.
            vectors: of this batch, (B, C, T).
            batch: its number, from 0.
            move: whether dead codes may move.

        Returns:
            The usage in a window that has ended with this batch; None within one, and before codes are placed.
        """
        vectors = vectors.detach().float()
        if not self.placed:
            self._place(quantiser, vectors, batch)
            return None
        new, sums = quantiser.taken(vectors)
        self._follow(quantiser, new, sums)
        self.counts = new if self.counts is None else self.counts + new
        self.counted += 1
        if self.counted < self.window:
            return None
        counts, self.counts, self.counted = self.counts, None, 0
        if move:
            dead = counts < self.dead_share * counts.sum(dim=-1, keepdim=True) / quantiser.codes
            quantiser.reseed(vectors, dead)
            if self.weight is not None:
                self.weight[dead] = 1.0
        return usage(counts)

    def _place(self, quantiser: ResidualQuantiser, vectors: Tensor, batch: int) -> None:
        self.seen.append(vectors.mT.flatten(0, 1))
        while sum(map(len, self.seen[1:])) >= _MOST * quantiser.codes:
            del self.seen[0]
        if batch + 1 >= self.plain_batches and sum(map(len, self.seen)) >= _FEWEST * quantiser.codes:
            quantiser.fit(torch.cat(self.seen).mT[None])
            self.placed.fill_(True)
            self.seen = []

    def _follow(self, quantiser: ResidualQuantiser, counts: Tensor, sums: Tensor) -> None:
        if self.memory is None:
            return
        if self.weight is None:
            self.weight = torch.ones_like(counts, dtype=torch.float32)
        old, self.weight = self.memory * self.weight, self.memory * self.weight + (1 - self.memory) * counts
        books = quantiser.codebooks.data.flatten(0, 1)
        taken = counts > 0  # the others stay; their old mean only loses weight
        mean = (old[..., None] * books + (1 - self.memory) * sums) / self.weight[..., None]
        books[taken] = mean[taken]
