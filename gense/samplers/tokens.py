"""Samplers of tokens: one after another from a causal network, or many at once from one that fills gaps.

Tokens are int64, (B, *K, T), time last: (B, T) for one stream, (B, K, T) for K parallel ones. Scores are logits, with
the vocabulary last; -inf forbids. Random numbers come from a `Noise`, one for each token, drawn for its item and its
place in time before anything else is computed: with `per_item` or `by_frame` a result depends neither on the
neighbours in the batch nor on how long the others go on. Grad mode is the caller's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .schedules import intervals
from .types import Noise

Choose = Callable[[Tensor, "Tensor | None"], Tensor]
"""(logits (..., V), numbers uniform in (0, 1) (...) or None) -> ids (...). See `greedy` and `multinomial`."""

Logits = Callable[[Tensor, Any], "tuple[Tensor, Any]"]
"""(tokens not yet seen (B, *K, n), memory) -> (logits of the token after them (B, *K, V), memory for the next call).

The first call gets the prefix and None, each later one a single token (n = 1) and what the call before it returned.
"""


@dataclass(frozen=True)
class TokenStep:
    """One step of a token sampler, as its callback sees it.

    Attributes:
        index: 0 for the first step.
        tokens: `autoregressive`: the tokens of this step, (B, *K); `maskgit`: all of them after it, (B, *K, T).
        logits: what they were chosen by, (B, *K, V) or (B, *K, T, V).
    """

    index: int
    tokens: Tensor
    logits: Tensor


TokenCallback = Callable[[TokenStep], None]
"""Called after each step to observe it; it must leave the tensors as they are."""


def greedy() -> Choose:
    """Return a rule that takes the token of the largest logit, the first of equals; it uses no randomness."""
    return lambda logits, uniform: logits.argmax(-1)


def multinomial(*, temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0) -> Choose:
    """Return a rule that draws from softmax(logits / temperature), cut to its likely tokens.

    The cuts act in the order of the arguments and keep the ratios of what they leave. A token is drawn by inverting
    the cumulative distribution in the order of the ids, so one uniform number decides it.

    Args:
        temperature: > 0; below 1 prefers likely tokens, above 1 evens them out.
        top_k: number of most likely tokens that stay (Fan et al. 2018), >= 1; None keeps all.
        top_p: probability that the most likely tokens that stay must reach (nucleus, Holtzman et al. 2020), in (0, 1].

    Raises:
        ValueError: a value is out of its range; when drawing: there are no random numbers.
    """
    whole = top_k is None or (isinstance(top_k, int) and top_k >= 1)
    if not (0 < temperature < math.inf and 0 < top_p <= 1 and whole):
        raise ValueError(
            f"temperature={temperature}, top_k={top_k}, top_p={top_p}: "
            "need temperature > 0, a whole top_k >= 1 or None, 0 < top_p <= 1; the likeliest token is choose=greedy()"
        )

    def choose(logits: Tensor, uniform: Tensor | None) -> Tensor:
        if uniform is None:
            raise ValueError("multinomial draws: pass noise=, for example per_item(seeds), or choose=greedy()")
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32)) / temperature
        if top_k is not None and top_k < scores.shape[-1]:
            values, ids = scores.topk(top_k)
            scores = torch.full_like(scores, -math.inf).scatter(-1, ids, values)
        if top_p < 1:
            values, ids = scores.sort(dim=-1, descending=True, stable=True)
            share = values.softmax(-1)
            beyond = share.cumsum(-1) - share >= top_p
            scores = scores.scatter(-1, ids, values.masked_fill(beyond, -math.inf))
        reached = scores.softmax(-1).cumsum(-1)
        # Above 0 and at most the total: the first place where the sum reaches it has a probability > 0
        goal = (uniform.to(reached) * reached[..., -1]).clamp(min=torch.finfo(reached.dtype).tiny)
        return torch.searchsorted(reached, goal[..., None]).squeeze(-1)

    return choose


def autoregressive(
    logits: Logits,
    prefix: Tensor,
    steps: int,
    *,
    noise: Noise | None = None,
    choose: Choose = multinomial(),  # noqa: B008 - a function without state
    stop: int | None = None,
    callback: TokenCallback | None = None,
) -> Tensor:
    """Choose token after token, each by what the network makes of all before it; one call per step.

    Args:
        logits: the network, with its memory of what it has seen; see `Logits`.
        prefix: what comes first, (B, *K, L) int64, L >= 1.
        steps: tokens to choose for each stream, >= 1.
        noise: source of randomness, drawn once, shaped (B, *K, steps); a rule without randomness needs none.
        choose: how a token is taken from its logits.
        stop: token with which an item ends, in all its streams at once; the item is then filled up with it. None lets
            every item run for `steps`.
        callback: called with each `TokenStep`.

    Returns:
        The chosen tokens, (B, *K, n) int64 with n = steps, or less where every item has stopped by then.

    Raises:
        ValueError: no tokens to begin with, fewer than one step, or the rule draws and there is no noise.
        TypeError: the prefix is not int64.
    """
    if prefix.dtype != torch.int64:
        raise TypeError(f"prefix is {prefix.dtype}: expected int64 token ids")
    if prefix.ndim < 2 or not prefix.numel() or steps < 1:
        raise ValueError(
            f"prefix {tuple(prefix.shape)}, steps={steps}: need (B, *K, L) with at least one token, and at least 1 step"
        )
    uniform = _uniform(noise, (*prefix.shape[:-1], steps), prefix.device)
    stopped = torch.zeros(len(prefix), dtype=torch.bool, device=prefix.device)
    unseen, memory, chosen = prefix, None, []
    for index in range(steps):
        scores, memory = logits(unseen, memory)
        token = choose(scores, None if uniform is None else uniform[..., index])
        if stop is not None:
            token = token.masked_fill(stopped.reshape(-1, *[1] * (token.ndim - 1)), stop)
            stopped = (token == stop).reshape(len(token), -1).all(1)
        chosen.append(token)
        if callback is not None:
            callback(TokenStep(index, token, scores))
        if stop is not None and bool(stopped.all()):
            break
        unseen = token[..., None]
    return torch.stack(chosen, dim=-1)


def maskgit(
    predict: Callable[[Tensor], Tensor],
    tokens: Tensor,
    shares: Tensor,
    *,
    mask: int,
    noise: Noise | None = None,
    choose: Choose = multinomial(),  # noqa: B008 - a function without state
    randomness: float = 1.0,
    callback: TokenCallback | None = None,
) -> Tensor:
    """Fill gaps in parallel, the surest tokens first (MaskGIT, Chang et al. 2022, section 3.2); one call per step.

    Each step chooses a token for every gap at once, keeps those of the highest confidence, the log probability of the
    chosen token, and leaves the others as gaps. What was there before or was kept is never changed.

    Args:
        predict: the network, tokens with gaps (B, *K, T) -> logits (B, *K, T, V).
        tokens: (B, *K, T) int64 with `mask` in the gaps; any positions of any stream may be known.
        shares: share of an item's gaps that is left after 0, 1, ... steps, falling from 1 to 0, (steps + 1,); rounded
            down to whole gaps. The published cosine is `schedules.sway(steps)`.
        mask: id that stands for a gap.
        noise: source of randomness, drawn twice a step, shaped like the tokens; without randomness none is needed.
        choose: how a token is taken from its logits.
        randomness: scale of the Gumbel noise on the confidence, >= 0; it falls linearly to 0 in the last step. Without
            `noise` there is none.
        callback: called with each `TokenStep`.

    Returns:
        The tokens without gaps, (B, *K, T) int64.

    Raises:
        ValueError: shares do not fall from 1 to 0, randomness < 0, or the rule draws and there is no noise.
        TypeError: the tokens are not int64.
    """
    if tokens.dtype != torch.int64:
        raise TypeError(f"tokens are {tokens.dtype}: expected int64 ids, with mask={mask} in the gaps")
    steps = list(intervals(shares))
    if float(shares[0]) != 1 or float(shares[-1]) != 0 or not randomness >= 0:
        raise ValueError(
            f"shares from {float(shares[0])} to {float(shares[-1])}, randomness={randomness}: need 1 to 0, and >= 0"
        )
    gap = tokens == mask
    total = gap.reshape(len(tokens), -1).sum(1)
    for index, _, share, _ in steps:
        scores = predict(tokens)
        ids = choose(scores, _uniform(noise, tokens.shape, tokens.device))
        sure = scores.log_softmax(-1).gather(-1, ids[..., None]).squeeze(-1)
        other = _uniform(noise, tokens.shape, tokens.device)
        if other is not None:
            sure = sure - randomness * (1 - (index + 1) / len(steps)) * (-other.to(sure).log()).log()
        left = (total.double() * float(share) + 1e-9).floor()  # 5 gaps times 0.6, rounded, may be less than 3
        kept = gap.reshape(len(tokens), -1).sum(1) - left
        ranked = sure.masked_fill(~gap, -math.inf).reshape(len(tokens), -1).argsort(dim=1, descending=True, stable=True)
        rank = ranked.argsort(1).reshape(tokens.shape)
        filled = gap & (rank < kept.reshape(-1, *[1] * (tokens.ndim - 1)))
        tokens, gap = torch.where(filled, ids, tokens), gap & ~filled
        if callback is not None:
            callback(TokenStep(index, tokens, scores))
    return tokens


def _uniform(noise: Noise | None, shape: Sequence[int], device: torch.device) -> Tensor | None:
    """Numbers uniform in (0, 1) from Gaussian ones, through their distribution function; None without noise."""
    if noise is None:
        return None
    like = torch.zeros(tuple(shape), dtype=torch.float64)  # in single precision some would come out as 0 or 1
    small = torch.finfo(torch.float32)
    return torch.special.ndtr(noise(like)).clamp(small.tiny, 1 - small.eps).to(device, torch.float32)
