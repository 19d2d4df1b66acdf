"""Token language models: the clean tokens written as a continuation of the noisy ones."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from gense import samplers
from gense.backbones.causal_lm import Cache, CausalLM
from gense.heads.base import Head
from gense.heads.delay import delay, undelay
from gense.heads.resolve import keywords, resolve
from gense.samplers import tokens as choosing
from gense.samplers.types import Noise
from gense.types import Condition, Loss, Sampling

_OWN = ("noise", "callback", "choose", "stop")
"""What the head itself hands to a sampler."""


@dataclass(frozen=True)
class Segment:
    """A part of what a token model reads before it answers: a condition, or one special id.

    Args:
        read: name of the condition, (B, K, T) int64; None for a special id.
        token: the special id; None for a condition.
        offset: added to the condition's ids, which begin at 0.
        position: position of the first token of this part; None counts on from the part before.

    Raises:
        ValueError: both or neither of `read` and `token`, or a negative number.
    """

    read: str | None = None
    token: int | None = None
    offset: int = 0
    position: int | None = None

    def __post_init__(self) -> None:
        if (self.read is None) == (self.token is None):
            raise ValueError(f"segment with read={self.read!r}, token={self.token}: need one of them")
        if min(self.token or 0, self.offset, self.position or 0) < 0:
            raise ValueError(f"{self}: need numbers >= 0")


class TokenLMHead(Head):
    """A causal model that reads the segments of a prompt and then writes the target, one frame a step.

    Ids of a representation begin at 0; special ids and the offsets that keep vocabularies apart belong to this head.
    A condition with fewer streams than the model has fills the others with `pad`. Only ids of the target, and `stop`,
    can be written; the loss is the negative log likelihood under that same rule.

    Args:
        lm: the model.
        target: name of the representation to predict, (B, K, T) int64.
        prompt: what the model reads, in this order; the logits after its last token choose the first of the answer.
        size: number of ids of the target.
        offset: added to its ids.
        position: position of the first token of the answer; None counts on from the prompt.
        frames: name of the condition that has as many frames as the answer.
        stop: id that ends an answer before that, None for answers that have all their frames. Frames after it are -1.
        pad: id that fills streams a condition does not have, and gaps of delayed ones.
        delayed: write stream k of a frame k steps after its first one (see `gense.heads.delay`), so that it is chosen
            in sight of those before it; for codebooks that refine each other, in K - 1 more steps.
        sampling: default sampling. `options` are those of the sampler and `choose`: "multinomial", "greedy" or a
            function (see `gense.samplers.tokens`), with the options of the rule so named (temperature, top_k, top_p)
            beside it. There are as many steps as frames: its steps and schedule say nothing and are not to change.

    Raises:
        ValueError: an empty prompt, or ids or positions for which the model has no room.
    """

    sampling: Sampling
    allowed: Tensor

    def __init__(
        self,
        lm: CausalLM,
        *,
        target: str,
        prompt: Sequence[Segment],
        size: int,
        frames: str,
        offset: int = 0,
        position: int | None = None,
        stop: int | None = None,
        pad: int = 0,
        delayed: bool = False,
        sampling: Sampling = Sampling("autoregressive"),  # noqa: B008 - frozen
    ):
        super().__init__()
        self.lm, self.target, self.prompt = lm, target, tuple(prompt)
        self.size, self.offset, self.position, self.frames = size, offset, position, frames
        self.stop, self.pad, self.delayed, self.sampling = stop, pad, delayed, sampling
        read = [part.read for part in self.prompt if part.read is not None]
        if not self.prompt:
            raise ValueError("prompt=[]: the model needs at least one token to begin with")
        largest = max(offset + size - 1, pad, *(part.token or part.offset for part in self.prompt), stop or 0)
        if size < 1 or offset < 0 or largest >= lm.vocabulary:
            raise ValueError(
                f"size={size}, offset={offset}, largest id {largest}: need size >= 1, offset >= 0, and ids below the "
                f"model's vocabulary of {lm.vocabulary}"
            )
        if delayed and (stop is not None or offset <= pad < offset + size):
            raise ValueError(f"stop={stop}, pad={pad}: delayed streams need stop=None and a pad that is no target's id")
        self.reads = tuple(dict.fromkeys([*read, frames]))
        allowed = torch.zeros(lm.vocabulary, dtype=torch.bool)
        allowed[offset : offset + size] = True
        if stop is not None:
            allowed[stop] = True
        self.register_buffer("allowed", allowed, persistent=False)
        self._plan(sampling)

    def chosen(self, sampling: Sampling, options: Mapping[str, Any]) -> Sampling:
        """A sampling with a user's options: those of the sampler, `choose`, and those of the rule it names.

        Raises:
            ValueError: an unknown or impossible option, or another number of steps or schedule.
        """
        if "choose" in options:  # another rule starts from its own defaults
            of_sampler = keywords(resolve(sampling.sampler, samplers, "logits"))
            sampling = replace(sampling, options={k: v for k, v in sampling.options.items() if k in of_sampler})
        sampling = replace(sampling, options={**sampling.options, **options})
        self._plan(sampling)
        return sampling

    def _plan(self, sampling: Sampling) -> tuple[Callable[..., Tensor], dict[str, Any]]:
        """The sampler and what it is called with, apart from noise and callback."""
        same = sampling.steps == self.sampling.steps and sampling.schedule == self.sampling.schedule
        if not same or sampling.schedule_options or sampling.guidance:
            raise ValueError(
                "this head takes one step per frame and has neither schedule nor guidance: leave steps, schedule and "
                "guidance as they are"
            )
        sampler = resolve(sampling.sampler, samplers, "logits")
        mine = [name for name in keywords(sampler) if name not in _OWN]
        for_rule = {name: value for name, value in sampling.options.items() if name not in (*mine, "choose")}
        rule, takes = rule_of(sampling.options.get("choose", "multinomial"))
        for name in for_rule:
            if name not in takes:
                raise ValueError(
                    f"unexpected option {name!r}: expected choose, {', '.join([*mine, *takes])}".rstrip(", ")
                )
        options = {name: value for name, value in sampling.options.items() if name in mine}
        return sampler, {**options, "choose": rule(**for_rule), "stop": self.stop}

    def _prompt(self, cond: Condition, count: int) -> tuple[Tensor, Tensor]:
        """The prompt's ids, (B, K, L), and the positions of its tokens and of `count` after it, (L + count,).

        Raises:
            ValueError: a condition is missing or no ids, or there are not that many positions.
        """
        like, streams = cond[self.frames], self.lm.streams
        parts: list[Tensor] = []
        ranges: list[tuple[int, int]] = []
        for part in self.prompt:
            if part.read is None:
                ids = like.new_full((len(like), streams, 1), int(part.token or 0))
            else:
                ids = cond[part.read]
                if ids.ndim != 3 or ids.dtype != torch.int64 or ids.shape[1] > streams:
                    raise ValueError(
                        f"condition {part.read!r} is {ids.dtype} {tuple(ids.shape)}: expected int64 ids (B, K, T) "
                        f"with K at most {streams}, the streams of the model"
                    )
                ids = F.pad(ids + part.offset, (0, 0, 0, streams - ids.shape[1]), value=self.pad)
            parts.append(ids)
            _count_on(ranges, part.position, ids.shape[-1])
        _count_on(ranges, self.position, count)
        largest = max(stop for _, stop in ranges)
        if largest > self.lm.positions:
            raise ValueError(
                f"{sum(part.shape[-1] for part in parts)} tokens of prompt and {count} of answer reach position "
                f"{largest - 1}, but the model has {self.lm.positions}: cut the input into shorter chunks"
            )
        positions = torch.cat([torch.arange(*ends, device=like.device) for ends in ranges])
        return torch.cat(parts, dim=-1), positions

    def _written(self, clean: Tensor) -> Tensor:
        """The answer as the model writes it, (B, K, n), of ids of the target, (B, K, T)."""
        ids = clean + self.offset
        if self.delayed:
            return delay(ids, self.pad)
        return ids if self.stop is None else F.pad(ids, (0, 1), value=self.stop)

    def _read_off(self, ids: Tensor, frames: int) -> Tensor:
        """Ids of the target, (B, K, T), of what the model wrote, (B, K, n)."""
        if self.stop is None:
            return (undelay(ids) if self.delayed else ids) - self.offset
        ended = (ids == self.stop).any(1, keepdim=True).cumsum(-1) > 0
        ids = (ids - self.offset).masked_fill(ended, -1)
        return F.pad(ids, (0, frames - ids.shape[-1]), value=-1)

    def _steps(self, frames: int) -> int:
        """Steps in which an answer of so many frames is written."""
        return frames + (self.lm.streams - 1 if self.delayed else 0)

    def _allow(self, logits: Tensor, first: int, frames: int) -> Tensor:
        """Logits (B, K, n, V) of steps `first` and on, with -inf for all that must not be written there."""
        allowed = self.allowed
        if self.delayed:
            streams, steps, ids = (torch.arange(size, device=logits.device) for size in logits.shape[1:])
            frame, gap = first + steps - streams[:, None], ids == self.pad
            allowed = torch.where(((frame >= 0) & (frame < frames))[..., None], allowed, gap)
        return logits.masked_fill(~allowed, -math.inf)

    def loss(self, clean: Condition, cond: Condition) -> Loss:
        """Mean cross entropy of the clean tokens (nats per token) given the prompt and those before; no estimate.

        Part `accuracy` is the share of tokens that are the likeliest.

        Raises:
            ValueError: the clean tokens or a condition do not fit the model.
        """
        target = clean[self.target]
        if target.ndim != 3 or target.dtype != torch.int64 or target.shape[1] != self.lm.streams:
            raise ValueError(
                f"target {self.target!r} is {target.dtype} {tuple(target.shape)}: expected int64 ids (B, K, T) "
                f"with K = {self.lm.streams}, the streams of the model"
            )
        answer = self._written(target)
        prompt, positions = self._prompt(cond, answer.shape[-1])
        tokens = torch.cat([prompt, answer[..., :-1]], dim=-1)
        hidden = self.lm.hidden(tokens, positions[: tokens.shape[-1]])[:, prompt.shape[-1] - 1 :]
        logits = self._allow(self.lm.logits(hidden), 0, target.shape[-1])
        # Gaps of delayed streams can be nothing else: they cost nothing, are always right and do not count
        chosen = target.numel() if self.delayed else answer.numel()
        total = F.cross_entropy(logits.flatten(0, -2).float(), answer.flatten(), reduction="sum") / chosen
        right = 1 - (logits.argmax(-1) != answer).sum() / chosen
        return Loss(total, {"cross_entropy": total.detach(), "accuracy": right.detach()})

    def generate(
        self,
        cond: Condition,
        *,
        sampling: Sampling | None = None,
        noise: Noise | None = None,
        callback: Callable[[Any], None] | None = None,
    ) -> Tensor:
        """Write the answer, (B, K, T) int64 with T frames of the condition `frames`.

        Args:
            cond: conditions by name.
            sampling: overrides the head's own.
            noise: source of randomness, drawn once, shaped (B, K, steps); "greedy" needs none.
            callback: called with a `gense.samplers.TokenStep` once a step.

        Raises:
            ValueError: no noise for a rule that draws, impossible options, a condition that does not fit, or an input
                too long for the model's positions.
        """
        sampler, options = self._plan(sampling or self.sampling)
        frames = cond[self.frames].shape[-1]
        steps = self._steps(frames)
        prompt, positions = self._prompt(cond, steps)

        def logits(tokens: Tensor, cache: Cache | None) -> tuple[Tensor, Cache]:
            cache = cache or Cache(len(positions))
            seen = positions[cache.length : cache.length + tokens.shape[-1]]
            hidden = self.lm.hidden(tokens, seen, cache)[:, -1:]
            return self._allow(self.lm.logits(hidden), cache.length - prompt.shape[-1], frames)[:, :, 0], cache

        given = {**options, "noise": noise, "callback": callback}
        accepted = {name: value for name, value in given.items() if name in keywords(sampler)}
        return self._read_off(sampler(logits, prompt, steps, **accepted), frames)


def _count_on(ranges: list[tuple[int, int]], first: int | None, count: int) -> None:
    """Append the range of the next `count` positions, from `first` or from where the last one ends."""
    start = first if first is not None else ranges[-1][1] if ranges else 0
    ranges.append((start, start + count))


def rule_of(choice: str | Callable[..., Any]) -> tuple[Callable[..., choosing.Choose], tuple[str, ...]]:
    """What makes the rule by which tokens are chosen, and the options that it takes.

    Raises:
        ValueError: nothing of that name makes a rule.
    """
    if callable(choice):
        return lambda: choice, ()
    factories = {
        name: function
        for name, function in vars(choosing).items()
        if inspect.isfunction(function) and inspect.signature(function).return_annotation == "Choose"
    }
    if choice not in factories:
        raise ValueError(f"choose={choice!r}: expected {', '.join(sorted(factories))}, or a function")
    return factories[choice], keywords(factories[choice])
