"""Speaker similarity, by a network of the package Resemblyzer and by x-vectors."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gense.metrics import Clip as Scored
from gense.metrics import UndefinedScore, score_clip
from gense.metrics import resemblyzer as module
from gense.metrics.resemblyzer import HOP, WINDOW, mel_windows, spoken
from gense.metrics.speaker import embedder, speaker_metric, speaker_similarity
from tests.conftest import Clip
from tests.metrics.tiny_speech import TRUNK, noise, save_text, save_trunk


@pytest.fixture(scope="module")
def xvector(tmp_path_factory) -> str:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    folder = tmp_path_factory.mktemp("xvector")
    torch.manual_seed(0)
    config = transformers.WavLMConfig(**TRUNK, tdnn_dim=(8, 8, 8, 8, 16), xvector_output_dim=12)
    transformers.WavLMForXVector(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return str(folder)


@pytest.fixture(params=["resemblyzer", "xvector"])
def embed(request):
    if request.param == "resemblyzer":
        try:
            module.load_encoder()
        except ImportError as error:
            pytest.skip(str(error))
        return embedder("resemblyzer")
    return embedder(request.getfixturevalue("xvector"))


def test_similarity_is_a_cosine(embed, clip: Clip):
    a, b = clip.clean[:40000], clip.noisy[60000:100000]
    assert np.linalg.norm(embed(a, 16000)) == pytest.approx(1.0)
    assert speaker_similarity(a, a, 16000, embed) == pytest.approx(1.0)
    assert speaker_similarity(a, b, 16000, embed) == pytest.approx(speaker_similarity(b, a, 16000, embed))
    assert speaker_similarity(a, b, 16000, embed) < 0.9999
    assert speaker_similarity(a, 0.1 * a, 16000, embed) == pytest.approx(1.0, abs=1e-3)  # a gain
    scored = score_clip(Scored(a, 16000, clean=clip.noisy[:40000]), [speaker_metric(embed)])
    assert scored == {"speaker_similarity": pytest.approx(speaker_similarity(a, clip.noisy[:40000], 16000, embed))}


def test_what_has_no_speaker(embed):
    with pytest.raises(UndefinedScore, match="silent"):
        embed(np.zeros(16000), 16000)
    with pytest.raises(UndefinedScore, match="needs at least"):
        embed(noise(0.1), 16000)


def test_voices_are_told_apart_and_noise_moves_them(clip: Clip):
    """The clip's first two sentences are spoken by different voices, a woman's and a man's."""
    try:
        module.load_encoder()
    except ImportError as error:
        pytest.skip(str(error))
    embed = embedder("resemblyzer")
    woman, man = clip.clean[:48000], clip.clean[52000:108000]
    same = [speaker_similarity(voice[:26000], voice[-26000:], 16000, embed) for voice in (woman, man)]
    assert speaker_similarity(woman, man, 16000, embed) < min(same) - 0.1
    noisy, half = clip.noisy[:48000], 0.5 * (clip.noisy[:48000] + woman)
    scores = [speaker_similarity(est, woman, 16000, embed) for est in (noisy, half, woman)]
    assert scores == sorted(scores)
    assert scores[0] < 0.95


def test_windows_cover_the_signal_and_pauses_are_left_out():
    bank = torch.ones(40, 201)
    windows = mel_windows(torch.ones(16000 * 5), bank)
    assert windows.shape[1:] == (40, WINDOW)
    # 1.3 windows a second, and none that is mostly past the end
    assert windows.shape[0] == 1 + (16000 * 5 - round(0.75 * WINDOW * HOP)) // (77 * HOP)
    assert mel_windows(torch.ones(8000), bank).shape[0] == 1
    level = torch.tensor([1.0, 1e-4, 0.5]).reshape(3, 1, 1)
    assert torch.equal(spoken(level * torch.ones(3, 40, WINDOW)), level[[0, 2]] * torch.ones(2, 40, WINDOW))


def test_xvector_is_what_the_model_says(xvector: str):
    from transformers import WavLMForXVector

    wav = noise(1.0)
    normal = torch.tensor((wav - wav.mean()) / np.sqrt(wav.var() + 1e-7)).float()
    with torch.no_grad():
        vector = WavLMForXVector.from_pretrained(xvector).eval()(normal[None]).embeddings[0].numpy()
    assert embedder(xvector)(wav, 16000) == pytest.approx(vector / np.linalg.norm(vector), abs=1e-5)


def test_long_signals_are_the_mean_of_their_pieces(xvector: str, monkeypatch):
    monkeypatch.setattr("gense.metrics.speaker.PIECE_SECONDS", 1)
    embed, wav = embedder(xvector), noise(2.0)
    mean = embed(wav[:16000], 16000) + embed(wav[16000:], 16000)
    assert embed(wav, 16000) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-9)


def test_wrong_models_and_missing_packages(tmp_path: Path, monkeypatch):
    pytest.importorskip("transformers", reason="transformers is not installed")
    with pytest.raises(ValueError, match="is not a speaker model"):
        embedder(str(save_text(tmp_path / "text")))
    # The right network without its head: it would be random
    with pytest.raises(ValueError, match=r"its checkpoint lacks .* which would be random"):
        embedder(str(save_trunk(tmp_path / "trunk")))
    module.load_encoder.cache_clear()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="resemblyzer is not installed: pip install"):
        embedder("resemblyzer")


def test_the_package_is_read_and_not_imported():
    try:
        module.load_encoder()
    except ImportError as error:
        pytest.skip(str(error))
    assert not {"resemblyzer", "webrtcvad"} & set(sys.modules)
