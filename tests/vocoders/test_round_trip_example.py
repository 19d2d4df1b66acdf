"""The example of a round trip runs offline with a vocoder's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import soundfile

from tests.parity.fixtures import load_parity
from tests.vocoders.published import write

EXAMPLE = Path(__file__).parents[2] / "examples" / "mel_round_trip.py"


def test_a_file_goes_round(tmp_path) -> None:
    folder = write(load_parity("vocos_small_same_padding"), tmp_path / "vocoder")
    command = [sys.executable, str(EXAMPLE), str(folder), str(EXAMPLE.with_name("clean.wav")), "again.wav"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "off by" in result.stdout
    out, rate = soundfile.read(tmp_path / "again.wav")
    given = soundfile.info(str(EXAMPLE.with_name("clean.wav")))
    assert rate == 24000
    assert len(out) == given.frames * 24000 // given.samplerate


def test_without_a_vocoder_it_says_how_it_is_used(tmp_path) -> None:
    result = subprocess.run([sys.executable, str(EXAMPLE)], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 1
    assert "python examples/mel_round_trip.py charactr/vocos-mel-24khz" in result.stderr
