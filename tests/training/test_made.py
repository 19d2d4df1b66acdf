"""Features for a vocoder's training as a trained method makes them, and the steps of a published training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import gense
from gense.losses import MultiScaleMelLoss
from gense.training import MadeFeatures, VocoderModule
from gense.types import Batch
from tests.parity.pase_files import small_release, write

pytest.importorskip("transformers", reason="needs gense[hub]")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(small_release(), tmp_path_factory.mktemp("release"))


def test_a_vocoder_hears_what_the_method_makes(release: Path) -> None:
    features, model = MadeFeatures(str(release)), gense.load(release, device="cpu")
    wav = 0.1 * torch.randn(2, 3200, generator=torch.Generator().manual_seed(0))
    made = features.encode(wav)
    assert made.shape == (2, 2, 32, 10)
    torch.testing.assert_close(model.vocoder(made, 3200), model.enhance(wav), rtol=0, atol=1e-6)
    assert not made.requires_grad
    assert not list(features.parameters()), "nothing of it is trained, moved or saved with the run"
    module = VocoderModule(model.vocoder, features=features, hears="noisy", distance=MultiScaleMelLoss())
    assert not [name for name in module.state_dict() if name.startswith("features.")]


def test_a_method_that_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="flowse samples its features"):
        MadeFeatures("flowse")


def test_the_speech_model_learns_its_last_layer_alone(release: Path) -> None:
    """The frozen network of the clean speech is the published one here; of the noisy speech it is the one to learn."""
    model = gense.load(release, device="cpu").train()
    teacher = model.representations["ssl"]
    assert model.head.supervised == [1]
    teacher.model = str(release / "DeWavLM.tar")
    noise = torch.randn(2, 2, 3200, generator=torch.Generator().manual_seed(0))
    clean, noisy = 0.1 * noise[0], 0.1 * noise[0] + 0.05 * noise[1]
    assert float(model.loss(Batch(clean, clean)).total) < 1e-9
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    losses = []
    for _ in range(8):
        loss = model.loss(Batch(clean, noisy)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    target = teacher.encode(clean)
    model.head.backbone.reading = replace(model.head.backbone.reading, scaling="batch")
    estimate = model.head.backbone(noisy, None, {})
    error = (estimate - target)[:, 1].square().mean()
    torch.testing.assert_close(model.loss(Batch(clean, noisy)).total, error)
