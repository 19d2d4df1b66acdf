"""Masked token models: the clean tokens all at once, with gaps that are filled step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense import samplers
from gense.backbones.base import Backbone
from gense.heads.base import Head
from gense.heads.resolve import check_options, keywords, resolve
from gense.heads.token_lm import rule_of
from gense.samplers import schedules
from gense.samplers.types import Noise
from gense.types import Condition, Loss, Sampling

_OWN = ("noise", "callback", "choose", "mask")
"""What the head itself hands to a sampler."""


@dataclass(frozen=True)
class Given:
    """A condition of a masked token model: ids, which are embedded, or features, which are mapped.

    Args:
        read: name of the condition, as many frames as the answer.
        size: number of ids of each stream, for (B, streams, T) int64; None for features.
        streams: ids of a frame.
        channels: features of a frame, for (B, channels, T); None for ids.

    Raises:
        ValueError: both or neither of `size` and `channels`, or a number under 1.
    """

    read: str
    size: int | None = None
    streams: int = 1
    channels: int | None = None

    def __post_init__(self) -> None:
        if (self.size is None) == (self.channels is None):
            raise ValueError(f"given {self.read!r}: size={self.size}, channels={self.channels}: need one of them")
        if any(number < 1 for number in (self.size, self.streams, self.channels) if number is not None):
            raise ValueError(f"{self}: need numbers >= 1")

    def check(self, value: Tensor) -> Tensor:
        """The condition, if it is what was announced.

        Raises:
            ValueError: another type or shape.
        """
        ids = self.size is not None
        rows = self.streams if ids else self.channels
        if value.ndim != 3 or value.shape[1] != rows or (value.dtype == torch.int64) != ids:
            kind = "int64 ids" if ids else "features"
            raise ValueError(
                f"condition {self.read!r} is {value.dtype} {tuple(value.shape)}: expected {kind} (B, {rows}, T)"
            )
        return value


class SummedEmbedding(nn.Module):
    """Ids (B, K, T) to the sum of their embeddings, (B, features, T), with a table for each stream."""

    def __init__(self, streams: int, size: int, features: int):
        super().__init__()
        self.size, self.table = size, nn.Embedding(streams * size, features)

    def forward(self, ids: Tensor) -> Tensor:
        first = self.size * torch.arange(ids.shape[1], device=ids.device)[:, None]
        return self.table(ids + first).sum(dim=1).mT


class MaskedTokenHead(Head):
    """A network that sees noisy speech and some of the clean tokens and names the rest (Chang et al. 2022, MaskGIT).

    In training, the share cos(pi u / 2), u uniform in (0, 1), of an item's tokens is hidden, at least one, and the loss
    is their mean negative log likelihood. To generate, all are hidden, and each step of the sampler keeps the surest.
    The clean tokens of a frame are embedded and added; the network, which may look both ways, is called with them as
    its state, the share that is hidden as its time, and the conditions frame by frame beside them, tokens embedded and
    features mapped: enhancement with features is MaskSR's (Li, Wang & Liu 2024).
    All streams are hidden and filled alike, not level by level as in SoundStorm (Borsos et al. 2023).

    Args:
        backbone: a network on (B, features, T), with a time and the conditions' names in `conditions`, all of that
            shape.
        target: name of the representation to predict, (B, streams, T) int64.
        conditions: what it reads.
        size: number of ids of the target.
        streams: ids of a frame.
        features: channels of the embeddings and of what the network gives.
        sampling: default sampling; options are those of the sampler, `choose`, and those of the rule so named, see
            `TokenLMHead`.

    Raises:
        ValueError: a number under 1, or a sampling that does not work.
    """

    sampling: Sampling

    def __init__(
        self,
        backbone: Backbone,
        *,
        target: str,
        conditions: Sequence[Given],
        size: int,
        streams: int = 1,
        features: int = 256,
        sampling: Sampling = Sampling("maskgit", steps=12, schedule="sway"),  # noqa: B008 - frozen
    ):
        super().__init__()
        if min(size, streams, features) < 1:
            raise ValueError(f"size={size}, streams={streams}, features={features}: need all >= 1")
        if not conditions:
            raise ValueError("conditions=[]: name at least one, such as the noisy tokens")
        self.backbone, self.target, self.size, self.streams = backbone, target, size, streams
        self.conditions, self.reads = tuple(conditions), tuple(given.read for given in conditions)
        self.sampling, self.mask = sampling, size  # the last id of a stream: hidden
        self.embedding = SummedEmbedding(streams, size + 1, features)
        self.given = nn.ModuleDict({
            given.read: nn.Conv1d(given.channels, features, 1) if given.channels is not None
            else SummedEmbedding(given.streams, int(given.size or 0), features)
            for given in conditions
        })  # fmt: skip
        self.out = nn.Linear(features, streams * size)
        self._plan(sampling)

    def _logits(self, tokens: Tensor, given: Condition) -> Tensor:
        """Logits (B, streams, T, size) of tokens with gaps (B, streams, T)."""
        hidden = (tokens == self.mask).float().mean(dim=(1, 2))
        made = self.backbone(self.embedding(tokens), hidden, given)
        return self.out(made.mT).unflatten(-1, (self.streams, self.size)).transpose(1, 2)

    def _given(self, cond: Condition) -> Condition:
        """The conditions as the network reads them, (B, features, T) each."""
        values = {given.read: given.check(cond[given.read]) for given in self.conditions}
        if len({value.shape[-1] for value in values.values()}) > 1:
            frames = ", ".join(f"{name!r} {value.shape[-1]}" for name, value in values.items())
            raise ValueError(f"conditions of different numbers of frames: {frames}")
        return {name: self.given[name](value) for name, value in values.items()}

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Mean cross entropy of hidden clean tokens (nats per token); no estimate.

        Part `accuracy` is the share of them that are the likeliest.

        Raises:
            ValueError: the clean tokens or the condition do not fit.
        """
        goal, given, first = clean[self.target], self._given(cond), cond[self.reads[0]]
        if goal.shape != (len(first), self.streams, first.shape[-1]) or goal.dtype != torch.int64:
            raise ValueError(
                f"target {self.target!r} is {goal.dtype} {tuple(goal.shape)}: expected int64 ids "
                f"{(len(first), self.streams, first.shape[-1])}, as many frames as {self.reads[0]!r} has"
            )
        count = goal[0].numel()
        share = torch.cos(torch.rand(len(goal), 1, device=goal.device) * torch.pi / 2)
        rank = torch.rand(len(goal), count, device=goal.device).argsort(dim=-1).argsort(dim=-1)
        gap = (rank < (share * count).ceil().clamp(min=1)).reshape(goal.shape)
        logits = self._logits(goal.masked_fill(gap, self.mask), given)[gap]
        total = F.cross_entropy(logits.float(), goal[gap])
        right = (logits.argmax(-1) == goal[gap]).float().mean()
        return Loss(total, {"cross_entropy": total.detach(), "accuracy": right})

    def chosen(self, sampling: Sampling, options: Mapping[str, Any]) -> Sampling:
        """A sampling with a user's options: of the sampler, `choose`, the rule that it names, and the schedule.

        Raises:
            ValueError: an unknown or impossible option.
        """
        schedule = keywords(resolve(sampling.schedule, schedules, "steps"))
        own = {name: value for name, value in options.items() if name not in schedule}
        of_schedule = {name: value for name, value in options.items() if name in schedule}
        sampling = replace(
            sampling,
            options={**sampling.options, **own},
            schedule_options={**sampling.schedule_options, **of_schedule},
        )
        self._plan(sampling)
        return sampling

    def _plan(self, sampling: Sampling) -> tuple[Callable[..., Tensor], dict[str, Any], Tensor]:
        """The sampler, what it is called with apart from noise and callback, and the shares that stay hidden."""
        if sampling.guidance:
            raise ValueError("this head has no guidance: leave it at 0")
        sampler = resolve(sampling.sampler, samplers, "predict")
        schedule = resolve(sampling.schedule, schedules, "steps")
        check_options(schedule, sampling.schedule_options)
        mine = [name for name in keywords(sampler) if name not in _OWN]
        rule, takes = rule_of(sampling.options.get("choose", "multinomial"))
        for name in sampling.options:
            if name not in (*mine, *takes, "choose"):
                raise ValueError(f"unexpected option {name!r}: expected choose, {', '.join([*mine, *takes])}")
        options = {name: value for name, value in sampling.options.items() if name in mine}
        choose = rule(**{name: value for name, value in sampling.options.items() if name in takes})
        return sampler, {**options, "choose": choose}, schedule(sampling.steps, **sampling.schedule_options)

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> Tensor:
        """Fill all tokens, (B, streams, T) int64, in as many steps as the sampling has.

        Args:
            cond: conditions by name.
            sampling: overrides the head's own.
            noise: source of randomness, drawn twice a step; "greedy" without it is deterministic.
            callback: called with a `gense.samplers.TokenStep` once a step.

        Raises:
            ValueError: no noise for a rule that draws, impossible options, or a condition that does not fit.
        """
        sampler, options, shares = self._plan(sampling or self.sampling)
        given, first = self._given(cond), cond[self.reads[0]]
        shape = (len(first), self.streams, first.shape[-1])
        hidden = torch.full(shape, self.mask, dtype=torch.int64, device=first.device)
        return sampler(
            lambda tokens: self._logits(tokens, given), hidden, shares, mask=self.mask, noise=noise, callback=callback,
            **options,
        )  # fmt: skip
