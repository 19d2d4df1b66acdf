"""How many frames there are, and their scale."""

from __future__ import annotations

import pytest
import torch

from gense.ssl import Reading
from gense.ssl.frames import fit_frames, scaled
from tests.ssl.tiny import tiny_network, wave


@pytest.mark.parametrize("samples", [1, 79, 80, 81, 319, 320, 321, 400, 5199, 16000])
def test_ceil_covers_every_sample_and_floor_what_fills_a_frame(samples: int) -> None:
    wav = wave(2, samples)
    fitted = fit_frames(wav, 320, 400, "ceil")
    assert (fitted.shape[-1] - 400) // 320 + 1 == -(-samples // 320)
    assert torch.equal(fitted[:, :samples], wav)
    assert not fitted[:, samples:].any()
    if samples >= 320:
        fitted = fit_frames(wav, 320, 400, "floor")
        count = samples // 320
        assert fitted.shape[-1] == 320 * count + 80
        kept = min(samples, fitted.shape[-1])
        assert torch.equal(fitted[:, :kept], wav[:, :kept])
        assert not fitted[:, kept:].any()
    if samples >= 400:
        assert fit_frames(wav, 320, 400, "inside") is wav


@pytest.mark.parametrize(("frames", "least"), [("ceil", 1), ("floor", 320), ("inside", 400)])
def test_waveforms_without_a_frame_are_refused(frames: str, least: int) -> None:
    with pytest.raises(ValueError, match=f"a frame takes {least}"):
        fit_frames(wave(1, least - 1), 320, 400, frames)


def test_scale_by_the_formula() -> None:
    x = torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0)) * 3 + 2
    by_item = (x - x.mean((1, 2), True)) / (x.var((1, 2), correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(scaled(x, "item"), by_item)
    torch.testing.assert_close(scaled(x, "batch"), (x - x.mean()) / (x.var(correction=0) + 1e-6).sqrt())
    assert scaled(x, "none") is x
    assert not scaled(torch.ones(1, 2, 3), "item").any()  # no division by zero


def test_one_layer_and_lists_of_layers() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    network, wav = tiny_network(), wave(2, 3300)
    with torch.no_grad():
        first, third = (Reading(layer, scaling="item")(network, wav) for layer in (1, 3))
        both = Reading([3, 1], scaling="item")(network, wav)
        alone = Reading([3], scaling="item")(network, wav)
    assert first.shape == (2, 16, 11)
    assert torch.equal(both, torch.stack([third, first], dim=1))
    assert torch.equal(alone, third[:, None])


def test_standardised_waveforms_have_no_level() -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    network, wav = tiny_network(), wave(2, 3200)
    gains = torch.tensor([[3.0], [0.2]])
    with torch.no_grad():
        plain = Reading(2, standardise=True)(network, wav)
        torch.testing.assert_close(Reading(2, standardise=True)(network, gains * wav + 0.1), plain, atol=1e-3, rtol=0)
        assert (Reading(2)(network, gains * wav) - Reading(2)(network, wav)).abs().max() > 0.1


def test_waveforms_are_standardised_as_by_transformers() -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    network, wav = tiny_network(), 0.01 * wave(1, 3600) + 0.02
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True)
    given = extractor(wav[0].numpy(), sampling_rate=16000, return_tensors="pt")["input_values"]
    with torch.no_grad():
        made = Reading(3, frames="inside", standardise=True)(network, wav)
        torch.testing.assert_close(made, network(given, [3])[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": []}, r"layers=\[\]: expected a layer"),
        ({"layers": -1}, "layers=-1: expected a layer"),
        ({"layers": 1, "scaling": "frame"}, "scaling='frame': expected one of 'none', 'item', 'batch'"),
        ({"layers": 1, "frames": "round"}, "frames='round': expected one of 'ceil'"),
    ],
)
def test_impossible_readings_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Reading(**settings)
