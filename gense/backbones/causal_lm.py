"""Decoder of tokens: a transformer in which each position sees those before it, with a memory for generating."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense.backbones.layers.transformer import FeedForward, merge_heads, split_heads


class Cache:
    """Keys and values of the tokens that a network has seen, in memory set aside at the first of them.

    It is filled in place: use one cache for one generation, without gradients.

    Args:
        capacity: most tokens that it will hold.
    """

    def __init__(self, capacity: int):
        self.capacity, self.length = capacity, 0
        self.layers: list[tuple[Tensor, Tensor]] = []

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store what a layer made of the new tokens, (B, H, N, D), and return that of all, (B, H, length + N, D).

        Raises:
            ValueError: there is no room for them.
        """
        stop = self.length + key.shape[2]
        if stop > self.capacity:
            raise ValueError(f"{stop} tokens for a cache with room for {self.capacity}")
        if layer == len(self.layers):
            room = (*key.shape[:2], self.capacity, key.shape[3])
            self.layers.append((key.new_empty(room), value.new_empty(room)))
        for stored, new in zip(self.layers[layer], (key, value), strict=True):
            stored[:, :, self.length : stop] = new
        keys, values = self.layers[layer]
        return keys[:, :, :stop], values[:, :, :stop]


class CausalBlock(nn.Module):
    """Attention to the past and a feed-forward network, each behind a layer norm.

    Args:
        dim: channels.
        heads: attention heads, each of dim / heads channels.
        ff_mult: width of the feed-forward network in units of `dim`.
        dropout: on attention weights and on what is added, in training.
    """

    def __init__(self, dim: int, *, heads: int, ff_mult: int, dropout: float):
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.feed_forward = FeedForward(dim, mult=ff_mult, dropout=0.0)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        """Return a tensor shaped like x, (B, N, dim); the cache gets the new keys and values of this layer."""
        query, key, value = split_heads(self.qkv(self.attention_norm(x)), self.heads)
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        new, all_seen = query.shape[2], key.shape[2]
        mask = None
        if 1 < new < all_seen:  # a single new token sees everything, and tokens without a past have their own switch
            mask = torch.ones(new, all_seen, dtype=torch.bool, device=x.device).tril(all_seen - new)
        seen = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=new == all_seen,
            dropout_p=self.dropout.p if self.training else 0.0,
        )  # fmt: skip
        x = x + self.dropout(self.out(merge_heads(seen)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))


class CausalLM(nn.Module):
    """Language model over tokens in the shape of GPT-2 (Radford et al. 2019), for one or several streams.

    Positions are learned and given by the caller, so that a sequence may be made of parts that each count anew. The
    embeddings of the streams of one frame are added; the same matrix turns states into logits. It is no `Backbone`
    called with (x, t, cond): a token has no time of its own, and a memory goes with it.

    Args:
        vocabulary: ids of each stream, special ones among them.
        dim: channels.
        depth: number of blocks.
        heads: attention heads, a divisor of `dim`.
        positions: size of the table of positions, hence one more than the largest position.
        streams: ids per frame, K.
        ff_mult: width of the feed-forward networks in units of `dim`.
        dropout: on embeddings, attention weights and what blocks add, in training.

    Raises:
        ValueError: dim is no multiple of heads.
    """

    def __init__(
        self,
        *,
        vocabulary: int,
        dim: int = 1024,
        depth: int = 12,
        heads: int = 8,
        positions: int = 2048,
        streams: int = 1,
        ff_mult: int = 4,
        dropout: float = 0.1,
    ):
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim={dim}, heads={heads}: each head gets the same number of channels")
        self.vocabulary, self.streams, self.positions = vocabulary, streams, positions
        self.token_embedding = nn.Embedding(streams * vocabulary, dim)
        self.position_embedding = nn.Embedding(positions, dim)
        self.blocks = nn.ModuleList(
            CausalBlock(dim, heads=heads, ff_mult=ff_mult, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)
        self._initialise()

    def _initialise(self) -> None:
        """N(0, 0.02^2), smaller for what blocks add, by the root of how often that happens; no biases."""
        for name, parameter in self.named_parameters():
            if "norm" in name:
                continue
            if parameter.ndim < 2:
                nn.init.zeros_(parameter)
                continue
            added = name.endswith(("out.weight", "project.weight"))
            nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * len(self.blocks)) if added else 0.02)

    def hidden(self, tokens: Tensor, positions: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Read tokens and return the states after them, (B, N, dim).

        Args:
            tokens: ids, (B, K, N) int64 in [0, vocabulary).
            positions: of these tokens, (N,) or (B, N) int64; None counts on from the number of tokens in the cache.
            cache: of the tokens before; these ones are added to it. None if there are none and none will follow.
        """
        first = cache.length if cache is not None else 0
        if positions is None:
            positions = torch.arange(first, first + tokens.shape[-1], device=tokens.device)
        if self.streams > 1:
            tokens = tokens + self.vocabulary * torch.arange(self.streams, device=tokens.device)[:, None]
        embedded = self.token_embedding(tokens).sum(1) if self.streams > 1 else self.token_embedding(tokens[:, 0])
        x = self.dropout(embedded + self.position_embedding(positions))
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += tokens.shape[-1]
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """Turn states (B, N, dim) into logits of the next ids, (B, K, N, vocabulary)."""
        flat = F.linear(hidden, self.token_embedding.weight)
        return flat.unflatten(-1, (self.streams, self.vocabulary)).transpose(1, 2)

    def forward(self, tokens: Tensor, positions: Tensor | None = None, cache: Cache | None = None) -> Tensor:
        """Return the logits after each token, (B, K, N, vocabulary); arguments as in `hidden`."""
        return self.logits(self.hidden(tokens, positions, cache))
