"""`CodecTokens` against the models of `transformers` themselves: codes and waveforms are theirs, bit for bit."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("transformers", reason="needs gense[hub]")

from gense import Enhancer
from gense.audio import Level
from gense.chunking import Chunking
from gense.representations import CodecTokens
from tests.representations.codecs import DAC, ENCODEC, KINDS, MIMI, saved, scatter, speech
from tests.tiny_tokens import NoisyTokens

HOPS = {"encodec": 20, "dac": 8, "mimi": 40}
# How each model is called directly: waveforms (B, 1, S) that fill whole frames -> codes (B, K, T) -> (B, S)
ENCODE: dict[str, Callable[[Any, Tensor, int], Tensor]] = {
    "encodec": lambda model, wav, k: model.encode(wav, bandwidth={2: 12.0, 4: 24.0}[k]).audio_codes[0],
    "dac": lambda model, wav, k: model.encode(wav, n_quantizers=k).audio_codes,
    "mimi": lambda model, wav, k: model.encode(wav, num_quantizers=k).audio_codes,
}
DECODE: dict[str, Callable[[Any, Tensor], Tensor]] = {
    "encodec": lambda model, codes: model.decode(codes[None], [None]).audio_values[:, 0],
    "dac": lambda model, codes: model.decode(audio_codes=codes).audio_values,
    "mimi": lambda model, codes: model.decode(codes).audio_values[:, 0],
}


def fresh(kind: str, **settings: Any) -> CodecTokens:
    tokens = CodecTokens(KINDS[kind], **settings)
    scatter(tokens.codec)
    return tokens


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("codebooks", [2, 4])
@pytest.mark.parametrize("items", [1, 3])
@torch.no_grad()
def test_codes_and_waveforms_are_those_of_the_model_itself(kind: str, items: int, codebooks: int, tmp_path) -> None:
    model = saved(kind, tmp_path)
    tokens = CodecTokens(str(tmp_path), codebooks=codebooks)
    wav = speech(items, 25 * HOPS[kind])
    codes = tokens.encode(wav)
    assert codes.dtype == torch.int64
    assert codes.shape == (items, codebooks, 25)
    assert torch.equal(codes, ENCODE[kind](model, wav[:, None], codebooks))
    assert min(len(codes[:, k].unique()) for k in range(codebooks)) >= 3, "the codes hardly differ: this shows nothing"
    expected = DECODE[kind](model, codes)
    assert expected.abs().max() > 1e-3
    assert torch.equal(tokens.decode(codes, wav.shape[-1]), expected)


def test_the_end_of_a_waveform_is_filled_up_as_the_model_does_it(kind: str, tmp_path) -> None:
    """EnCodec and Mimi do it themselves; DAC leaves it to its feature extractor, which adds zeros."""
    model = saved(kind, tmp_path)
    wav, hop = speech(2, 10 * HOPS[kind] + 3), HOPS[kind]
    whole = torch.nn.functional.pad(wav, (0, hop - 3)) if kind == "dac" else wav
    with torch.no_grad():
        expected = ENCODE[kind](model, whole[:, None], 4)
    codes = CodecTokens(str(tmp_path)).encode(wav)
    assert codes.shape[-1] == 11
    assert torch.equal(codes, expected)


@pytest.mark.parametrize("extra", [1, 7, -1, 0])
def test_a_frame_for_every_hop_begun_and_any_length_back(kind: str, extra: int) -> None:
    tokens = fresh(kind)
    samples = 6 * tokens.hop_length + extra
    codes = tokens.encode(speech(2, samples))
    assert codes.shape == (2, tokens.codebooks, 6 + (extra > 0)) == (2, 4, tokens.frames(samples))
    back = tokens.decode(codes, samples)
    assert back.shape == (2, samples)
    longer = tokens.decode(codes, samples + 5 * tokens.hop_length)
    assert torch.equal(longer[:, :samples], back)
    assert not longer[:, codes.shape[-1] * tokens.hop_length :].any()


def test_a_single_sample_is_a_frame(kind: str) -> None:
    tokens = fresh(kind)
    codes = tokens.encode(torch.full((1, 1), 0.5))
    assert codes.shape == (1, 4, 1)
    assert tokens.decode(codes, 1).isfinite().all()


def test_two_items_are_as_each_alone(kind: str) -> None:
    """Neither a mask nor the neighbour, even a silent or a loud one, changes an item."""
    tokens = fresh(kind)
    quiet, loud, silent = 0.01 * speech(1, 500), speech(1, 500, seed=2), torch.zeros(1, 500)
    together = tokens.encode(torch.cat([quiet, loud, silent]))
    alone = [tokens.encode(one) for one in (quiet, loud, silent)]
    assert torch.equal(together, torch.cat(alone))
    back = tokens.decode(together, 500)
    torch.testing.assert_close(back, torch.cat([tokens.decode(one, 500) for one in alone]), atol=1e-3, rtol=0)


def test_numbers_of_each_kind(kind: str) -> None:
    tokens = fresh(kind)
    assert tokens.hop_length == tokens.codec_hop == HOPS[kind]
    assert tokens.sample_rate == tokens.codec_rate == KINDS[kind]["sampling_rate"]
    assert tokens.frame_rate == tokens.sample_rate / tokens.hop_length
    assert (tokens.codebooks, tokens.vocabulary, tokens.hop_frames) == (4, 32, 1)


def test_published_sizes_have_their_published_frames_and_bandwidths() -> None:
    """EnCodec at 24 kHz: 75 frames a second of up to 32 codebooks, 24 kbit/s; DAC at 44.1 kHz: 9 of 512 samples; Mimi:
    12.5 frames a second, 1.1 kbit/s with 8 codebooks (their papers)."""
    with torch.device("meta"):
        encodec, dac = CodecTokens({"model_type": "encodec"}), CodecTokens(
            {"model_type": "dac", "sampling_rate": 44100, "downsampling_ratios": [2, 4, 8, 8]}
        )
        mimi = CodecTokens({"model_type": "mimi"}, bandwidth=1.1)
        counts = [CodecTokens({"model_type": "encodec"}, bandwidth=b).codebooks for b in (1.5, 3.0, 6.0, 12.0, 24.0)]
    assert (encodec.frame_rate, encodec.hop_length, encodec.codebooks, encodec.vocabulary) == (75, 320, 32, 1024)
    assert (dac.hop_length, dac.codebooks, dac.vocabulary) == (512, 9, 1024)
    assert (mimi.frame_rate, mimi.hop_length, mimi.codebooks, mimi.vocabulary) == (12.5, 1920, 8, 2048)
    assert counts == [2, 4, 8, 16, 32]


def test_fewer_codebooks_are_the_first_of_all(kind: str) -> None:
    """Also a number that none of EnCodec's bandwidths has."""
    whole, wav = fresh(kind).encode(speech(2, 400)), speech(2, 400)
    for codebooks in (1, 2, 3):
        assert torch.equal(fresh(kind, codebooks=codebooks).encode(wav), whole[:, :codebooks])


