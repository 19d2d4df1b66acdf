"""Log-mel spectrograms: published values, what a tone and silence look like, any length, resampling on the way in."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from gense.representations import LogMel, MelSettings
from gense.representations.melbank import mel_filterbank
from gense.representations.resample import sinc_resample
from tests.parity.fixtures import load_parity, relative_error

BIGVGAN = MelSettings(scale="slaney", norm="slaney", padding="same", epsilon=1e-9)
SPEECHT5 = MelSettings(
    sample_rate=16000, bands=80, f_min=80.0, f_max=7600.0, scale="slaney", norm="slaney", floor=1e-10, log="log10"
)
EVERY = 4  # the recordings hold every fourth frame and band


@pytest.fixture(scope="module")
def parity():
    return load_parity("flowse_mel")


def test_published_filterbank(parity) -> None:
    own = mel_filterbank(513, 24000, 100).T
    torch.testing.assert_close(own[:, ::EVERY], parity.tensors["filterbank_vocos"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("case", "01")
def test_published_resampling_and_mels(parity, case: str) -> None:
    """Case 1 ends in digital silence, of which every band lies on the floor."""
    fixed = parity.tensors
    wav = fixed[f"wav24k.{case}"]
    torch.testing.assert_close(sinc_resample(fixed[f"wav16k.{case}"], 16000, 24000), wav, rtol=0, atol=1e-6)
    for mel, name in ((LogMel(), "log_mel"), (LogMel(BIGVGAN), "log_mel_bigvgan")):
        expected = fixed[f"{name}.{case}"].transpose(1, 2)
        torch.testing.assert_close(mel.encode(wav)[..., ::EVERY], expected, rtol=0, atol=1e-5)
    # From the 16 kHz recording on, the last digit of its samples shows in bands near the floor
    both = LogMel(input_rate=16000).encode(fixed[f"wav16k.{case}"])[..., ::EVERY]
    assert relative_error(both, fixed[f"log_mel.{case}"].transpose(1, 2)) < 1e-5


@pytest.mark.parametrize(("name", "padding"), [("vocos_mel_24k", "center"), ("vocos_small_same_padding", "same")])
def test_published_mels_of_the_vocoder(name: str, padding) -> None:
    fixed = load_parity(name).tensors
    mel = LogMel(MelSettings(padding=padding, floor=1e-7)).encode(fixed["wav"])
    torch.testing.assert_close(mel[..., ::EVERY], fixed["features"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("extractor", "settings"), [("UnivNet", BIGVGAN), ("SpeechT5", SPEECHT5)])
def test_front_ends_of_transformers(extractor: str, settings: MelSettings, parity) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = getattr(transformers, f"{extractor}FeatureExtractor")()
    wav = parity.tensors["wav16k.0"]
    if extractor == "UnivNet":
        expected = theirs.mel_spectrogram(wav[0].numpy())
    else:
        expected = theirs(audio_target=wav[0].numpy(), sampling_rate=16000)["input_values"][0]
    own = LogMel(settings).encode(wav)[0].T.numpy()
    assert own.shape == expected.shape
    np.testing.assert_allclose(own, expected, atol=2e-4)


@pytest.mark.parametrize("settings", [MelSettings(), BIGVGAN])
def test_a_tone_peaks_in_its_band_and_doubling_it_adds_log_two(settings: MelSettings) -> None:
    mel = LogMel(settings)
    band = 40
    bank = mel.filterbank[band] / mel.filterbank[band].sum()
    frequency = float((bank * torch.linspace(0, 12000, 513)).sum())
    wav = torch.sin(2 * math.pi * frequency * torch.arange(12000) / 24000)[None] * 0.1
    middle = mel.encode(wav)[0, :, 10:30]
    assert (middle.argmax(dim=0) == band).all()
    louder = mel.encode(2 * wav)[0, band, 10:30]
    torch.testing.assert_close(louder - middle[band], torch.full((20,), math.log(2)), rtol=0, atol=1e-4)
    squared = LogMel(MelSettings(power=2.0, log="log10")).encode(wav * 0)
    torch.testing.assert_close(squared, torch.full_like(squared, -5.0))  # the floor


def test_the_scales_meet_their_definitions() -> None:
    """HTK puts 1000 Hz at 1000 mel; Slaney's is linear below 1 kHz; its triangles have equal areas."""
    htk = mel_filterbank(8001, 16000, 30)
    tops = htk.argmax(dim=1).double()
    mels = 2595 * torch.log10(1 + tops / 700)
    torch.testing.assert_close(mels.diff(), (mels[-1] / 30).expand(29), rtol=0.02, atol=0)
    slaney = mel_filterbank(8001, 16000, 30, scale="slaney", norm="slaney")
    torch.testing.assert_close(slaney.sum(dim=1), torch.ones(30), rtol=1e-3, atol=0)
    assert slaney.argmax(dim=1)[:6].diff().float().std() < 1


