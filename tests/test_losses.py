"""Training losses on waveforms: what they measure, and that their gradients are sane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gense.losses import (
    IntelligibilityLoss,
    MultiScaleMelLoss,
    PerceptualLoss,
    QualityLoss,
    SISDRLoss,
    SpectralLoss,
    WaveformLoss,
    WaveLoss,
)
from gense.losses.quality import QualityNetwork, read_weights
from gense.metrics import estoi, pesq, si_sdr
from gense.metrics.dnsmos import load_session
from gense.metrics.dnsmos import windows as dnsmos_windows
from gense.representations.melbank import mel_filterbank

LOSSES: list[WaveLoss] = [
    SpectralLoss(), WaveformLoss(), SISDRLoss(), PerceptualLoss(), QualityLoss(), IntelligibilityLoss(),
    MultiScaleMelLoss(),
]  # fmt: skip


@pytest.fixture(scope="module")
def pair(clip) -> tuple[torch.Tensor, torch.Tensor]:
    """(noisy, clean), (2, S) each: 2 s of the demo clip, and the same in reverse order of time."""
    noisy, clean = (torch.from_numpy(wav[16000:48000].copy()) for wav in (clip.noisy, clip.clean))
    return torch.stack([noisy, noisy.flip(0)]), torch.stack([clean, clean.flip(0)])


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_worse_estimate_costs_more_and_the_truth_costs_least(loss, pair) -> None:
    noisy, clean = pair
    costs = [float(loss(clean + share * (noisy - clean), clean)) for share in (0.0, 0.1, 0.3, 1.0)]
    assert costs == sorted(costs)
    assert costs[0] <= costs[1] < costs[3]  # the quality network does not mind a trace of noise


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_gradients_are_finite_even_at_the_truth_and_at_silence(loss, pair) -> None:
    noisy, clean = pair
    for estimate, target in ((noisy, clean), (clean, clean), (0 * noisy, clean), (noisy, 0 * clean)):
        estimate = estimate.clone().requires_grad_()
        loss(estimate, target).backward()
        assert torch.isfinite(estimate.grad).all()


@pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)
def test_a_step_along_the_gradient_lowers_the_loss(loss, pair) -> None:
    noisy, clean = pair
    estimate = noisy.clone().requires_grad_()
    before = loss(estimate, clean)
    before.backward()
    step = 1e-3 * noisy.norm() / estimate.grad.norm()
    assert loss((estimate - step * estimate.grad).detach(), clean) < before


def test_si_sdr_is_the_metric_with_its_sign_changed_up_to_the_ceiling(pair) -> None:
    noisy, clean = pair
    expected = np.mean([si_sdr(e.numpy(), c.numpy()) for e, c in zip(noisy, clean, strict=True)])
    assert float(SISDRLoss()(noisy, clean)) == pytest.approx(-expected, abs=0.05)
    assert float(SISDRLoss(ceiling=20.0)(clean, clean)) == pytest.approx(-20.0, abs=0.01)


def test_the_quality_network_scores_as_dnsmos_does(clip) -> None:
    network = QualityNetwork(read_weights())
    for wav in (clip.clean, clip.noisy):
        window = dnsmos_windows(wav)[0]
        expected = load_session().run(None, {"input_1": window[None]})[0]
        np.testing.assert_allclose(network(torch.from_numpy(window)[None]).numpy(), expected, atol=2e-4)


def test_scores_beyond_those_of_the_target_earn_nothing(pair) -> None:
    noisy, clean = pair
    assert float(QualityLoss()(clean, noisy)) < 0.5 * float(QualityLoss()(noisy, clean))
    assert float(QualityLoss(items=1)(clean, clean)) == 0.0


def test_pauses_do_not_count(pair) -> None:
    noisy, clean = pair
    silenced = torch.stack([clean[0], 0 * clean[1]])
    for loss in (SISDRLoss(), PerceptualLoss(), QualityLoss(), IntelligibilityLoss()):
        torch.testing.assert_close(loss(noisy, silenced), loss(noisy[:1], clean[:1]))


def mapped(raw: float) -> float:
    """MOS-LQO of a raw score (ITU-T P.862.2)."""
    return 0.999 + 4.0 / (1.0 + math.exp(-1.3669 * raw + 3.8224))


def test_the_perceptual_model_agrees_with_pesq(clip) -> None:
    """Against the standard's own code at several noise levels; it has no time alignment, so it is near, not equal."""
    loss, clean = PerceptualLoss(), clip.clean
    for share in (1.0, 0.3, 0.1, 0.03):
        wav = clean + share * (clip.noisy - clean)
        raw = 4.5 - float(loss(torch.from_numpy(wav)[None], torch.from_numpy(clean.copy())[None]))
        assert mapped(raw) == pytest.approx(pesq(wav, clean, clip.sample_rate), abs=0.25), share


