"""Settings tried without their networks, to find out in no time what would be refused after hours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gense.backbones.base import Backbone
from gense.enhancer import Enhancer
from gense.sweeps.cost import places
from gense.types import Condition, Sampling

_SECONDS = 0.25


def rehearse(enhancer: Enhancer, sampling: Sampling) -> None:
    """Sample a moment of noise with networks that answer zero.

    That shows what no signature tells: samplers that need more than a method's path has, grids that begin where a
    velocity or score is not defined.

    Raises:
        ValueError: the sampler's or schedule's reason. Other errors may be due to the zeros and are left for the real
            run to show.
    """
    wav = torch.randn(1, round(_SECONDS * enhancer.sample_rate), generator=torch.Generator().manual_seed(0))
    with _silent(enhancer):
        try:
            enhancer.enhance(0.1 * wav, sampling=sampling)
        except ValueError:
            raise
        except Exception:
            return


class _Zeros(Backbone):
    """Answers zeros shaped like the state."""

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        return torch.zeros_like(x)


@contextmanager
def _silent(enhancer: Enhancer) -> Iterator[None]:
    """Put something that answers zeros in the place of each network."""
    found = list(places(enhancer))
    for holder, name, _ in found:
        setattr(holder, name, _Zeros())
    try:
        yield
    finally:
        for holder, name, network in found:
            setattr(holder, name, network)
