"""Features of frozen networks, and the waveform itself."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from gense.representations import SSLFeatures, Waveform
from tests.metrics.tiny_speech import save_trunk
from tests.ssl.tiny import tiny, wave


def test_the_waveform_stays_as_it_is() -> None:
    wave_form, wav = Waveform(sample_rate=8000), wave(2, 100)
    assert (wave_form.sample_rate, wave_form.hop_length) == (8000, 1)
    assert wave_form.encode(wav) is wav
    assert torch.equal(wave_form.decode(wav, 100), wav)
    assert torch.equal(wave_form.decode(wav, 60), wav[:, :60])
    assert torch.equal(wave_form.decode(wav, 130), nn.functional.pad(wav, (0, 30)))
    with pytest.raises(ValueError, match="sample_rate=0"):
        Waveform(sample_rate=0)


def test_without_transformers_the_message_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    features = SSLFeatures("wavlm-large", 24)  # nothing is loaded before it is needed
    with pytest.raises(ImportError, match=r"pip install gense\[hub\]"):
        features.encode(wave(1, 400))
    with pytest.raises(ImportError, match=r"pip install gense\[hub\]"):
        SSLFeatures(tiny(), 1)


@pytest.fixture
def features() -> SSLFeatures:
    pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    return SSLFeatures(tiny(), [1, 3], scaling="item")


def test_one_frame_for_every_320_samples(features: SSLFeatures) -> None:
    assert (features.sample_rate, features.hop_length) == (16000, 320)
    for samples in (1, 3200, 3201):
        assert features.encode(wave(2, samples)).shape == (2, 2, 16, -(-samples // 320))
    with pytest.raises(NotImplementedError, match="vocoder"):
        features.decode(features.encode(wave(2, 3200)), 3200)


def test_two_items_are_two_times_one(features: SSLFeatures) -> None:
    wav = wave(2, 3500) * torch.tensor([[1.0], [0.1]])
    both = features.encode(wav)
    each = torch.cat([features.encode(item[None]) for item in wav])
    torch.testing.assert_close(both, each, atol=1e-5, rtol=0)
    together = SSLFeatures(tiny(), [1, 3], scaling="batch")
    together.load_state_dict(features.state_dict())
    assert (together.encode(wav) - each).abs().max() > 1e-3


def test_the_network_is_frozen_but_lets_gradients_through(features: SSLFeatures) -> None:
    features.train()
    assert not features.network.training
    assert not any(parameter.requires_grad for parameter in features.parameters())
    wav = wave(1, 3200).requires_grad_()
    features.encode(wav)[..., 3].square().sum().backward()
    assert wav.grad.abs().max() > 0
    assert not features.encode(wave(1, 3200)).requires_grad


def test_by_name_the_weights_are_no_part_of_the_module(tmp_path: Path, features: SSLFeatures) -> None:
    folder = str(save_trunk(tmp_path / "trunk"))
    named = SSLFeatures(folder, 2, frames="inside")
    assert not named.state_dict()
    wav = wave(1, 3280)
    made = named.encode(wav)
    assert made.shape == (1, 16, 10)
    assert not named.state_dict()
    assert features.state_dict()
    with pytest.raises(ValueError, match="layer=4"):
        SSLFeatures(folder, 4).encode(wav)
    with pytest.raises(ValueError, match="layer=4"):
        SSLFeatures(tiny(), 4)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        SSLFeatures(str(tmp_path / "missing"), 1).encode(wav)


def test_by_name_another_grid_of_frames_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    from gense.ssl import fresh_network

    short = {"conv_dim": [8, 8], "conv_kernel": [10, 3], "conv_stride": [5, 2], "num_feat_extract_layers": 2}
    fresh_network(tiny(**short)).model.save_pretrained(tmp_path)
    assert SSLFeatures(tiny(**short), 1).hop_length == 10
    with pytest.raises(ValueError, match="a frame every 10 samples, expected 320"):
        SSLFeatures(str(tmp_path), 1).encode(wave(1, 400))
