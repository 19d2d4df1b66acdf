"""Small models for tests."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gense import Enhancer, Sampling
from gense.audio import Level
from gense.backbones import Backbone, UNet
from gense.chunking import Chunking
from gense.heads import Head, PathHead
from gense.processes import NoisyFlow, OrnsteinUhlenbeck
from gense.representations import CompressedSTFT


class Passthrough(Head):
    """Generates the noisy input itself: the identity through every stage around a head."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.target, self.sampling = ("noisy_stft",), "stft", None

    def generate(self, cond, *, sampling=None, noise=None, callback=None) -> Tensor:
        return cond["noisy_stft"]


class Oracle(Backbone):
    """Answers with a fixed tensor and remembers what it was asked."""

    def __init__(self, answer: Tensor):
        super().__init__()
        self.answer, self.asked = answer, []

    def forward(self, x, t, cond):
        self.asked.append((x, t, dict(cond)))
        return self.answer


def draws(count: int, *shape: int) -> Tensor:
    """Complex unit noise (count, *shape), always the same."""
    return torch.randn(count, *shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(3))


class Pointwise(Backbone):
    """A 1x1 network whose output at a frame depends on that frame alone, and on time."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(5, 2)

    def forward(self, x: Tensor, t: Tensor | None, cond: dict[str, Tensor]) -> Tensor:
        (noisy,) = cond.values()
        time = torch.ones_like(x.real) * t[:, None, None, None]
        out = self.mix(torch.stack([x.real, x.imag, noisy.real, noisy.imag, time], dim=-1))
        return torch.view_as_complex(out.contiguous())


def passthrough(chunking: Chunking | None = None, level: str = "peak") -> Enhancer:
    """An enhancer that changes nothing."""
    stft = CompressedSTFT(frames_multiple=1)
    return Enhancer({"stft": stft}, Passthrough(), sample_rate=16000, level=Level(level), chunking=chunking).eval()


def pointwise(chunking: Chunking | None = None) -> Enhancer:
    """A stochastic enhancer without context: what chunking must not change."""
    torch.manual_seed(0)
    head = PathHead(
        Pointwise(), OrnsteinUhlenbeck(), target="stft", predicts="data", anchor="noisy_stft",
        condition=["noisy_stft"], sampling=Sampling("euler_maruyama", steps=3),
    )
    stft = CompressedSTFT(frames_multiple=1)
    return Enhancer({"stft": stft}, head, sample_rate=16000, chunking=chunking).eval()


def tiny_flow(seed: int = 0, **settings) -> Enhancer:
    """A very small U-Net on the flow from noisy to clean, random weights."""
    torch.manual_seed(seed)
    head = PathHead(
        UNet(channels=(8, 16), blocks=1, time_dim=16), NoisyFlow(), target="stft", predicts="data",
        anchor="noisy_stft", condition=["noisy_stft"], sampling=Sampling("euler", steps=2), **settings,
    )
    for parameter in head.parameters():  # the output layer starts at zero; tests want it to do something
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    stft = CompressedSTFT(frames_multiple=4, pad_mode="reflect")
    return Enhancer({"stft": stft}, head, sample_rate=16000, level=Level("rms"), chunking=Chunking(2.0, 0.5, 2)).eval()
