"""An early end of a training that has diverged."""

from __future__ import annotations

import math
from collections import deque
from statistics import median
from typing import Any

import lightning


class Diverged(RuntimeError):
    """A training cannot get anywhere any more; the message says what may help."""


def remedy(what: str, step: int, *, clipping: str = "trainer.gradient_clip_val") -> Diverged:
    """The error of a diverged training.

    Args:
        what: what was seen, such as "the loss is nan".
        step: at which.
        clipping: where gradients are clipped.
    """
    return Diverged(
        f"{what} at step {step}: training diverged; lower the learning rate, warm it up for longer or clip gradients "
        f"({clipping}), and resume from a checkpoint before that with --ckpt_path"
    )


class StopOnDivergence(lightning.Callback):
    """Ends a training whose loss has exploded, instead of letting it run for days to no purpose.

    The median of the last `recent` losses is compared with those of the `window` batches before them: it may lie above
    their median by `factor` times the median's size or the typical distance from it (their median absolute deviation),
    whichever is more. Medians let single bad batches pass, and losses may be negative.

    A loss that is not finite ends the training at once, whatever the settings. Modules that do not return their loss,
    such as those with several optimisers, look after themselves.

    Args:
        factor: above 1; infinity looks for losses that are not finite alone.
        window: batches by which the recent ones are judged; before so many nothing is.
        recent: batches that are judged together.

    Raises:
        ValueError: an argument is out of its range; in a training `Diverged`.
    """

    def __init__(self, factor: float = 20.0, window: int = 200, recent: int = 20):
        if not (factor > 1 and window >= 2 and 1 <= recent < window):
            raise ValueError(
                f"factor={factor}, window={window}, recent={recent}: need factor > 1, window >= 2 and "
                "1 <= recent < window"
            )
        self.factor, self.window, self.recent = factor, window, recent
        self.losses: deque[float] = deque(maxlen=window + recent)

    def problem(self, loss: float) -> str | None:
        """What is wrong once `loss` has come after those before it; None where nothing is."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        self.losses.append(loss)
        if len(self.losses) < self.window + self.recent or math.isinf(self.factor):
            return None
        losses = list(self.losses)
        before, now = losses[: self.window], median(losses[self.window :])
        usual = median(before)
        spread = median(abs(value - usual) for value in before)
        if now <= usual + self.factor * max(abs(usual), spread):
            return None
        return f"the loss is {now:.4g}, the median of {self.recent} batches, and was {usual:.4g} before"

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not isinstance(outputs, dict) or "loss" not in outputs:
            return
        # Lightning hands out the loss divided by the batches over which gradients are accumulated
        problem = self.problem(float(outputs["loss"]) * trainer.accumulate_grad_batches)
        # All processes end together: one that ended alone would leave the others waiting for it
        if trainer.strategy.reduce_boolean_decision(problem is not None, all=False):
            raise remedy(problem or "the loss of another process is not finite or has exploded", trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {"losses": list(self.losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses.clear()
        self.losses.extend(state_dict["losses"])
