"""What discriminators see, and the losses between them and a vocoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from gense.vocoders.discriminators import Discriminators, PeriodDiscriminator, ResolutionDiscriminator, Verdict

SMALL = {"periods": (2, 3), "period_channels": (4, 6, 8), "resolutions": (256, 128), "resolution_channels": 4}


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_published_sizes() -> None:
    """Those of the published training code: five periods, three resolutions."""
    with torch.device("meta"):
        sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in Discriminators().named_children()}
    # A weight-normalised layer has one gain per output channel beside kernel and bias
    period = sum(o * i * 5 + 2 * o for i, o in zip((1, 32, 128, 512, 1024), (32, 128, 512, 1024, 1024), strict=True))
    band = sum(32 * i * k + 64 for i, k in ((2, 27), (32, 27), (32, 27), (32, 27), (32, 9)))
    assert sizes == {"periods": 5 * (period + 1024 * 3 + 2), "resolutions": 3 * (5 * band + 32 * 9 + 2)}


@pytest.mark.parametrize("samples", [3000, 3001])
def test_a_period_discriminator_sees_each_column_alone(samples: int) -> None:
    torch.manual_seed(0)
    discriminator = PeriodDiscriminator(3, (4, 4, 4))
    wav = noise(1, samples)
    changed = wav.clone()
    changed[:, 1::3] += 1.0
    before, after = discriminator(wav).score, discriminator(changed).score
    assert before.shape[-1] == 3
    different = (before != after)[0, 0].any(dim=0)
    # Past the end the reflection puts samples of other columns, at most in the last rows
    assert different[1]
    assert torch.equal(before[0, 0, :-9, [0, 2]], after[0, 0, :-9, [0, 2]])


def test_a_resolution_discriminator_sees_neither_level_nor_offset() -> None:
    torch.manual_seed(0)
    discriminator = ResolutionDiscriminator(256, 4)
    assert sum(discriminator.sizes) == 129
    wav = noise(2, 2000)
    one, two = discriminator(wav), discriminator(7.0 * wav + 3.0)
    torch.testing.assert_close(one.score, two.score, rtol=1e-3, atol=1e-5)
    assert len(one.features) == 5 * 4 + 1
    assert not torch.allclose(one.score, discriminator(noise(2, 2000, seed=1)).score)


class Fixed(nn.Module):
    """Scores the mean of the waveform."""

    def forward(self, wav: torch.Tensor) -> Verdict:
        return Verdict(wav.mean(dim=-1), [wav, 2 * wav])


def test_hinge_and_feature_losses_by_hand() -> None:
    judges = Discriminators(**SMALL, resolution_weight=0.1)
    judges.periods = nn.ModuleList([Fixed(), Fixed()])
    judges.resolutions = nn.ModuleList([Fixed()])
    level = lambda value: torch.full((2, 10), value)  # noqa: E731
    # weights 1/2, 1/2 and 0.1; max(0, 1 - 0.5) + max(0, 1 + 0.25)
    torch.testing.assert_close(judges(level(0.5), level(0.25)), torch.tensor(1.1 * (0.5 + 1.25)))
    assert judges(level(2.0), level(-2.0)) == 0
    scores, distance = judges.against(level(0.5), level(0.25))
    torch.testing.assert_close(scores, torch.tensor(1.1 * 0.75))
    torch.testing.assert_close(distance, torch.tensor(1.1 * (0.25 + 0.5)))


def test_gradients_reach_each_side_and_only_that() -> None:
    torch.manual_seed(0)
    judges = Discriminators(**SMALL)
    real, fake = noise(2, 1024), noise(2, 1024, seed=1).requires_grad_()
    judges(real, fake.detach()).backward()
    for name, parameter in judges.named_parameters():
        assert parameter.grad is not None, name
        # While all scores lie within the hinges, what is added to both sides' scores helps neither: biases may rest
        assert parameter.grad.abs().sum() > 0 or name.endswith("bias"), name
    assert fake.grad is None
    sum(judges.against(real, fake)).backward()
    assert torch.isfinite(fake.grad).all()
    assert fake.grad.abs().sum() > 0


def test_discriminators_learn_to_tell_real_from_fake() -> None:
    torch.manual_seed(0)
    judges = Discriminators(periods=(2,), period_channels=(4, 4), resolutions=(128,), resolution_channels=4)
    optimizer = torch.optim.AdamW(judges.parameters(), lr=2e-2)
    losses = []
    for step in range(40):
        real = torch.sin(torch.arange(512) * 0.3 + noise(4, 1, seed=step))
        loss = judges(real, 0.7 * noise(4, 512, seed=1000 + step))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_nobody_to_judge_is_refused() -> None:
    with pytest.raises(ValueError, match="need one entry each at least"):
        Discriminators(periods=())


def test_squared_losses_and_their_sum_by_hand() -> None:
    judges = Discriminators(**SMALL, resolution_weight=1.0, criterion="squares", average=False)
    judges.periods = nn.ModuleList([Fixed(), Fixed()])
    judges.resolutions = nn.ModuleList([Fixed()])
    level = lambda value: torch.full((2, 10), value)  # noqa: E731
    torch.testing.assert_close(judges(level(0.5), level(0.25)), torch.tensor(3 * (0.5**2 + 0.25**2)))
    assert judges(level(1.0), level(0.0)) == 0
    scores, distance = judges.against(level(0.5), level(0.25))
    torch.testing.assert_close(scores, torch.tensor(3 * 0.75**2))
    torch.testing.assert_close(distance, torch.tensor(3 * (0.25 + 0.5)))
    with pytest.raises(ValueError, match="criterion='square': expected 'hinge' or 'squares'"):
        Discriminators(**SMALL, criterion="square")
