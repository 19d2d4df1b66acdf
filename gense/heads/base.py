"""The interface of what turns conditions into clean features."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from gense.samplers.types import Noise, Step
from gense.types import Condition, Loss, Sampling


class Head(nn.Module):
    """A composition of networks with a loss and a way to generate.

    Attributes:
        reads: condition keys that it needs, `noisy_<representation>` among them; nothing else is computed for it.
        target: name of the representation that it predicts.
        sampling: default sampling, None for a deterministic head.
    """

    reads: tuple[str, ...]
    target: str
    sampling: Sampling | None

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Training loss.

        Args:
            clean: clean features by representation name, (B, *feature, T).
            cond: conditions by name.
        """
        raise NotImplementedError

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Tensor:
        """Return clean features, (B, *feature, T).

        Args:
            cond: conditions by name.
            sampling: overrides the head's own.
            noise: source of randomness; heads that sample need it.
            callback: called once a step.
        """
        raise NotImplementedError
