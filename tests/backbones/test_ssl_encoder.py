"""SSLEncoder: recorded features, its training on those of clean speech, configuration."""

from __future__ import annotations

import copy
import sys

import pytest
import torch

from gense import Enhancer
from gense.audio import Level
from gense.backbones import SSLEncoder
from gense.checkpoints.build import build_as
from gense.heads import RegressionHead
from gense.representations import SSLFeatures, Waveform
from gense.ssl import config_of_original, state_of_original
from gense.types import Batch
from tests.parity.fixtures import load_parity
from tests.ssl.tiny import spread, tiny, wave


def test_without_transformers_the_message_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install gense\[hub\]"):
        SSLEncoder(tiny(), 1)


@pytest.fixture
def encoder() -> SSLEncoder:
    pytest.importorskip("transformers", reason="transformers is not installed")
    torch.manual_seed(0)
    encoder = SSLEncoder(tiny(), 2, scaling="item")
    spread(encoder.network)
    return encoder


@pytest.mark.usefixtures("encoder")
def test_recorded_features() -> None:
    """Both layers of the published encoder, scaled over the whole batch as there; features have variance 1."""
    fixture = load_parity("pase_ckpt_small")
    config = config_of_original(fixture.config["original_cfg"])
    weights = fixture.weights("keys_DeWavLM.json")
    encoder = SSLEncoder(config, fixture.config["wavlm_output_layer"], scaling="batch", frames="floor").eval()
    encoder.network.model.load_state_dict(state_of_original(weights, config))
    with torch.no_grad():
        made = encoder(fixture.inputs["wav_0"], None, {})
    for layer, name in enumerate(("feat_a_0", "feat_p_0")):
        assert (made[:, layer].mT - fixture.outputs[name]).abs().max() < 1e-5


def test_two_items_are_two_times_one(encoder: SSLEncoder) -> None:
    wav = wave(2, 3500)
    with torch.no_grad():
        both = encoder(wav, None, {})
        each = torch.cat([encoder(item[None], None, {}) for item in wav])
    assert both.shape == (2, 16, 11)
    torch.testing.assert_close(both, each, atol=1e-5, rtol=0)


def test_it_has_no_time(encoder: SSLEncoder) -> None:
    with pytest.raises(ValueError, match="no time"):
        encoder(wave(1, 3200), torch.zeros(1), {})
    with pytest.raises(ValueError, match="layer=9"):
        SSLEncoder(tiny(), 9)


def distillation(student: SSLEncoder, scaling: str = "item") -> Enhancer:
    """Student and a frozen teacher of the same beginnings."""
    teacher = SSLFeatures(tiny(), 2, scaling=scaling)
    teacher.network.load_state_dict(student.network.state_dict())
    head = RegressionHead(student, target="ssl", condition=["noisy_wave"])
    return Enhancer({"wave": Waveform(), "ssl": teacher}, head, sample_rate=16000, level=Level("none"))


@pytest.mark.parametrize("scaling", ["item", "batch"])
def test_distillation_is_the_distance_of_scaled_features(encoder: SSLEncoder, scaling: str) -> None:
    """Against the formula: the mean square of norm(student(noisy)) - norm(teacher(clean))."""
    clean, noisy = wave(2, 3280), wave(2, 3280, seed=1)
    student = SSLEncoder(tiny(), 2, scaling=scaling, frames="inside")
    student.load_state_dict(encoder.state_dict())
    model = distillation(student, scaling)
    model.representations["ssl"].reading = student.reading
    with torch.no_grad():
        loss = model.loss(Batch(clean, noisy))
        axes = (1, 2) if scaling == "item" else (0, 1, 2)
        given, wanted = (
            (x - x.mean(axes, True)) / (x.var(axes, correction=0, keepdim=True) + 1e-6).sqrt()
            for x in (encoder.network(wav, [2])[0] for wav in (noisy, clean))
        )
        assert model.loss(Batch(clean, clean)).total < 1e-10
    torch.testing.assert_close(loss.total, (given - wanted).square().mean())
    assert loss.total > 0.1


def test_distillation_learns_and_leaves_the_teacher_alone(encoder: SSLEncoder) -> None:
    model = distillation(encoder).train()
    before = copy.deepcopy(model.representations["ssl"].state_dict())
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(name.startswith("head.backbone.network.model.") for name in trained)
    assert not any(".encoder.layers.2." in name for name in trained)  # behind the layer that is read
    clean = wave(2, 3200)
    batch = Batch(clean, clean + wave(2, 3200, seed=1))
    optimizer = torch.optim.Adam(trained.values(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss = model.loss(batch).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert all(p.grad is not None for p in trained.values())
    assert trained["head.backbone.network.model.feature_extractor.conv_layers.0.conv.weight"].grad.any()
    after = model.representations["ssl"].state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_a_configuration_builds_it_without_memory_too(encoder: SSLEncoder) -> None:
    settings = {"model": {**tiny(), "conv_dim": [8] * 7}, "layers": [1, 3], "scaling": "item"}
    config = {"class_path": "gense.backbones.SSLEncoder", "init_args": settings}
    with torch.device("meta"):
        built = build_as(SSLEncoder, config, "backbone", "the test's configuration")
    assert built.reading.layers == [1, 3]
    assert {p.device.type for p in built.parameters()} == {"meta"}
    assert built.state_dict().keys() == encoder.state_dict().keys()
    settings["model"]["hidden_sizes"] = 3
    with pytest.raises(ValueError, match="no field 'hidden_sizes'; nearest: 'hidden_size'"):
        build_as(SSLEncoder, config, "backbone", "the test's configuration")
