"""Long inputs in pieces: split, process, cross-fade."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Chunking:
    """How inputs longer than one chunk are cut, so that memory stays bounded and time linear.

    Args:
        seconds: length of a chunk.
        overlap: seconds that neighbouring chunks share and over which they are cross-faded, under half a chunk.
        batch: chunks that go through the network at once; on a CPU they go one by one, see `core.enhance_pieces`.

    Raises:
        ValueError: a value is out of its range.
    """

    seconds: float = 8.0
    overlap: float = 1.0
    batch: int = 4

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and 0 < self.overlap < self.seconds / 2 and self.batch >= 1):
            raise ValueError(
                f"seconds={self.seconds}, overlap={self.overlap}, batch={self.batch}: "
                "need seconds > 0, 0 < overlap < seconds / 2, batch >= 1"
            )

    def length(self, sample_rate: int, hop_length: int) -> int:
        """Samples of a chunk: whole frames."""
        return max(2, round(self.seconds * sample_rate / hop_length)) * hop_length

    def shared(self, sample_rate: int, hop_length: int) -> int:
        """Samples of a cross-fade: whole frames."""
        return max(1, round(self.overlap * sample_rate / hop_length)) * hop_length

    def plan(self, samples: int, sample_rate: int, hop_length: int) -> Plan:
        """Cut `samples` at whole frames."""
        length, overlap = self.length(sample_rate, hop_length), self.shared(sample_rate, hop_length)
        if samples <= length:
            return Plan(samples, samples, 0, (0,))
        starts = list(range(0, samples - length, length - overlap))
        # The last chunk is moved back to end with the input, up to the frame grid, so that all chunks are equally long
        starts.append(-(-(samples - length) // hop_length) * hop_length)
        return Plan(samples, length, overlap, tuple(dict.fromkeys(starts)))


@dataclass(frozen=True)
class Plan:
    """Where the chunks of one input lie.

    Args:
        samples: length of the input.
        length: length of every chunk; the last one may reach past the input by less than a hop.
        overlap: samples of a cross-fade.
        starts: first sample of every chunk, a multiple of the hop.
    """

    samples: int
    length: int
    overlap: int
    starts: tuple[int, ...]

    def at(self, rate_out: int, rate_in: int) -> Plan:
        """The same cuts counted in samples of another rate; starts and overlaps must come out whole."""

        def scaled(samples: int) -> int:
            return -(-samples * rate_out // rate_in)

        starts = tuple(scaled(start) for start in self.starts)
        return Plan(scaled(self.samples), scaled(self.length), scaled(self.overlap), starts)

    def cut(self, wav: Tensor, start: int) -> Tensor:
        """Return the chunk of (S,) that begins at `start`, (length,), with zeros past the end."""
        piece = wav[start : start + self.length]
        return torch.nn.functional.pad(piece, (0, self.length - piece.shape[-1]))

    def weight(self, index: int, *, late: bool = False) -> Tensor:
        """Cross-fade weights of a chunk, float32 (length,); over all chunks they sum to 1 at every sample.

        Args:
            index: of the chunk.
            late: fade it in at the very end of what it shares with the one before, as a stream must, which has given
                away what lies in front of that; instead of in the middle.
        """
        weight = torch.ones(self.length)
        start = self.starts[index]
        if index > 0:
            shared = self.starts[index - 1] + self.length - start
            weight[:shared] = _ramp(shared, self.overlap, late)
        if index + 1 < len(self.starts):
            shared = start + self.length - self.starts[index + 1]
            weight[self.length - shared :] -= _ramp(shared, self.overlap)
        return weight


def _ramp(shared: int, overlap: int, late: bool = False) -> Tensor:
    """Rise from 0 to 1 over the middle `overlap` of `shared` samples, so that chunk edges count least; or the last."""
    edge = shared - overlap if late else (shared - overlap) / 2
    return ((torch.arange(shared) + 0.5 - edge) / overlap).clamp(0.0, 1.0)
