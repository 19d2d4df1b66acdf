"""The predictive baseline: one network call, no noise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor

from gense.backbones.base import Backbone
from gense.heads.base import Head
from gense.samplers.types import Noise, Step
from gense.types import Condition, Loss, Sampling

Criterion = Literal["squared", "absolute"]


class RegressionHead(Head):
    """A network that maps the conditions to the clean features in one call, trained on the distance to them.

    Args:
        backbone: the network without time, called with (x, None, conditions).
        target: name of the representation to predict.
        condition: conditions given to the network: the first as x, the others, in this order, by name.
        criterion: "squared" or "absolute" error, its mean over all elements; of complex numbers the modulus counts.
        supervised: of features in several streams, (B, L, C, T), the indices along L of those that count in the loss;
            None counts all.

    Raises:
        ValueError: no condition, another criterion, or an empty list of streams.
    """

    def __init__(
        self,
        backbone: Backbone,
        *,
        target: str,
        condition: Sequence[str],
        criterion: Criterion = "squared",
        supervised: Sequence[int] | None = None,
    ):
        super().__init__()
        if not condition:
            raise ValueError("condition=[]: the network needs at least one, its input")
        if criterion not in ("squared", "absolute"):
            raise ValueError(f"criterion={criterion!r}: expected 'squared' or 'absolute'")
        if supervised is not None and not supervised:
            raise ValueError("supervised=[]: no stream counts, so nothing would be learnt; leave it out for all")
        self.backbone, self.target, self.criterion = backbone, target, criterion
        self.supervised = None if supervised is None else list(supervised)
        self.condition = tuple(condition)
        self.reads = tuple(dict.fromkeys(self.condition))
        self.sampling = None

    def _estimate(self, cond: Condition) -> Tensor:
        first, *others = self.condition
        return self.backbone(cond[first], None, {name: cond[name] for name in others})

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Mean error of the estimate, and the estimate."""
        estimate = self._estimate(cond)
        error = estimate - clean[self.target]
        if self.supervised is not None:
            error = error[:, self.supervised]
        if self.criterion == "absolute":
            total = error.abs().mean()
        else:  # not through abs, whose gradient at 0 is none
            total = (error.real.square() + error.imag.square() if error.is_complex() else error.square()).mean()
        return Loss(total, {self.criterion: total.detach()}, data=estimate)

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Step], None] | None = None,
    ) -> Tensor:
        """The estimate, (B, *feature, T).

        Raises:
            ValueError: a sampling, which a deterministic head does not have.
        """
        if sampling is not None:
            raise ValueError("this head is deterministic: it takes no sampling")
        return self._estimate(cond)
