"""Masked token models: the clean tokens all at once, with gaps that are filled step by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
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


class MaskedTokenHead(Head):
    """A network that sees the noisy tokens and some of the clean ones and names the rest (Chang et al. 2022, MaskGIT).

    In training, the share cos(pi u / 2), u uniform in (0, 1), of an item's tokens is hidden, at least one, and the loss
    is their mean negative log likelihood. To generate, all are hidden, and each step of the sampler keeps the surest.
    The tokens of a frame are embedded and added, noisy and clean apart; the network, which may look both ways, is
    called with the clean side as its state, the share that is hidden as its time, and the noisy side as the condition.
    All streams are hidden and filled alike, not level by level as in SoundStorm (Borsos et al. 2023).

    Args:
        backbone: a network on (B, features, T), with a time and one condition of the same shape.
        target: name of the representation to predict, (B, streams, T) int64.
        condition: name of the condition that it reads, (B, K, T) int64 with K at most `streams`, and ids of the same
            number; as many frames as the answer.
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
        condition: str,
        size: int,
        streams: int = 1,
        features: int = 256,
        sampling: Sampling = Sampling("maskgit", steps=12, schedule="sway"),  # noqa: B008 - frozen
    ):
        super().__init__()
        if min(size, streams, features) < 1:
            raise ValueError(f"size={size}, streams={streams}, features={features}: need all >= 1")
        self.backbone, self.target, self.condition, self.size, self.streams = backbone, target, condition, size, streams
        self.reads, self.sampling, self.mask = (condition,), sampling, size
        self.clean_embedding = nn.Embedding(streams * (size + 1), features)  # the last id of a stream: hidden
        self.noisy_embedding = nn.Embedding(streams * size, features)
        self.out = nn.Linear(features, streams * size)
        self._plan(sampling)

    def _embed(self, table: nn.Embedding, ids: Tensor, size: int) -> Tensor:
        """Sum (B, features, T) of the embeddings of ids (B, K, T)."""
        first = size * torch.arange(ids.shape[1], device=ids.device)[:, None]
        return table(ids + first).sum(dim=1).mT

    def _logits(self, tokens: Tensor, noisy: Tensor) -> Tensor:
        """Logits (B, streams, T, size) of tokens with gaps (B, streams, T)."""
        hidden = (tokens == self.mask).float().mean(dim=(1, 2))
        x = self._embed(self.clean_embedding, tokens, self.size + 1)
        made = self.backbone(x, hidden, {self.condition: self._embed(self.noisy_embedding, noisy, self.size)})
        return self.out(made.mT).unflatten(-1, (self.streams, self.size)).transpose(1, 2)

    def _noisy(self, cond: Condition) -> Tensor:
        ids = cond[self.condition]
        if ids.ndim != 3 or ids.dtype != torch.int64 or ids.shape[1] > self.streams:
            raise ValueError(
                f"condition {self.condition!r} is {ids.dtype} {tuple(ids.shape)}: expected int64 ids (B, K, T) with K "
                f"at most {self.streams}"
            )
        return ids

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Mean cross entropy of hidden clean tokens (nats per token); no estimate.

        Part `accuracy` is the share of them that are the likeliest.

        Raises:
            ValueError: the clean tokens or the condition do not fit.
        """
        goal, noisy = clean[self.target], self._noisy(cond)
        if goal.shape != (len(noisy), self.streams, noisy.shape[-1]) or goal.dtype != torch.int64:
            raise ValueError(
                f"target {self.target!r} is {goal.dtype} {tuple(goal.shape)}: expected int64 ids "
                f"{(len(noisy), self.streams, noisy.shape[-1])}, as many frames as {self.condition!r} has"
            )
        count = goal[0].numel()
        share = torch.cos(torch.rand(len(goal), 1, device=goal.device) * torch.pi / 2)
        rank = torch.rand(len(goal), count, device=goal.device).argsort(dim=-1).argsort(dim=-1)
        gap = (rank < (share * count).ceil().clamp(min=1)).reshape(goal.shape)
        logits = self._logits(goal.masked_fill(gap, self.mask), noisy)[gap]
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
        noisy = self._noisy(cond)
        hidden = noisy.new_full((len(noisy), self.streams, noisy.shape[-1]), self.mask)
        return sampler(
            lambda tokens: self._logits(tokens, noisy), hidden, shares, mask=self.mask, noise=noise, callback=callback,
            **options,
        )  # fmt: skip
