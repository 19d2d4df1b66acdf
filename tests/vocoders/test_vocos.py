"""Vocos: published values of its parts and of whole models, the inverse transform, lengths, gradients, refusals.

The waveforms agree with the recordings of the published code to 1e-7 at a standard deviation of 0.06.
"""

from __future__ import annotations

import pytest
import torch

from gense.representations import LogMel, MelSettings
from gense.vocoders import Vocos
from gense.vocoders.vocos import overlap_add
from tests.parity.fixtures import load_parity
from tests.vocoders.published import build

WAVE = {"rtol": 0.0, "atol": 2e-5}


def tiny(**settings) -> Vocos:
    torch.manual_seed(0)
    settings = {"dim": 16, "hidden": 24, "blocks": 2, **settings}
    return Vocos(**settings).eval()


@pytest.fixture(scope="module")
def full():
    return build(load_parity("vocos_mel_24k"))


def test_the_published_model(full) -> None:
    fixed = load_parity("vocos_mel_24k")
    assert sum(p.numel() for p in full.parameters()) == fixed.config["parameters"]
    assert sum(p.numel() for p in Vocos().parameters()) == fixed.config["parameters"]  # the defaults are its sizes
    fixed = fixed.tensors
    with torch.inference_mode():
        inner = full.backbone(fixed["mel"])[..., ::8]
        torch.testing.assert_close(inner, fixed["backbone"].transpose(1, 2), rtol=0, atol=5e-5)
        for given, name in (("mel", "decode"), ("mel_batch", "decode_batch")):
            torch.testing.assert_close(full(fixed[given], fixed[name].shape[-1]), fixed[name], **WAVE)
        again = full(LogMel(full.mel).encode(fixed["wav"]), fixed["copy_synthesis"].shape[-1])
        torch.testing.assert_close(again, fixed["copy_synthesis"], **WAVE)


def test_the_published_model_with_same_padding() -> None:
    fixture = load_parity("vocos_small_same_padding")
    vocoder, fixed = build(fixture), fixture.tensors
    assert sum(p.numel() for p in vocoder.parameters()) == fixture.config["parameters"]
    assert vocoder.mel.padding == "same"
    with torch.inference_mode():
        torch.testing.assert_close(vocoder.backbone(fixed["mel"]).transpose(1, 2), fixed["backbone"], rtol=0, atol=2e-5)
        for given, name in (("mel", "decode"), ("mel_batch", "decode_batch")):
            assert fixed[name].shape[-1] == 256 * fixed[given].shape[-1]
            torch.testing.assert_close(vocoder(fixed[given], fixed[name].shape[-1]), fixed[name], **WAVE)
        again = vocoder(LogMel(vocoder.mel).encode(fixed["wav"]), fixed["copy_synthesis"].shape[-1])
        torch.testing.assert_close(again, fixed["copy_synthesis"], **WAVE)


def test_published_block_and_loud_head() -> None:
    """A tenth of the magnitudes is cut off at 100."""
    fixture = load_parity("vocos_head")
    vocoder, fixed = build(fixture), fixture.tensors
    with torch.inference_mode():
        for given, name in (("block_in", "block"), ("block_in_tiny", "block_tiny")):
            torch.testing.assert_close(vocoder.blocks[0](fixed[given]), fixed[name], **WAVE)
        torch.testing.assert_close(vocoder.out(fixed["h"])[:, ::4], fixed["head_out"], **WAVE)
        c = vocoder.spectrum(fixed["h"].transpose(1, 2))
        assert int((c.abs() > 99.999).sum()) == int(fixed["clipped_bins"])
        loud = overlap_add(c, vocoder.istft_window, 256, 512, fixed["head_loud"].shape[-1])
        torch.testing.assert_close(loud, fixed["head_loud"], **WAVE)


