"""Transcripts and output levels: who gets which words, what is refused, and what stays as it was."""

from __future__ import annotations

import itertools
import math
import warnings

import pytest
import torch
from torch import Tensor

from gense import Enhancer, Sampling, samplers
from gense.audio import Level
from gense.chunking import Chunking
from gense.representations import CompressedSTFT
from gense.text import excerpt
from gense.types import Batch
from tests.test_enhancer import random_wav
from tests.tiny import Passthrough, passthrough, tiny_flow
from tests.tiny_text import Listener, letters, text_method, tiny_text

ONE_STEP = Sampling("euler", steps=1)


def spelt(ids: Tensor | None) -> list[str]:
    """The words behind token ids (B, L)."""
    assert ids is not None
    return ["".join(" abcdefghijklmnopqrstuvwxyz"[i] for i in row if i >= 0) for row in ids.tolist()]


# -- transcripts -----------------------------------------------------------------------------------------------------


def test_text_matters_and_its_absence_is_the_null_condition() -> None:
    model, wav = tiny_text(), random_wav(1, 6000)
    silent, one, other = (model.enhance(wav, text=text) for text in (None, "good morning", "bad evening"))
    assert not torch.allclose(one, other, atol=1e-4)
    assert not torch.allclose(one, silent, atol=1e-4)
    heard = Listener()
    text_method(heard).enhance(wav, sampling=ONE_STEP)
    assert heard.heard == [None]