@pytest.mark.parametrize("samples", [1, 255, 256, 500, 513, 1024, 5000])
@pytest.mark.parametrize("padding", ["center", "same"])
def test_any_length_has_its_frames_and_a_finite_gradient(samples: int, padding) -> None:
    mel = LogMel(MelSettings(padding=padding))
    wav = torch.zeros(2, samples, requires_grad=True)
    out = mel.encode(wav)
    frames = samples // 256 + 1 if padding == "center" else max(1, samples // 256)
    assert out.shape == (2, 100, frames) == (2, 100, mel.frames(samples))
    assert (out == math.log(1e-5)).all()
    LogMel(MelSettings(padding=padding, epsilon=1e-9)).encode(wav).sum().backward()
    assert torch.isfinite(wav.grad).all()


@pytest.mark.parametrize("rate", [None, 16000, 48000])
def test_cut_at_whole_hops_the_frames_inside_are_the_same(rate: int | None) -> None:
    mel = LogMel(input_rate=rate)
    assert mel.sample_rate == (rate or 24000)
    assert mel.hop_length * 24000 == mel.hop_frames * 256 * mel.sample_rate
    wav = torch.randn(1, 40 * mel.hop_length, generator=torch.Generator().manual_seed(0)) * 0.1
    whole, part = mel.encode(wav), mel.encode(wav[:, 12 * mel.hop_length :])
    inside = slice(4, part.shape[-1] - 4)
    torch.testing.assert_close(part[..., inside], whole[..., 12 * mel.hop_frames :][..., inside], rtol=0, atol=2e-4)


def test_resampling_keeps_a_tone_and_its_length() -> None:
    for rate_in, rate_out in ((16000, 24000), (24000, 16000), (44100, 24000), (16000, 16000)):
        tone = [torch.sin(2 * math.pi * 1000 * torch.arange(rate // 10) / rate)[None] for rate in (rate_in, rate_out)]
        out = sinc_resample(tone[0], rate_in, rate_out)
        assert out.shape == tone[1].shape
        assert (out - tone[1])[:, 50:-50].abs().max() < 3e-3
    assert sinc_resample(torch.ones(1, 7), 16000, 24000).shape == (1, math.ceil(7 * 1.5))


def test_half_precision_around_it_changes_nothing() -> None:
    wav = torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    mel = LogMel()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mel.encode(wav), mel.encode(wav.float()))
        out = mel.encode(wav)
    assert torch.equal(out, mel.encode(wav))


def test_the_way_back_names_the_vocoder() -> None:
    with pytest.raises(NotImplementedError, match=r"give the enhancer a vocoder, for instance gense\.vocoders\.load"):
        LogMel().decode(torch.zeros(1, 100, 3), 512)


def test_differences_name_what_matters_and_leave_out_the_floors() -> None:
    assert MelSettings(floor=1e-7).differences(MelSettings()) == ""
    assert MelSettings(f_max=12000.0).differences(MelSettings()) == ""
    named = BIGVGAN.differences(MelSettings())
    assert named == "scale slaney and htk, norm slaney and none, padding same and center"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"scale": "bark"}, "scale='bark': expected one of htk, slaney"),
        ({"f_max": 13000.0}, "f_max=13000.0: need 0 <= f_min < f_max <= 12000.0 Hz"),
        ({"hop_length": 600}, "hop_length <= n_fft / 2"),
        ({"floor": 0.0}, "need floor > 0"),
    ],
)
def test_wrong_settings_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        MelSettings(**wrong)


def test_resampling_keeps_single_precision_under_autocast() -> None:
    """Half precision would fill the empty band above the old Nyquist frequency with noise that a vocoder learns."""
    wav = torch.randn(2, 4000, generator=torch.Generator().manual_seed(0)).cumsum(-1) / 100
    plain = sinc_resample(wav, 16000, 24000)
    with torch.autocast("cpu", torch.bfloat16):
        under = sinc_resample(wav, 16000, 24000)
    assert under.dtype == torch.float32
    assert torch.equal(under, plain)
