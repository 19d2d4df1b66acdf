"""The smallest of what works on tokens."""

from __future__ import annotations

from torch import Tensor

from gense.heads import Head


class NoisyTokens(Head):
    """The noisy tokens themselves: the identity between a codec's two halves."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.target, self.sampling = ("noisy_codec",), "codec", None

    def generate(self, cond, *, sampling=None, noise=None, callback=None) -> Tensor:
        return cond["noisy_codec"]
