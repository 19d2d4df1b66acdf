"""HiFi-GAN and UnivNet through transformers, on tiny networks with random weights."""

from __future__ import annotations

import sys

import pytest
import torch

from gense import vocoders
from gense.representations import LogMel
from gense.samplers import gaussian
from gense.vocoders import HiFiGAN, UnivNet

HIFIGAN = {"upsample_initial_channel": 32, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3]]}
UNIVNET = {
    "model_in_channels": 8, "kernel_predictor_hidden_channels": 8, "model_hidden_channels": 4,
    "resblock_dilation_sizes": [[1, 3]] * 3, "kernel_predictor_num_blocks": 1,
}  # fmt: skip
transformers = pytest.importorskip("transformers")


def build(kind):
    torch.manual_seed(0)
    return kind(config=HIFIGAN if kind is HiFiGAN else UNIVNET).eval()


@pytest.mark.parametrize("kind", [HiFiGAN, UnivNet])
@pytest.mark.parametrize("samples", [1500, 4096])
def test_a_waveform_of_the_length_that_was_asked_for(kind, samples: int) -> None:
    vocoder = build(kind)
    assert vocoder.hop_length == vocoder.mel.hop_length
    assert vocoder.sample_rate == vocoder.mel.sample_rate
    wav = torch.randn(2, samples, generator=torch.Generator().manual_seed(0)) * 0.1
    features = LogMel(vocoder.mel).encode(wav)
    with torch.inference_mode():
        out = vocoder(features, samples)
        assert out.shape == (2, samples)
        assert torch.isfinite(out).all()
        assert out.std() > 0
        assert torch.equal(vocoder(features, samples), out), "the same whatever ran before"
        longer = vocoder(features, samples + 4096)
    assert torch.equal(longer[:, :samples], out)
    assert not longer[:, -2000:].any()


def test_univnet_draws_its_noise_from_the_source_given() -> None:
    vocoder = build(UnivNet)
    mel = torch.zeros(1, 100, 6)
    with torch.inference_mode():
        one, two, again = (vocoder(mel, 1536, noise=gaussian(seed)) for seed in (1, 2, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, two)


@pytest.mark.parametrize("kind", [HiFiGAN, UnivNet])
def test_a_folder_of_transformers_loads(kind, tmp_path) -> None:
    own = build(kind)
    own.network.save_pretrained(tmp_path)
    loaded = vocoders.load(tmp_path)
    assert type(loaded) is kind
    mel = torch.randn(1, own.mel.bands, 5)
    with torch.inference_mode():
        assert torch.equal(loaded(mel, 1280), own(mel, 1280))
    (tmp_path / "model.safetensors").unlink()
    torch.save(own.network.state_dict(), tmp_path / "pytorch_model.bin")
    with torch.inference_mode():
        assert torch.equal(vocoders.load(tmp_path)(mel, 1280), own(mel, 1280))
    with pytest.raises(ValueError, match=r"differ: bands \d+ and 7; pass the one that it was trained on"):
        vocoders.load(tmp_path, mel={"bands": 7})
    assert vocoders.load(tmp_path, mel={"floor": 0.5}).mel.floor == 0.5


def test_another_model_of_transformers_is_refused(tmp_path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    with pytest.raises(ValueError, match=r"\['bert', 'BertModel'\] is no vocoder that is known here: SpeechT5HifiGan"):
        vocoders.load(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="not readable as JSON"):
        vocoders.load(tmp_path)


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ValueError, match="SpeechT5HifiGanConfig does not know upsample_rate; it takes"):
        HiFiGAN(config={"upsample_rate": [2, 2]})


def test_without_transformers_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install gense\[hub\]"):
        HiFiGAN()
