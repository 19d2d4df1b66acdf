"""Audio from file objects and paths, block by block."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense import audio
from gense.opening import AudioFile
from tests.folders import noise_like_speech
from tests.test_audio import FORMATS
from tests.test_audio import write as write_file


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
def test_a_file_object_gives_what_the_path_gives(tmp_path: Path, suffix: str, subtype: str) -> None:
    path = write_file(tmp_path / f"a.{suffix}", noise_like_speech(8000, channels=2).T, 16000, subtype)
    expected, rate = audio.read(path)
    # soundfile seeks after reading, which changes the last bits of MP3
    np.testing.assert_allclose(expected, soundfile.read(path, dtype="float32", always_2d=True)[0], rtol=0, atol=1e-7)
    memory = io.BytesIO(path.read_bytes())
    memory.seek(100)
    with path.open("rb") as file:
        for source in (memory, file):
            wav, given = audio.read(source)
            np.testing.assert_array_equal(wav, expected)
            assert given == rate
            assert not source.closed


@pytest.mark.parametrize(("suffix", "subtype"), FORMATS)
@pytest.mark.parametrize("frames", [1, 997, 8000, 9000])
def test_blocks_join_to_the_whole_bit_by_bit(tmp_path: Path, suffix: str, subtype: str, frames: int) -> None:
    count = 8000 if frames > 1 else 300
    path = write_file(tmp_path / f"a.{suffix}", noise_like_speech(count, channels=2).T, 16000, subtype)
    with AudioFile(path) as file:
        assert (file.rate, file.channels, file.frames, file.size) == (16000, 2, count, path.stat().st_size)
        blocks = list(file.blocks(frames))
    assert {len(block) for block in blocks[:-1]} <= {frames}
    np.testing.assert_array_equal(np.concatenate(blocks), audio.read(path)[0])


def test_bad_file_objects_are_told_by_name() -> None:
    for content, message in ((b"", r"x\.ogg: the file is empty"), (b"no audio", r"x\.ogg: cannot be read as audio")):
        with pytest.raises(ValueError, match=message):
            audio.read(io.BytesIO(content), name="x.ogg")
    with pytest.raises(ValueError, match="audio: cannot be read as audio"):
        audio.read(io.BytesIO(b"no audio"))
    with pytest.raises(TypeError, match="x is a file opened as text: open it as binary"):
        audio.read(io.StringIO("text"), name="x")  # type: ignore[arg-type]

    class Pipe(io.BytesIO):
        def seek(self, *args: int) -> int:
            raise io.UnsupportedOperation("seek")

    with pytest.raises(ValueError, match=r"x cannot seek: read it into io\.BytesIO first"):
        audio.read(Pipe(b"RIFF"), name="x")


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt()])
@pytest.mark.parametrize("good", [0, 3])
def test_errors_of_the_file_object_come_through(tmp_path: Path, error: BaseException, good: int) -> None:
    """They arise inside libsndfile's C code, which would take them for the end of the file."""
    path = write_file(tmp_path / "a.flac", noise_like_speech(64000), 16000, "PCM_16")

    class Failing(io.BytesIO):
        left = good

        def read(self, *args: int | None) -> bytes:
            self.left -= 1
            if self.left < 0:
                raise error
            return super().read(*args)

    with pytest.raises(type(error)):
        audio.read(Failing(path.read_bytes()))


@pytest.mark.parametrize("suffix", [".au", ".snd", ".vox", ".gsm", ".raw", ".wav"])
def test_the_name_does_not_make_text_into_sound(tmp_path: Path, suffix: str) -> None:
    """libsndfile takes any bytes for sound without a header where the name ends in one of these."""
    path = tmp_path / f"a{suffix}"
    path.write_text("hello " * 1000)
    with pytest.raises(ValueError, match=r"cannot be read as audio \(Format not recognised\)"):
        audio.read(path)


@pytest.mark.parametrize("junk", [bytes(10), bytes(1000), b"HTTP/1.0 200 OK\r\n\r\n"])
def test_mp3_may_begin_behind_junk(tmp_path: Path, junk: bytes) -> None:
    path = write_file(tmp_path / "a.mp3", noise_like_speech(16000), 16000, "MPEG_LAYER_III")
    whole = path.read_bytes()
    expected = audio.read(path)[0]
    path.write_bytes(junk + whole)
    np.testing.assert_array_equal(audio.read(path)[0], expected)
    np.testing.assert_array_equal(audio.read(io.BytesIO(junk + whole), name="A.MP3")[0], expected)


def test_a_sample_format_is_kept_from_a_file_object(tmp_path: Path) -> None:
    source = write_file(tmp_path / "a.wav", noise_like_speech(800), 16000, "PCM_24")
    with source.open("rb") as file:
        target = audio.write(tmp_path / "b.flac", noise_like_speech(800), 16000, like=file)
    assert soundfile.info(target).subtype == "PCM_24"
