"""What the transformers on feature frames have in common: their call, and what they compute once a sampling."""

from __future__ import annotations

from torch import Tensor

from gense.backbones.base import Backbone
from gense.backbones.layers.frame_input import FrameInput, check_names
from gense.backbones.layers.rotary import rotary_table
from gense.backbones.layers.text_embedding import TextEmbedding, place
from gense.types import Condition


class FrameTransformer(Backbone):
    """A transformer on frames (B, features, T) with conditions of the same frames and, if it has them, tokens.

    Attributes:
        reads: names of the conditions that it knows.
        tokens: name of the token condition, None for a network without tokens.
        head_dim: size of an attention head.
        lead: positions before the first frame.
        text: embeds tokens that enter frame by frame.
        input: joins state, conditions and token features.
    """

    reads: tuple[str, ...]
    tokens: str | None
    head_dim: int
    lead = 0
    text: TextEmbedding | None
    input: FrameInput

    def prepare(self, x: Tensor, cond: Condition) -> Condition:
        """Compute once what is the same at every step of a sampling.

        Args:
            x: a state, (B, features, T), of which only the shape matters.
            cond: the conditions.

        Returns:
            What `forward` takes in place of the conditions, for states of this shape.

        Raises:
            ValueError: a condition of another name.
        """
        check_names(cond, self.reads)
        return self._prepare(x, cond)

    def _prepare(self, x: Tensor, cond: Condition) -> Condition:
        text = None
        if self.text is not None and self.tokens is not None:
            text = self.text(place(cond.get(self.tokens), x))
        rotary = rotary_table(self.lead + x.shape[-1], self.head_dim, x.device)
        return {"share": self.input.share(x, cond, text), "rotary": rotary}

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        """Run the network once.

        Args:
            x: state, (B, features, T).
            t: time of each item in [0, 1], (B,).
            cond: conditions by name, or what `prepare` made of them.

        Returns:
            (B, features, T).

        Raises:
            ValueError: no time, or a condition of another name.
        """
        if t is None:
            raise ValueError("t is None: this transformer needs the time of each item, (B,)")
        return self._run(x, t, cond if "share" in cond else self.prepare(x, cond))

    def _run(self, x: Tensor, t: Tensor, prepared: Condition) -> Tensor:
        """Run the network on prepared conditions."""
        raise NotImplementedError
