"""Word errors per SNR and per weight of the input, with a recogniser whose errors are known in advance."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.evaluation.recognised import CLEAN, GIVEN, FileErrors, Recognition
from gense.evaluation.recognition import recognise, snr
from tests.evaluation.folders import RATE, write, write_set

TEXT = "one two three four five six seven eight nine ten"


class Threshold:
    """Hears the ten words of TEXT but one for every 0.01 by which the mean of the samples is away from its liking."""

    def __init__(self, liking: float):
        self.liking, self.calls = liking, 0

    def __call__(self, wav: np.ndarray, sample_rate: int) -> str:
        self.calls += 1
        assert sample_rate == RATE
        assert wav.dtype == np.float32
        wrong = min(10, round(abs(float(wav.mean()) - self.liking) / 0.01))
        return " ".join(["wrong"] * wrong + TEXT.split()[wrong:])


@pytest.fixture
def levels(tmp_path: Path) -> Path:
    """Two files whose means are 0 enhanced, 0.1 noisy and 0.03 clean."""
    wiggle = np.tile([0.3, -0.3], 2000)
    for name in ("a", "b"):
        for what, mean in (("out", 0.0), ("noisy", 0.1), ("clean", 0.03)):
            write(tmp_path / what / f"{name}.wav", wiggle + mean)
    return tmp_path


def of(folder: Path, recogniser, **options) -> Recognition:
    clean = folder / "clean" if (folder / "clean").exists() else None
    return recognise(folder / "out", folder / "noisy", clean, recogniser=recogniser, **options)


def test_errors_are_counted_on_the_mixtures_and_the_best_is_recommended(levels: Path):
    found = of(levels, Threshold(0.03), transcripts={"a": TEXT, "b": TEXT})
    assert found.reference == GIVEN
    assert found.weights == tuple(pytest.approx(0.1 * index) for index in range(11))
    for file in found.files:
        assert file.words == 10
        assert list(file.errors.values()) == [3, 2, 1, 0, 1, 2, 3, 4, 5, 6, 7]
        assert file.heard[0.3] == TEXT
    assert found.wer(1.0).mean == 0.7
    assert found.wer(0.0).mean == 0.3
    advice = found.advice()
    assert advice.weight == 0.3
    assert advice.wer.mean == advice.held_out == 0.0
    assert advice.less_than_noisy.mean == -0.7
    assert advice.less_than_enhanced.mean == -0.3
    assert advice.sentences()[0] == "mix the input back with w = 0.3: 0.3 noisy + 0.7 enhanced"


def test_without_transcripts_the_clean_file_as_heard_takes_their_place(levels: Path):
    recogniser = Threshold(0.0)  # hears three words wrong in clean files
    found = of(levels, recogniser, weights=[0.5])
    assert found.reference == CLEAN
    assert found.weights == (0.0, 0.5, 1.0)
    assert recogniser.calls == 2 * 4
    assert found.files[0].reference.startswith("wrong wrong wrong four")
    assert list(found.files[0].errors.values()) == [3, 2, 7]


def test_a_recogniser_that_prefers_the_input_is_given_the_input(levels: Path):
    advice = of(levels, Threshold(0.1), transcripts={"a": TEXT, "b": TEXT}).advice()
    assert advice.weight == 1.0
    assert "give the recogniser the noisy input" in advice.sentences()[0]
    advice = of(levels, Threshold(0.0), transcripts={"a": TEXT, "b": TEXT}).advice()
    assert advice.weight == 0.0
    # Of equal weights the one that changes the recording least
    assert of(levels, lambda wav, rate: TEXT, transcripts={"a": TEXT, "b": TEXT}).advice().weight == 1.0


def test_what_may_be_chance_is_said_to_be():
    def files(gain: int) -> list[FileErrors]:
        """Twenty files on which w = 0.5 spares `gain` errors on every second one, and costs one on the others."""
        return [
            FileErrors(f"{i}", None, 20, {0.0: 5, 0.5: 5 - gain if i % 2 else 6, 1.0: 9}, "", {}) for i in range(20)
        ]

    weights = (0.0, 0.5, 1.0)
    doubtful, clear = (Recognition(files(gain), {}, weights).advice() for gain in (2, 5))
    assert doubtful.weight == clear.weight == 0.5
    assert doubtful.less_than_enhanced.low < 0 < doubtful.less_than_enhanced.high
    assert any("the gain over enhanced speech as it is may be chance" in line for line in doubtful.sentences())
    assert clear.less_than_enhanced.high < 0
    assert not any("may be chance" in line for line in clear.sentences())
    # Three files that all gain by 0.5 and lose by 1 cannot show anything: with all signs turned, 1 would be as good
    few = Recognition(files(5)[1:6:2], {}, weights).advice()
    assert few.less_than_enhanced.high < 0
    assert few.p_enhanced == 2 / 8
    assert any("may be chance (p = 0.25)" in line for line in few.sentences())


def test_the_rate_that_flatters_itself_is_held_against_one_of_files_not_used():
    # Of two files each is best at another weight: chosen without it, every file gets the other's
    files = [
        FileErrors("a", None, 10, {0.0: 0, 1.0: 4}, "", {}),
        FileErrors("b", None, 10, {0.0: 5, 1.0: 0}, "", {}),
    ]
    advice = Recognition(files, {}, (0.0, 1.0)).advice()
    assert advice.wer.mean == 0.2
    assert advice.held_out == 0.45


def test_files_fall_into_bins_of_their_snr():
    ends = {-60.0: -20, -3.0: -5, 0.0: 0, 4.99: 0, 5.0: 5, 41.0: 40, math.inf: 40}
    files = [FileErrors(f"{snr}", snr, 10, {0.0: 1, 1.0: 2}, "", {}) for snr in (*ends, math.nan)]
    files.append(FileErrors("no clean", None, 10, {0.0: 1, 1.0: 2}, "", {}))
    bins = Recognition(files).bins()
    assert {low: len(found) for low, found in bins.items()} == {-20: 1, -5: 1, 0: 2, 5: 1, 40: 2}
    assert Recognition(files).wer(1.0, bins[0]).mean == 0.2


@pytest.mark.parametrize("wanted", [-5.0, 0.0, 12.0])
def test_the_snr_is_that_of_active_speech_whatever_the_gain(clip, wanted: float):
    speech = clip.clean[: 4 * RATE].astype(np.float64)
    noise = np.random.default_rng(0).normal(size=speech.size)
    frames = (speech.reshape(-1, 320) ** 2).mean(axis=1)
    active = frames[frames > 1e-3 * np.percentile(frames, 95)].mean()
    noisy = speech + noise * math.sqrt(active / np.mean(noise**2)) * 10 ** (-wanted / 20)
    assert snr(speech, noisy, RATE) == pytest.approx(wanted, abs=0.15)
    assert snr(speech, 0.1 * noisy, RATE) == pytest.approx(snr(speech, noisy, RATE), abs=1e-6)
    padded = np.concatenate([speech, np.zeros(4 * RATE)])  # pauses do not count
    assert snr(padded, np.concatenate([noisy, noise * 0]), RATE) == pytest.approx(wanted + 3, abs=0.2)


def test_the_ends_of_the_snr(clip):
    speech = clip.clean[:RATE]
    assert snr(speech, 0.5 * speech, RATE) == math.inf
    assert math.isnan(snr(0 * speech, speech, RATE))


def test_files_that_cannot_be_counted_are_listed(levels: Path):
    (levels / "noisy" / "b.wav").write_bytes(b"broken")
    found = of(levels, Threshold(0.0), transcripts={"a": TEXT, "b": TEXT})
    assert [file.name for file in found.files] == ["a"]
    assert "cannot be read as audio" in found.failed["b"]
    assert of(levels, Threshold(0.0), transcripts={"b": TEXT}).failed["a"] == "no transcript"
    deaf = of(levels, lambda wav, rate: "")
    assert "finds no words in the clean file" in deaf.failed["a"]
    with pytest.raises(ValueError, match="nothing to advise from"):
        deaf.advice()


def test_what_is_refused(levels: Path):
    with pytest.raises(ValueError, match="neither transcripts nor clean"):
        recognise(levels / "out", levels / "noisy", recogniser=Threshold(0.0))
    with pytest.raises(ValueError, match=r"weights=\(0\.5, 2\)"):
        of(levels, Threshold(0.0), weights=(0.5, 2))


def test_a_second_run_takes_over_what_the_first_has_heard(levels: Path, tmp_path: Path):
    path = tmp_path / "words.csv"
    recogniser = Threshold(0.03)
    options = {"weights": (0.25,), "output": path, "name": "threshold"}
    first = of(levels, recogniser, **options)
    assert recogniser.calls == 8
    assert of(levels, recogniser, **options) == first
    assert recogniser.calls == 8
    write(levels / "out" / "b.wav", 0.5 * soundfile.read(levels / "out" / "b.wav")[0])
    of(levels, recogniser, **options)
    assert recogniser.calls == 12
    of(levels, recogniser, **{**options, "name": "another"})
    assert recogniser.calls == 20
    assert path.read_text().startswith("file,snr_db,words,errors_0,errors_0.25,errors_1,reference,heard_0,")


def test_channels_are_mixed_down(levels: Path):
    for what in ("out", "noisy"):
        wav = soundfile.read(levels / what / "a.wav")[0]
        write(levels / what / "a.wav", np.stack([wav, -wav], 1))
    found = of(levels, Threshold(0.02), weights=(0.5,), transcripts={"a": TEXT, "b": TEXT})
    assert found.files[0].errors == {0.0: 2, 0.5: 2, 1.0: 2}


def test_a_real_recogniser_hears_the_noise(tmp_path: Path):
    pytest.importorskip("pocketsphinx")
    from gense.metrics.asr import recogniser

    folder = write_set(tmp_path, count=1, seconds=4.0, left=0.0)
    found = of(folder, recogniser("pocketsphinx"), weights=())
    (file,) = found.files
    assert file.words >= 4
    assert file.errors[0.0] == 0  # the enhanced file is the clean one
    assert file.errors[1.0] > 0
