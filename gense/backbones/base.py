"""The interface of every network."""

from __future__ import annotations

from torch import Tensor, nn

from gense.types import Condition


class Backbone(nn.Module):
    """A network called with a state, a time and named conditions.

    Nothing else is asked of it: which quantity the output stands for is the head's business.

    Attributes:
        coupled: whether the items of a batch depend on each other, as where a published code normalises over all of
            them. Such a batch is never taken apart.
    """

    coupled: bool = False

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        """Run the network once.

        Args:
            x: state, (B, *shape); complex (B, 1, F, T) for spectra.
            t: time of each item, (B,), or None for networks without time.
            cond: conditions by name, in the order of the head's list; a missing optional key is the null condition.

        Returns:
            A tensor shaped like the target, (B, *shape).
        """
        raise NotImplementedError

    def prepare(self, x: Tensor, cond: Condition) -> Condition:
        """Compute once what is the same at every step of a sampling; by default nothing is.

        Args:
            x: a state, (B, *shape), of which only the shape matters.
            cond: conditions by name.

        Returns:
            What `forward` takes in place of `cond` for states of this shape.
        """
        return cond
