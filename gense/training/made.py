"""Features as a method's head makes them, to train a vocoder on what it will get."""

from __future__ import annotations

import torch
from torch import Tensor

from gense.checkpoints.load import load_enhancer
from gense.representations.base import Representation


class MadeFeatures(Representation):
    """What the head of a trained method makes of noisy waveforms; frozen, and no part of what is saved.

    Args:
        method: as `gense.load` takes it; its head makes its features in one call.
        trust: allow classes from outside gense in its configuration.

    Raises:
        ValueError: the method samples, so that its features are not the same twice.
        OSError: as `gense.load`.
    """

    def __init__(self, method: str, *, trust: bool = False):
        super().__init__()
        enhancer = load_enhancer(method, trust=trust).requires_grad_(False)
        if enhancer.head.sampling is not None:
            raise ValueError(f"{method} samples its features: expected a method whose head makes them in one call")
        self.sample_rate, self.hop_length = enhancer.sample_rate, enhancer.target.hop_length
        self.hop_frames, self.mel = enhancer.target.hop_frames, enhancer.target.mel
        self._held = [enhancer]  # in a list: a submodule would be saved with every checkpoint

    @torch.no_grad()
    def encode(self, wav: Tensor) -> Tensor:
        """Turn (B, S) into (B, *feature, T)."""
        enhancer = self._held[0].to(wav.device)
        return enhancer.head.generate(enhancer.conditions(wav))
