"""Recognisers: what they return is what their model says, and what cannot work is refused in one line."""

from __future__ import annotations

import pickle
import shutil
import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch

from gense.metrics import asr
from gense.metrics.asr import recogniser, transcript
from gense.metrics.pieces import split_at_pauses
from gense.pretrained import load_model
from tests.conftest import Clip
from tests.metrics.tiny_speech import LETTERS, noise, save_ctc, save_text, save_trunk, save_whisper

pytest.importorskip("transformers", reason="transformers is not installed")


@pytest.fixture(scope="module")
def ctc(tmp_path_factory) -> str:
    return str(save_ctc(tmp_path_factory.mktemp("ctc")))


@pytest.fixture(scope="module")
def whisper(tmp_path_factory) -> str:
    return str(save_whisper(tmp_path_factory.mktemp("whisper")))


def test_ctc_is_the_best_symbol_of_each_frame_collapsed(ctc: str):
    from transformers import Wav2Vec2ForCTC

    wav = noise(1.0)
    normal = torch.tensor((wav - wav.mean()) / np.sqrt(wav.var() + 1e-7)).float()
    with torch.no_grad():
        ids = Wav2Vec2ForCTC.from_pretrained(ctc).eval()(normal[None]).logits[0].argmax(-1).tolist()
    symbols = {number: symbol for symbol, number in LETTERS.items()}
    spelled = "".join(symbols[number] for number, _ in groupby(ids) if number > 3).replace("|", " ")
    assert len(set(spelled)) > 2  # otherwise nothing is tested
    assert recogniser(ctc)(wav, 16000) == " ".join(spelled.split())


def test_decoder_is_followed_greedily(whisper: str):
    from transformers import WhisperFeatureExtractor

    wav = noise(1.0)
    model = load_model("AutoModelForSpeechSeq2Seq", whisper, "a speech recogniser")
    inputs = WhisperFeatureExtractor.from_pretrained(whisper)(wav, sampling_rate=16000, return_tensors="pt")
    tokens = [2]
    with torch.no_grad():
        while len(tokens) < 10 and tokens[-1] != 1:
            logits = model(inputs["input_features"], decoder_input_ids=torch.tensor([tokens])).logits
            tokens.append(int(logits[0, -1].argmax()))
    expected = [f"word{token}" for token in tokens if token > 2]
    assert len(set(expected)) > 1  # otherwise nothing is tested
    assert recogniser(whisper)(wav, 16000).split() == expected


@pytest.mark.parametrize("kind", ["ctc", "whisper"])
def test_long_clips_are_heard_in_pieces(kind: str, request, monkeypatch):
    monkeypatch.setattr(asr, "PIECE_SECONDS", 0.8)
    recognise = recogniser(request.getfixturevalue(kind))
    wav = noise(2.0)
    pieces = split_at_pauses(wav, 16000, 0.8)
    assert len(pieces) >= 3
    parts = " ".join(recognise(piece, 16000) for piece in pieces)
    assert recognise(wav, 16000).split() == parts.split()


def test_silence_says_nothing_and_short_signals_are_allowed(ctc: str, whisper: str):
    for name in (ctc, whisper):
        assert recogniser(name)(np.zeros(16000), 16000) == ""
        assert isinstance(recogniser(name)(noise(0.001), 16000), str)


def test_pieces_join_to_the_signal_and_are_cut_at_pauses():
    wav = noise(10.0)
    wav[40000:44000] = 0.0
    wav[90000:94000] = 0.0
    pieces = split_at_pauses(wav, 16000, 3.6)
    assert np.array_equal(np.concatenate(pieces), wav)
    assert max(piece.size for piece in pieces) <= 3.6 * 16000
    assert 40000 < pieces[0].size < 44000
    assert 90000 < pieces[0].size + pieces[1].size < 94000
    assert [piece.size for piece in split_at_pauses(wav, 16000, 10.0)] == [wav.size]


def test_a_recogniser_is_asked_once_for_the_same_samples():
    asked = []

    def recognise(wav, sample_rate):
        asked.append(sample_rate)
        return "yes"

    wav = noise(0.1)
    for signal, rate in ((wav, 16000), (wav.copy(), 16000), (wav, 8000), (-wav, 16000), (torch.tensor(wav), 16000)):
        assert transcript(recognise, signal, rate) == "yes"
    assert asked == [16000, 8000, 16000, 16000]


def test_recognisers_can_be_sent_to_another_process(ctc: str):
    recognise = recogniser(ctc)
    assert pickle.loads(pickle.dumps(recognise))(noise(0.5), 16000) == recognise(noise(0.5), 16000)


def test_what_is_no_recogniser(tmp_path: Path, ctc: str):
    with pytest.raises(ValueError, match="is of type 'bert', which is no speech recogniser"):
        recogniser(str(save_text(tmp_path / "text")))
    with pytest.raises(ValueError, match="is not a speech recogniser: its checkpoint lacks lm_head"):
        recogniser(str(save_trunk(tmp_path / "trunk")))
    with pytest.raises(ValueError, match="takes no language"):
        recogniser(ctc, language="en")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        recogniser("/no/such/folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises((OSError, ValueError), match="empty"):
        recogniser(str(tmp_path / "empty"))


def test_offline_says_where_it_looked_and_what_to_do(tmp_path: Path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"neither a folder nor in the cache .* could not be reached.*folder") as caught:
        recogniser("some-owner/no-such-model")
    assert "\n" not in str(caught.value)


def test_weights_that_would_run_code_are_refused(tmp_path: Path, ctc: str):
    """A pickle may hold tensors only; nothing in it is executed."""
    folder = Path(shutil.copytree(ctc, tmp_path / "pickled"))
    state = load_model("AutoModelForCTC", ctc, "a speech recogniser").state_dict()
    (folder / "model.safetensors").unlink()
    torch.save(dict(state), folder / "pytorch_model.bin")
    assert recogniser(str(folder))(noise(0.5), 16000) == recogniser(ctc)(noise(0.5), 16000)

    evil = Path(shutil.copytree(folder, tmp_path / "evil"))
    torch.save({**state, "more": Touch(tmp_path / "executed")}, evil / "pytorch_model.bin")
    with pytest.raises(ValueError, match="a pickle that holds more than tensors"):
        recogniser(str(evil))
    assert not (tmp_path / "executed").exists()


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"transformers is not installed: pip install gense\[hub\]"):
        recogniser("some-owner/never-asked-for")
    monkeypatch.setattr("gense.metrics.sphinx.find_spec", lambda name: None)
    recogniser.cache_clear()
    with pytest.raises(ImportError, match=r"pocketsphinx is not installed: pip install gense\[metrics\]"):
        recogniser("pocketsphinx")


def test_pocketsphinx_hears_the_words_at_any_level_and_in_any_order(clip: Clip):
    pytest.importorskip("pocketsphinx", reason="pocketsphinx is not installed")
    recognise = recogniser("pocketsphinx")
    sentence = clip.clean[:48000]
    said = recognise(sentence, 16000)
    assert said.startswith("the train to the coast leaves from platform nine")
    assert recognise(clip.noisy[48000:64000], 16000) != said
    assert recognise(0.1 * sentence.astype(np.float64), 16000) == said
    assert recognise(np.zeros(16000), 16000) == ""
