"""Audio files whose headers and contents are wrong."""

from __future__ import annotations

import io

import pytest
import soundfile
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.folders import noise_like_speech
from tests.fuzz.mutations import mutated
from tests.fuzz.sandbox import Sandbox

SEEDS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "GSM610"), ("WAV", "ULAW"),
    ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_16"), ("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AIFF", "IMA_ADPCM"), ("AU", "PCM_16"), ("AU", "G723_24"),
    ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"),
    ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"), ("VOC", "PCM_16"), ("IRCAM", "PCM_16"), ("SVX", "PCM_16"),
    ("MAT4", "PCM_16"), ("MAT5", "PCM_16"), ("PVF", "PCM_16"), ("XI", "DPCM_16"), ("HTK", "PCM_16"), ("SDS", "PCM_16"),
    ("AVR", "PCM_16"), ("PAF", "PCM_16"), ("MPC2K", "PCM_16"),
]  # fmt: skip
COMMON = SEEDS[:22]


def whole(kind: str, subtype: str) -> bytes:
    """A good file of 1/8 s at 8 kHz."""
    buffer = io.BytesIO()
    soundfile.write(buffer, noise_like_speech(1000), 8000, format=kind, subtype=subtype)
    return buffer.getvalue()


def quiet(examples: int, *, fixed: bool) -> settings:
    """Settings of a run; `fixed` runs make the same examples every time."""
    return settings(
        max_examples=examples, deadline=None, database=None, derandomize=fixed,
        phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
    )  # fmt: skip


def survives(sandbox: Sandbox, content: bytes) -> None:
    """Reading must end well or in one line, and never with more samples than the limits allow."""
    kind, told = sandbox.run("audio", content, "hostile.mp3")
    if kind == "ok":
        frames, channels, rate = map(int, told.split())
        assert frames > 0
        assert 1 <= channels <= 64
        assert 1000 <= rate <= 768000
        assert frames * channels <= max(2**28, 250 * len(content))


def fuzz(sandbox: Sandbox, pairs: list[tuple[str, str]], examples: int, *, fixed: bool) -> None:
    good = [whole(*pair) for pair in pairs]

    @quiet(examples, fixed=fixed)
    @given(st.sampled_from(good).flatmap(mutated))
    def run(content: bytes) -> None:
        survives(sandbox, content)

    run()


def test_good_files_pass_the_sandbox(sandbox: Sandbox) -> None:
    """Otherwise the tests below would pass though nothing is read."""
    for pair in SEEDS:
        kind, told = sandbox.run("audio", whole(*pair), "good.wav")
        assert kind == "ok", (pair, told)


def test_mutated_files_are_read_or_refused(sandbox: Sandbox) -> None:
    fuzz(sandbox, COMMON, 500, fixed=True)


@pytest.mark.slow
@pytest.mark.parametrize("pair", SEEDS, ids="-".join)
def test_many_mutated_files_are_read_or_refused(sandbox: Sandbox, pair: tuple[str, str]) -> None:
    fuzz(sandbox, [pair], 2000, fixed=False)