def test_bandwidth_counts_whole_codebooks() -> None:
    # 24000 / 20 frames a second, 5 bits each: 6 kbit/s a codebook
    assert [CodecTokens(ENCODEC, bandwidth=b).codebooks for b in (1.0, 6.0, 11.9, 12.0, 24.0)] == [1, 1, 1, 2, 4]
    with pytest.raises(ValueError, match="all 4 codebooks have 24 kbit/s"):
        CodecTokens(ENCODEC, bandwidth=30.0)
    with pytest.raises(ValueError, match="give one of them"):
        CodecTokens(ENCODEC, bandwidth=6.0, codebooks=1)
    with pytest.raises(ValueError, match="expected kbit/s"):
        CodecTokens(ENCODEC, bandwidth=0.0)


def test_the_codec_is_frozen_and_stays_in_use(kind: str) -> None:
    """In training mode, DAC would drop codebooks at random."""
    tokens = fresh(kind)
    wav = speech(2, 400)
    before = tokens.encode(wav)
    tokens.train()
    assert not any(module.training for module in tokens.modules())
    assert torch.equal(tokens.encode(wav), before)
    assert not any(p.requires_grad for p in tokens.parameters())


def test_half_precision_does_not_reach_the_codes(kind: str) -> None:
    tokens = fresh(kind)
    wav = speech(2, 400)
    codes = tokens.encode(wav)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(tokens.encode(wav), codes)
        half = tokens.decode(codes, 400)
    assert half.dtype == torch.float32
    assert torch.equal(half, tokens.decode(codes, 400))


def test_a_folder_is_loaded_once_and_never_shared(tmp_path) -> None:
    """Moving one codec, or putting other weights into it, must leave the other as it is."""
    saved("encodec", tmp_path)
    one, other = CodecTokens(str(tmp_path)), CodecTokens(str(tmp_path))
    codes = other.encode(speech(1, 400))
    for parameter in one.parameters():
        parameter.zero_()
    assert torch.equal(other.encode(speech(1, 400)), codes)


def test_weights_go_into_a_fresh_one_by_name(kind: str) -> None:
    """As when a trained method, which holds its codec, is loaded from its folder."""
    source, fresh_one = fresh(kind), CodecTokens(KINDS[kind])
    fresh_one.load_state_dict(source.state_dict())
    wav = speech(1, 400)
    assert torch.equal(fresh_one.encode(wav), source.encode(wav))


def test_pickled_code_is_refused(tmp_path: Path) -> None:
    """Tensors alone are read of a checkpoint that is no safetensors file."""
    import os

    saved("encodec", tmp_path)
    (tmp_path / "model.safetensors").unlink()

    class Harmful:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "was run"),)

    with open(tmp_path / "pytorch_model.bin", "wb") as file:
        pickle.dump({"decoder.layers.0.conv.bias": Harmful()}, file, protocol=2)
    with pytest.raises(ValueError, match="refused: a pickle that holds more than tensors"):
        CodecTokens(str(tmp_path))
    assert not (tmp_path / "was run").exists()