@pytest.mark.parametrize("hop", [160, 256, 300])
def test_the_inverse_transform_inverts_the_transform(hop: int) -> None:
    """Also where the hop is no divisor of the window, and beyond the middle of the last frame."""
    window = torch.hann_window(640)
    wav = torch.randn(2, 10 * hop + 640, generator=torch.Generator().manual_seed(0))
    c = torch.stft(wav, 640, hop, window=window, center=False, return_complex=True)
    covered = 640 + (c.shape[-1] - 1) * hop
    inside = overlap_add(c, window, hop, 100, covered - 200)
    torch.testing.assert_close(inside, wav[:, 100 : covered - 100], rtol=0, atol=1e-4)
    centred = torch.istft(c, 640, hop, window=window)
    torch.testing.assert_close(overlap_add(c, window, hop, 320, centred.shape[-1]), centred, rtol=0, atol=1e-5)


@pytest.mark.parametrize("padding", ["center", "same"])
@pytest.mark.parametrize("samples", [100, 256, 1000, 2048, 2111])
def test_the_result_has_the_length_that_was_asked_for(padding, samples: int) -> None:
    mel = MelSettings(padding=padding)
    vocoder = tiny(mel=mel, padding=padding)
    features = LogMel(mel).encode(torch.randn(2, samples, generator=torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        wav = vocoder(features, samples)
        longer = vocoder(features, samples + 5000)
        single = vocoder(features[1:], samples)
    assert wav.shape == (2, samples)
    assert torch.equal(longer[:, :samples], wav)
    assert not longer[:, -4000:].any()
    torch.testing.assert_close(single[0], wav[1])
    if padding == "center":
        assert wav[:, -1].all(), "the last frame reaches past its middle"


def test_gradients_reach_every_parameter_and_stay_finite() -> None:
    vocoder = tiny()
    with torch.no_grad():
        vocoder.out.bias[:2] = 1000.0  # an exponential beyond float32
    mel = torch.randn(1, 100, 9, requires_grad=True)
    vocoder(mel, 2048).square().sum().backward()
    assert torch.isfinite(mel.grad).all()
    assert mel.grad.abs().sum() > 0
    for name, parameter in vocoder.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_in_half_precision_the_phase_keeps_its_digits() -> None:
    vocoder = tiny()
    h = torch.randn(1, 16, 5)
    expected = vocoder.spectrum(h)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(vocoder.spectrum(h), expected)
        assert vocoder(torch.randn(1, 100, 5), 1024).dtype == torch.float32


def test_features_of_other_kinds_go_through_without_a_mel() -> None:
    vocoder = Vocos(mel=None, channels=7, dim=8, hidden=8, blocks=1, sample_rate=16000, n_fft=1280, hop_length=320,
                    padding="same")  # fmt: skip
    assert vocoder(torch.zeros(1, 7, 3), 960).shape == (1, 960)


def test_a_vocoder_refuses_another_mel_than_its_own() -> None:
    vocoder = tiny()
    vocoder.check(MelSettings(floor=1e-5))
    with pytest.raises(ValueError, match="vocoder and head: scale htk and slaney, padding center and same"):
        vocoder.check(MelSettings(scale="slaney", padding="same"))
    with pytest.raises(ValueError, match="takes a log-mel spectrogram, the head makes other features"):
        vocoder.check(None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"padding": "valid"}, "padding='valid': expected one of center, same"),
        ({"blocks": 0}, "blocks=0"),
        ({"hop_length": 255}, "n_fft - hop_length even"),
        ({"channels": 80}, "the vocoder and its mel spectrogram differ: bands 80 and 100"),
        ({"sample_rate": 16000, "padding": "same"}, "sample_rate 16000 and 24000, padding same and center"),
    ],
)
def test_wrong_sizes_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny(**wrong)


def test_it_learns_one_clip(clip) -> None:
    torch.manual_seed(0)
    vocoder = tiny().train()
    mel = LogMel(vocoder.mel)
    wav = torch.from_numpy(clip.clean[8000:12096].copy())[None]
    features = mel.encode(wav)
    optimizer = torch.optim.AdamW(vocoder.parameters(), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = (mel.encode(vocoder(features, 4096)) - features).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
