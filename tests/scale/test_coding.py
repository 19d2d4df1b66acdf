"""Audio in bytes: formats kept, equal bytes for equal samples."""

from __future__ import annotations

import io
import time

import numpy as np
import pytest
import soundfile

from gense.scale.coding import decode, encode, steady, suffix_of

from .corpora import RATE, sound, speech

KINDS = [
    ("x.wav", "PCM_16"), ("x.wav", "PCM_24"), ("x.WAV", "FLOAT"), ("x.wav", "DOUBLE"), ("x.flac", "PCM_24"),
    ("x.ogg", "VORBIS"), ("x.opus", "OPUS"), ("x.mp3", "MPEG_LAYER_III"), ("x.aiff", "PCM_16"), ("x.aif", "FLOAT"),
    ("x.w64", "PCM_16"), ("x.caf", "FLOAT"), ("x.caf", "ALAC_16"), ("x.au", "FLOAT"),
]  # fmt: skip
FORMATS = {"aif": "AIFF", "opus": "OGG"}


def like(key: str, subtype: str) -> bytes:
    suffix = key.rpartition(".")[2].lower()
    return sound(1, format=FORMATS.get(suffix, suffix.upper()), subtype=subtype)


@pytest.mark.parametrize(("key", "subtype"), KINDS)
def test_the_format_of_the_input_is_kept_and_time_leaves_no_trace(
    key: str, subtype: str
) -> None:
    original = like(key, subtype)
    first = encode(speech(2, channels=1), RATE, key, like=original)
    if b"PEAK" in original:  # which holds the second in which it was written
        time.sleep(1.01 - time.time() % 1)
    assert encode(speech(2, channels=1), RATE, key, like=original) == first
    assert soundfile.info(io.BytesIO(first)).subtype == subtype
    assert f".{key.rpartition('.')[2].lower()}".replace(".aif", ".aiff").replace(".aifff", ".aiff") == suffix_of(first)
    wav, rate = decode(first, key)
    assert wav.shape == (1600, 1)
    assert rate == RATE
    lossy = subtype in ("VORBIS", "OPUS", "MPEG_LAYER_III")
    assert np.abs(wav - speech(2)).max() < (0.3 if lossy else 2**-15)


@pytest.mark.parametrize(("key", "subtype"), [("x.wav", "FLOAT"), ("x.aiff", "DOUBLE"), ("x.ogg", "VORBIS")])
def test_what_is_taken_out_is_no_sound(key: str, subtype: str) -> None:
    """libsndfile, which checks the sums of Ogg pages, reads the same samples before and after."""
    whole = like(key, subtype)
    assert steady(whole) != whole
    assert steady(steady(whole)) == steady(whole)
    before, after = (soundfile.read(io.BytesIO(data), dtype="float32")[0] for data in (whole, steady(whole)))
    assert np.array_equal(before, after)


def test_a_sum_of_an_ogg_page_that_is_wrong_loses_sound() -> None:
    """What makes the test above one of the checksums: a page whose sum does not fit is not played."""
    whole = bytearray(steady(sound(1, 16000, format="OGG")))
    last = whole.rindex(b"OggS")
    whole[last + 22] ^= 1
    with pytest.raises(ValueError, match="cut off"):
        decode(bytes(whole), "x.ogg")


def test_a_chunk_that_ends_nowhere_is_left_alone() -> None:
    for data in (b"RIFF", b"RIFF\xff\xff\xff\xffWAVEjunk\xff\xff\xff\xff", b"OggS", b"OggS" + bytes(20), b""):
        assert steady(data) == data


def test_other_formats_and_full_scale() -> None:
    loud = np.full((800, 2), 1.5, np.float32)
    wav, _ = decode(encode(loud, 8000, "a/b.flac", like=sound(1)), "b.flac")
    assert wav.shape == (800, 2)
    assert np.abs(wav - 1).max() < 1e-4


def test_what_cannot_be_written_or_read() -> None:
    with pytest.raises(ValueError, match=r"x\.mp3: cannot be written as MP3 .* at 384000 Hz with 1 channels"):
        encode(speech(1), 384000, "x.mp3")
    with pytest.raises(ValueError, match="unknown audio format"):
        encode(speech(1), RATE, "x.txt")
    with pytest.raises(ValueError, match=r"shard/x\.wav: cannot be read as audio"):
        decode(b"nonsense" * 100, "shard/x.wav")
    with pytest.raises(ValueError, match="cut off"):
        decode(sound(1)[:-100], "x.wav")
    assert suffix_of(b"nonsense") == ".wav"