@pytest.mark.parametrize(
    ("ours", "theirs", "correlation", "apart"),
    [
        (lambda wav, clean: mapped(4.5 - float(PerceptualLoss()(wav, clean))), pesq, 0.98, 0.1),
        (lambda wav, clean: 1 - float(IntelligibilityLoss()(wav, clean)), estoi, 0.995, 0.02),
    ],
    ids=["pesq", "estoi"],
)
def test_losses_agree_with_their_metrics_on_real_speech(ours, theirs, correlation, apart, data_dir) -> None:
    from gense.data import Pairs

    left, right = [], []
    for clean, noisy in Pairs(str(data_dir / "val_pairs"), 16000, limit=8):
        for share in (1.0, 0.2):
            wav = clean + share * (noisy - clean)
            left.append(ours(wav[None], clean[None]))
            right.append(theirs(wav.numpy(), clean.numpy(), 16000))
    assert np.corrcoef(left, right)[0, 1] > correlation
    assert np.mean(np.abs(np.subtract(left, right))) < apart


def test_the_perceptual_model_knows_one_rate() -> None:
    with pytest.raises(ValueError, match="defined at 16000 Hz only"):
        PerceptualLoss(sample_rate=48000)


def test_the_index_of_intelligibility_agrees_with_estoi(clip) -> None:
    """The metric drops silent frames from the waveform and works at 10 kHz, so that they are near, not equal."""
    loss, clean = IntelligibilityLoss(), clip.clean
    for share in (1.0, 0.3, 0.1, 0.03):
        wav = clean + share * (clip.noisy - clean)
        index, enough = loss.index(torch.from_numpy(wav)[None], torch.from_numpy(clean.copy())[None])
        assert enough.all()
        assert float(index) == pytest.approx(estoi(wav, clean, clip.sample_rate), abs=0.03), share


def test_intelligibility_is_not_rounded_under_autocast(pair) -> None:
    noisy, clean = pair
    with torch.autocast("cpu", torch.bfloat16):
        inside = IntelligibilityLoss()(noisy, clean)
    assert float(inside) == float(IntelligibilityLoss()(noisy, clean))


def test_speech_too_short_for_intelligibility_gives_no_gradient(pair) -> None:
    noisy, clean = pair
    short = torch.nn.functional.pad(clean[:1, :4000], (0, 12000))
    estimate = noisy[:1, :16000].clone().requires_grad_()
    cost = IntelligibilityLoss()(estimate, short)
    cost.backward()
    assert float(cost) == 0.0
    assert not estimate.grad.any()
    with pytest.raises(ValueError, match="410 samples or more"):
        IntelligibilityLoss()(noisy[:, :100], clean[:, :100])
    with pytest.raises(ValueError, match="need at least 10000 Hz"):
        IntelligibilityLoss(sample_rate=8000)


def test_mel_distances_are_in_decades_and_sum_over_resolutions() -> None:
    """Ten times the amplitude is one decade in every band of every resolution that lies above the floor."""
    wav = torch.randn(1, 16000, generator=torch.Generator().manual_seed(0))
    loss = MultiScaleMelLoss(windows=(512, 1024), bands=(40, 80))
    torch.testing.assert_close(loss(10 * wav, wav), torch.tensor(2.0))
    torch.testing.assert_close(loss(1e-9 * wav, 0 * wav), torch.tensor(0.0))
    assert not loss.state_dict()
    published = MultiScaleMelLoss()
    shapes = {tuple(published.get_buffer(f"filters_{n}").shape) for n in published.windows}
    assert shapes == {(5 * 2**k, 2 ** (k + 4) + 1) for k in range(7)}
    with pytest.raises(ValueError, match="need one number of bands a window"):
        MultiScaleMelLoss(windows=(512,))


def test_a_mel_distance_at_one_resolution_by_hand() -> None:
    one, other = torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0)) * torch.tensor([[[1.0]], [[0.2]]])
    made = []
    for wav in (one, other):
        c = torch.stft(wav, 256, 64, window=torch.hann_window(256), return_complex=True)
        filters = mel_filterbank(129, 16000, 20, scale="slaney", norm="slaney")
        made.append(torch.einsum("bf,nft->nbt", filters, c.abs()).clamp(min=1e-5).log10())
    expected = (made[0] - made[1]).abs().mean()
    torch.testing.assert_close(MultiScaleMelLoss(windows=(256,), bands=(20,))(one, other), expected)
