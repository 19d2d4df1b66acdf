"""The opponents of a vocoder in training, and the losses between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

_SLOPE = 0.1


@dataclass
class Verdict:
    """What one discriminator says of a batch.

    Attributes:
        score: any shape with the batch first; large means real.
        features: activations inside, for feature matching.
    """

    score: Tensor
    features: list[Tensor]


class PeriodDiscriminator(nn.Module):
    """Looks at every `period`-th sample (Kong et al. 2020): strided convolutions along the columns of a folded wave.

    Args:
        period: samples between neighbours of a column.
        channels: of the layers; all but the last shorten the columns by three.
    """

    def __init__(self, period: int, channels: Sequence[int]):
        super().__init__()
        self.period = period
        strides = [3] * (len(channels) - 1) + [1]
        self.layers = nn.ModuleList(
            weight_norm(nn.Conv2d(before, after, (5, 1), (stride, 1), padding=(2, 0)))
            for before, after, stride in zip([1, *channels], channels, strides, strict=False)
        )
        self.last = weight_norm(nn.Conv2d(channels[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wav: Tensor) -> Verdict:
        """Judge (B, S)."""
        x = F.pad(wav[:, None], (0, -wav.shape[-1] % self.period), mode="reflect").unflatten(-1, (-1, self.period))
        return _judge(x, self.layers, self.last)


class ResolutionDiscriminator(nn.Module):
    """Looks at a complex spectrogram of one resolution, with layers of their own for its bands (Kumar et al. 2023).

    Level and mean of the waveform are taken out first.

    Args:
        n_fft: transform and Hann window in samples; the hop is a quarter.
        channels: of the layers.
        edges: borders of the bands, as shares of the bins, rising from 0 to 1.
    """

    window: Tensor

    def __init__(self, n_fft: int, channels: int, edges: Sequence[float] = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)):
        super().__init__()
        self.n_fft = n_fft
        borders = [int(edge * (n_fft // 2 + 1)) for edge in edges]
        self.sizes = [high - low for low, high in itertools.pairwise(borders)]
        shapes = [(2, (3, 9), 1), *[(channels, (3, 9), 2)] * 3, (channels, (3, 3), 1)]
        self.bands = nn.ModuleList(
            nn.ModuleList(
                weight_norm(nn.Conv2d(before, channels, kernel, (1, stride), padding=(1, kernel[1] // 2)))
                for before, kernel, stride in shapes
            )
            for _ in self.sizes
        )
        self.last = weight_norm(nn.Conv2d(channels, 1, (3, 3), padding=(1, 1)))
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    def forward(self, wav: Tensor) -> Verdict:
        """Judge (B, S)."""
        wav = wav - wav.mean(dim=-1, keepdim=True)
        wav = 0.8 * wav / (wav.abs().amax(dim=-1, keepdim=True) + 1e-9)
        c = torch.stft(wav.float(), self.n_fft, self.n_fft // 4, window=self.window, return_complex=True)
        x = torch.view_as_real(c).permute(0, 3, 2, 1)  # (B, 2, T, bins)
        ends, features = [], []
        for band, layers in zip(x.split(self.sizes, dim=-1), self.bands, strict=True):
            assert isinstance(layers, nn.ModuleList)
            inner = list(_activations(band, layers))
            ends.append(inner[-1])
            features += inner[1:]
        score = self.last(torch.cat(ends, dim=-1))
        return Verdict(score, [*features, score])


def _activations(x: Tensor, layers: nn.ModuleList) -> Iterator[Tensor]:
    for layer in layers:
        x = F.leaky_relu(layer(x), _SLOPE)
        yield x


def _judge(x: Tensor, layers: nn.ModuleList, last: nn.Module) -> Verdict:
    inner = list(_activations(x, layers))
    score = last(inner[-1])
    # What the first layer gives is close to the waveform itself and not compared
    return Verdict(score, [*inner[1:], score])


class Discriminators(nn.Module):
    """Discriminators of several periods and of several resolutions, with the weight of each kind in the losses.

    The defaults are those with which Vocos was trained (Siuzdak 2023), 43 million parameters.

    Args:
        periods: samples; primes overlap least.
        period_channels: of the layers of each period discriminator.
        resolutions: transform lengths, samples.
        resolution_channels: of the layers of each resolution discriminator.
        resolution_weight: weight of the resolutions in the losses, where the periods have 1.
        criterion: "hinge": real scores are to exceed 1, the vocoder's to lie under -1; "squares": to be 1 and 0, by
            their squared distance (Mao et al. 2017).
        average: whether the losses of the discriminators of a kind are averaged; otherwise they are summed.

    Raises:
        ValueError: a list is empty, or another criterion.
    """

    def __init__(
        self,
        *,
        periods: Sequence[int] = (2, 3, 5, 7, 11),
        period_channels: Sequence[int] = (32, 128, 512, 1024, 1024),
        resolutions: Sequence[int] = (2048, 1024, 512),
        resolution_channels: int = 32,
        resolution_weight: float = 0.1,
        criterion: Literal["hinge", "squares"] = "hinge",
        average: bool = True,
    ):
        super().__init__()
        if criterion not in ("hinge", "squares"):
            raise ValueError(f"criterion={criterion!r}: expected 'hinge' or 'squares'")
        if not (periods and period_channels and resolutions):
            raise ValueError("periods, period_channels and resolutions need one entry each at least")
        self.periods = nn.ModuleList(PeriodDiscriminator(period, period_channels) for period in periods)
        self.resolutions = nn.ModuleList(ResolutionDiscriminator(n, resolution_channels) for n in resolutions)
        self.resolution_weight, self.criterion, self.average = resolution_weight, criterion, average

    def judge(self, wav: Tensor) -> list[tuple[float, Verdict]]:
        """Judge (B, S): (weight, verdict) of every discriminator, of averaged losses its share in the kind's weight."""
        return [
            (weight / len(kind) if self.average else weight, discriminator(wav))
            for weight, kind in ((1.0, self.periods), (self.resolution_weight, self.resolutions))
            for discriminator in kind
        ]

    def forward(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the discriminators, a scalar.

        Args:
            real: (B, S).
            fake: (B, S), without gradient.
        """
        return sum(
            (
                weight * (self._as_real(ours.score) + self._as_fake(theirs.score))
                for (weight, ours), (_, theirs) in zip(self.judge(real), self.judge(fake), strict=True)
            ),
            real.new_zeros(()),
        )

    def against(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """Losses of the vocoder, two scalars: of its scores, and the distance of features from the real ones.

        Args:
            real: (B, S).
            fake: (B, S), with gradient.
        """
        with torch.no_grad():
            goals = self.judge(real)
        scores, distance = real.new_zeros(()), real.new_zeros(())
        for (weight, goal), (_, verdict) in zip(goals, self.judge(fake), strict=True):
            scores = scores + weight * self._as_real(verdict.score)
            pairs = zip(goal.features, verdict.features, strict=True)
            distance = distance + weight * sum(
                ((theirs - ours).abs().mean() for ours, theirs in pairs), real.new_zeros(())
            )
        return scores, distance

    def _as_real(self, score: Tensor) -> Tensor:
        """How far scores are from those that real speech is to have."""
        return F.relu(1 - score).mean() if self.criterion == "hinge" else (1 - score).square().mean()

    def _as_fake(self, score: Tensor) -> Tensor:
        """How far scores are from those that a vocoder is to have."""
        return F.relu(1 + score).mean() if self.criterion == "hinge" else score.square().mean()