@pytest.mark.parametrize(
    ("codec", "message"),
    [
        ({"model_type": "wavlm"}, "model_type 'wavlm': expected one of encodec, dac, mimi"),
        ({"sampling_rate": 24000}, "model_type None"),
        ({**ENCODEC, "upsampling_ratio": [2]}, "no field 'upsampling_ratio'; nearest: 'upsampling_ratios'"),
        ({**ENCODEC, "num_filters": "many"}, "no encodec has these values"),
        ({**ENCODEC, "audio_channels": 2, "normalize": True, "chunk_length_s": 1.0}, "audio_channels=2, norm"),
        ({**MIMI, "audio_channels": 2}, "audio_channels=2: expected 1"),
        ("no/such/folder/of/mine", "no such folder"),
    ],
)
def test_what_is_no_codec_is_refused(codec, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message):
        CodecTokens(codec)


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(ValueError, match="this codec gives 1 to 4"):
        CodecTokens(DAC, codebooks=5)
    with pytest.raises(ValueError, match="this codec gives 2 to 4"):
        CodecTokens({**MIMI, "num_semantic_quantizers": 2}, codebooks=1)
    with pytest.raises(ValueError, match="input_rate=0"):
        CodecTokens(ENCODEC, input_rate=0)
    with pytest.raises(ValueError, match="a configuration has none"):
        CodecTokens(ENCODEC, revision="main")


def test_tokens_that_are_none_of_this_codec_are_refused() -> None:
    tokens = fresh("encodec", codebooks=2)
    with pytest.raises(TypeError, match="expected int64"):
        tokens.decode(torch.zeros(1, 2, 3), 60)
    for wrong in (torch.zeros(2, 3), torch.zeros(1, 5, 3), torch.zeros(1, 2, 0)):
        with pytest.raises(ValueError, match=r"expected \(batch, 2, frames\)"):
            tokens.decode(wrong.long(), 60)
    for id in (-1, 32):
        with pytest.raises(ValueError, match=r"expected ids in \[0, 32\)"):
            tokens.decode(torch.full((1, 2, 3), id), 60)
    with pytest.raises(ValueError, match="samples not 0"):
        tokens.encode(torch.zeros(1, 0))


def test_another_rate_is_refused_or_resampled(kind: str) -> None:
    tokens = fresh(kind)
    with pytest.raises(ValueError, match=f"works at {tokens.sample_rate} Hz, the enhancer at 16000"):
        Enhancer({"codec": tokens}, NoisyTokens(), sample_rate=16000)
    at16 = fresh(kind, input_rate=16000)
    assert at16.hop_length * at16.frame_rate == at16.hop_frames * 16000
    for samples in (1, at16.hop_length, 4 * at16.hop_length + 1):
        codes = at16.encode(speech(2, samples))
        assert codes.shape[-1] == at16.frames(samples)
        assert at16.decode(codes, samples).shape == (2, samples)
    assert at16.frames(3 * at16.hop_length) == 3 * at16.hop_frames


def test_a_tone_keeps_its_pitch_through_resampling(monkeypatch) -> None:
    """With a codec that changes nothing, what comes back at 16 kHz is what went in."""
    tokens = fresh("encodec", input_rate=16000)
    kept: list[Tensor] = []
    monkeypatch.setattr(tokens.codec, "encode", lambda wav, k: (kept.append(wav), torch.zeros(1, 4, 1).long())[1])
    monkeypatch.setattr(tokens.codec, "decode", lambda codes: kept[0])
    tone = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(1600) / 16000)[None]
    back = tokens.decode(tokens.encode(tone), 1600)
    assert kept[0].shape == (1, 2400)
    torch.testing.assert_close(back[:, 100:-100], tone[:, 100:-100], atol=5e-3, rtol=0)


@pytest.mark.parametrize("rate", [None, 16000])
def test_an_enhancer_that_changes_no_token_is_the_codec(kind: str, rate: int | None) -> None:
    """Whole inputs are exactly the codec's; cut ones join at whole frames and keep their length."""
    tokens = fresh(kind, input_rate=rate)
    level = Level("none")
    whole = Enhancer({"codec": tokens}, NoisyTokens(), sample_rate=tokens.sample_rate, level=level).eval()
    samples = 20 * tokens.hop_length + 11
    wav = speech(2, samples)
    expected = torch.cat([tokens.decode(tokens.encode(item[None]), samples) for item in wav])
    torch.testing.assert_close(whole.enhance(wav), expected, atol=1e-6, rtol=0)
    chunking = Chunking(8 * tokens.hop_length / tokens.sample_rate, 2 * tokens.hop_length / tokens.sample_rate, 2)
    cut = Enhancer({"codec": tokens}, NoisyTokens(), sample_rate=tokens.sample_rate, level=level, chunking=chunking)
    joined = cut.eval().enhance(wav)
    assert joined.shape == wav.shape
    assert joined.isfinite().all()


