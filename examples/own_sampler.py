"""A sampler of your own: any function (field, x, times, *, callback=None, <options>).

    python examples/own_sampler.py
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import soundfile
from torch import Tensor

import gense
from gense.samplers.types import PathField, Step


def restart(
    field: PathField, x: Tensor, times: Tensor, *, strength: float = 0.5, callback: Callable[[Step], None] | None = None
) -> Tensor:
    """Estimate the clean data at every step and move a share of the way to it along the path's own coefficients.

    strength 1 is the deterministic walk of `gense.samplers.exponential`; less keeps more of the old state.
    """
    for t, t_next in itertools.pairwise(times):
        estimate = field.estimate(x, t)
        a, b, s = field.process.coefficients(t_next)
        target = a * estimate.data + s * estimate.noise
        if field.anchor is not None:
            target = target + b * field.anchor
        x = target if t_next == times[-1] else strength * target + (1 - strength) * x
    return x


if __name__ == "__main__":
    noisy, rate = soundfile.read(Path(__file__).with_name("noisy.wav"))
    enhancer = gense.load("flowse")
    clean = gense.enhance(noisy, enhancer, sample_rate=rate, sampler=restart, steps=4, strength=0.8)
    soundfile.write("own_sampler.wav", clean, rate)
    print(f"own_sampler.wav: {len(clean) / rate:.2f} s at {rate} Hz")