def test_one_string_is_for_all_and_a_list_for_each() -> None:
    model, wav = tiny_text(), random_wav(1, 6000).expand(2, -1)
    both = model.enhance(wav, text="good morning")
    torch.testing.assert_close(both[0], both[1])
    torch.testing.assert_close(model.enhance(wav, text=["good morning", "good morning"]), both)
    apart = model.enhance(wav, text=["good morning", "no"])  # of other lengths: padding is no word
    torch.testing.assert_close(apart[0], both[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(apart[1:], model.enhance(wav[:1], text="no"), rtol=0, atol=1e-5)


def test_a_long_transcript_is_shared_out_among_the_chunks() -> None:
    """Four chunks of 1 s with 0.25 s in common over 3.25 s, spoken at one letter in 0.05 s."""
    heard = Listener()
    model = text_method(heard, chunking=Chunking(1.0, 0.25, 3))
    text = " ".join(4 * letter for letter in "abcdefghijklm")
    assert len(text) == 64
    model.enhance(random_wav(1, 52000), text=text, sampling=ONE_STEP)
    parts = [part for ids in heard.heard for part in spelt(ids)]
    assert parts == [
        "aaaa bbbb cccc dddd",  # until 1 s: letter 19.7
        "dddd eeee ffff gggg",  # from 0.75 s to 1.75 s: letters 14.8 to 34.5
        "gggg hhhh iiii jjjj",
        "jjjj kkkk llll mmmm",
    ]
    for before, after in itertools.pairwise(parts):
        assert before.split()[-1] == after.split()[0], "the words of an overlap go to both sides"
    heard.heard.clear()
    model.enhance(random_wav(1, 52000), text=text, sampling=ONE_STEP, noise=samplers.gaussian(0))
    assert [part for ids in heard.heard for part in spelt(ids)] == parts
    assert [len(ids) for ids in heard.heard if ids is not None] == [3, 1], "shorter ones are filled up in a batch"


def test_short_files_get_their_transcript_as_it_is() -> None:
    heard = Listener()
    model = text_method(heard, chunking=Chunking(1.0, 0.25, 3))
    for samples in (15999, 16000):
        model.enhance(random_wav(1, samples), text="  a b  ", sampling=ONE_STEP)
        assert spelt(heard.heard[-1]) == ["  a b  "]


def test_a_chunk_without_words_goes_without() -> None:
    heard = Listener()
    model = text_method(heard, chunking=Chunking(1.0, 0.25, 8))
    model.enhance(random_wav(1, 160000), text="a" + " " * 100 + "b", sampling=ONE_STEP)
    parts = [part for ids in heard.heard for part in spelt(ids)]
    assert (parts[0], parts[-1], set(parts[1:-1])) == ("a", "b", {""})
    assert text_method(tiny_text().head.backbone, chunking=Chunking(1.0, 0.25, 1)).enhance(
        random_wav(1, 64000), text="a" + " " * 100 + "b"
    ).isfinite().all()  # fmt: skip


def test_excerpts_keep_words_whole_and_lose_none() -> None:
    text = "one two three 护士们拔掉 four"
    assert excerpt(text, 0.0, 1.0) == text
    assert excerpt("  spaces stay ", -0.1, 1.2) == "  spaces stay "
    assert excerpt(text, 0.0, 0.05) == "one"
    assert excerpt(text, 0.2, 0.4) == "two three"
    assert excerpt(text, 0.55, 0.7) == "护士们"  # a character of Chinese is a word of its own
    assert excerpt("", 0.2, 0.3) == excerpt("a     b", 0.4, 0.5) == ""
    for parts in (1, 2, 3, 7):
        pieces = [excerpt(text, k / parts, (k + 1) / parts) for k in range(parts)]
        for word in ("one", "two", "three", "four", *"护士们拔掉"):
            assert any(word in piece.split() or word in piece for piece in pieces)
        assert all(piece in text for piece in pieces)


def test_unknown_characters_are_told_once_however_many_chunks_have_them() -> None:
    model = text_method(Listener(), chunking=Chunking(1.0, 0.25, 1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.enhance(random_wav(1, 64000), text="a? b! c? d! e? f!", sampling=ONE_STEP)
    assert [str(w.message) for w in caught] == ["not in the vocabulary, read as a space: '!', '?'"]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", ValueError, "text is empty: give what is said in the recording, or leave it out"),
        (" \n", ValueError, "text is empty"),
        (["a", " "], ValueError, "text is empty"),
        (["a"], ValueError, "1 transcripts for 2 items; give one an item, or one string"),
        ([], ValueError, "0 transcripts for 2 items"),
        ([1, "a"], TypeError, "text holds int: expected a string, or a list of strings"),
    ],
)
def test_text_that_does_not_fit_is_refused(text: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        text_method(Listener()).enhance(random_wav(2, 3000), text=text)  # type: ignore[arg-type]


def test_methods_without_text_or_without_their_vocabulary_refuse_it() -> None:
    wav = random_wav(1, 3000)
    for model in (tiny_flow(), passthrough()):
        with pytest.raises(ValueError, match="text: this method reads no transcript; leave it out"):
            model.enhance(wav, text="hello")
    model = tiny_text(text=False)
    assert model.enhance(wav).isfinite().all()
    with pytest.raises(ValueError, match=r"came without its vocabulary; .*\(vocab\.txt\)"):
        model.enhance(wav, text="hello")
    with pytest.raises(ValueError, match="there is a tokenizer, but the head reads no text, only noisy_stft"):
        Enhancer({"stft": CompressedSTFT()}, Passthrough(), text=letters(), sample_rate=16000)


def test_training_reads_the_transcripts_of_a_batch() -> None:
    model, wav = tiny_text().train(), random_wav(2, 4096)

    def loss(text: list[str] | None) -> Tensor:
        torch.manual_seed(0)
        return model.loss(Batch(wav, wav, text)).total

    assert loss(None) != loss(["good", "morning"])
    assert loss(["good", "morning"]) != loss(["good", "evening"])
    loss(["good", "morning"]).backward()
    assert model.head.backbone.text.tokens.weight.grad.abs().sum() > 0
    with pytest.raises(ValueError, match="1 transcripts for 2 items"):
        loss(["good"])
    with pytest.raises(ValueError, match="reads no transcript"):
        tiny_flow().loss(Batch(wav, wav, ["a", "b"]))


def test_guidance_pushes_away_from_no_text_and_no_audio() -> None:
    model, wav = tiny_text(), random_wav(1, 6000)
    plain = model.enhance(wav, text="good")
    assert torch.equal(model.enhance(wav, text="good", sampling=Sampling(steps=2, guidance=0.0)), plain)
    pushed = model.enhance(wav, text="good", sampling=Sampling(steps=2, guidance=2.0))
    assert not torch.allclose(pushed, plain, atol=1e-4)


# -- the output's level ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [100, 5000, 40000])
def test_each_result_has_its_level_over_whole_frames(samples: int) -> None:
    model = passthrough()
    plain = model.enhance(random_wav(2, samples))
    model.output_level = Level("rms", -25.0)
    out = model.enhance(torch.cat([random_wav(2, samples), torch.zeros(1, samples)]))
    whole = samples // model.target.hop_length * model.target.hop_length or samples
    for item in out[:2]:
        assert 20 * math.log10(item[:whole].square().mean().sqrt()) == pytest.approx(-25.0, abs=1e-3)
    assert not out[2].any()
    ratio = out[:2] / plain
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)


def test_the_input_s_level_plays_no_part_then() -> None:
    model = tiny_text(output_level=Level("peak"))
    wav = random_wav(1, 6000)
    out = model.enhance(wav)
    assert out[:, : 6000 // 128 * 128].abs().max() == pytest.approx(1.0)
    torch.testing.assert_close(model.enhance(0.01 * wav), out, rtol=0, atol=1e-3)
