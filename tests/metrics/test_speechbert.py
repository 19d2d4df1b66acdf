"""Self-supervised features, and SpeechBERTScore on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gense.metrics import Clip, UndefinedScore, score_clip, ssl
from gense.metrics.speechbert import speech_bert_metric, speech_bert_score
from gense.metrics.ssl import features
from tests.metrics.tiny_speech import noise, save_text, save_trunk

pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module", params=[True, False], ids=["norm first", "norm last"])
def trunk(request, tmp_path_factory) -> str:
    return str(save_trunk(tmp_path_factory.mktemp("trunk"), stable=request.param))


def test_features_are_the_states_of_the_layers(trunk: str):
    from transformers import WavLMModel

    wav = noise(0.5)
    model = WavLMModel.from_pretrained(trunk).eval()
    state = []
    model.encoder.layers[2].register_forward_hook(lambda module, given, made: state.append(made))
    with torch.no_grad():
        states = model(torch.tensor(wav).float()[None], output_hidden_states=True).hidden_states
    assert features(wav, 16000, model=trunk, layer=0).shape == ((8000 - 400) // 320 + 1, 16)
    for layer in range(3):
        assert features(wav, 16000, model=trunk, layer=layer) == pytest.approx(states[layer][0].numpy(), abs=1e-5)
    # The last state of transformers is normalised or not by version; here it is never
    last = state[0] if torch.is_tensor(state[0]) else state[0][0]
    assert features(wav, 16000, model=trunk, layer=3) == pytest.approx(last[0].numpy(), abs=1e-5)


def test_pieces_lie_on_the_grid_of_the_whole(tmp_path: Path, monkeypatch):
    trunk, wav = str(save_trunk(tmp_path / "trunk")), noise(2.51)
    whole = features(wav, 16000, model=trunk, layer=0)
    monkeypatch.setattr(ssl, "PIECE_SECONDS", 1)
    pieces = features(wav, 16000, model=trunk, layer=0)
    assert pieces.shape == whole.shape
    # Layer 0 sees four frames to each side: all but those next to the two seams are the same
    different = np.flatnonzero(np.abs(pieces - whole).max(axis=1) > 1e-5)
    assert 0 < different.size <= 16
    assert np.ptp(different) < 0.8 * len(whole)


def test_score_by_hand(monkeypatch):
    frames = {1.0: [[1.0, 0.0], [0.0, 2.0]], 2.0: [[3.0, 0.0], [1.0, 1.0], [1.0, 0.0]]}
    monkeypatch.setattr(
        "gense.metrics.speechbert.features", lambda wav, rate, **options: np.array(frames[float(wav[0])])
    )
    # (1, 0) occurs; (0, 2) is at best 45 degrees away
    assert speech_bert_score(np.array([1.0]), np.array([2.0]), 16000) == pytest.approx((1 + 0.5**0.5) / 2)
    # The other way round all three frames count, which makes it no symmetric measure
    assert speech_bert_score(np.array([2.0]), np.array([1.0]), 16000) == pytest.approx((2 + 0.5**0.5) / 3)


def test_identical_is_one_and_noise_lowers_it(trunk: str):
    clean, other = noise(0.5), noise(0.5, seed=1)
    scores = [
        speech_bert_score(clean + gain * other, clean, 16000, model=trunk, layer=2) for gain in (0.0, 0.3, 3.0)
    ]
    assert scores[0] == pytest.approx(1.0, abs=1e-6)
    assert scores[0] > scores[1] > scores[2]
    metric = speech_bert_metric(model=trunk, layer=2)
    score = score_clip(Clip(clean + 0.3 * other, 16000, clean=clean), [metric])
    assert score == {"speech_bert_score": pytest.approx(scores[1], abs=1e-6)}


def test_what_is_refused(trunk: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"layer=4: .* has layers 0 \(the input\) to 3"):
        features(noise(0.5), 16000, model=trunk, layer=4)
    with pytest.raises(UndefinedScore, match=r"at least 0\.025 s"):
        features(noise(0.02), 16000, model=trunk, layer=1)
    with pytest.raises(UndefinedScore, match="silent"):
        features(np.zeros(16000), 16000, model=trunk, layer=1)
    with pytest.raises(ValueError, match="expected WavLM, HuBERT"):
        features(noise(0.5), 16000, model=str(save_text(tmp_path / "text")), layer=0)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        speech_bert_metric(model=str(tmp_path / "missing"))
