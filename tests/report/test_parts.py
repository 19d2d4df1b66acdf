"""Axes, figures and pictures of reports."""

from __future__ import annotations

import base64
import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile

from gense.report.axes import axis_for
from gense.report.media import excerpt
from gense.report.numbers import decimals_of, number, probability, significant
from gense.report.plots import Dot, pareto
from tests.report.made import sound


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("values", [[1.0, 4.5], [0.003, 0.9], [7.0], [1.0, 100000.0], [0.5, 0.5 + 1e-12]])
def test_axis_holds_its_values_and_has_ticks(values: list[float], log: bool) -> None:
    axis = axis_for(values, 200, 10, log=log)
    places = [axis(value) for value in values]
    assert all(10 <= place <= 200 for place in places)
    assert places == sorted(places, reverse=True)
    ticks = axis.ticks()
    assert 1 <= len(ticks) <= 5
    assert all(10 - 1e-6 <= place <= 200 + 1e-6 for place, _ in ticks)
    assert len({label for _, label in ticks}) == len(ticks)


def test_ticks_stand_where_they_say() -> None:
    for axis in (axis_for([-3.0, 12.0], 0, 100), axis_for([0.02, 3.0], 0, 100, log=True)):
        for place, label in axis.ticks():
            assert axis(float(label.replace("−", "-"))) == pytest.approx(place)


@pytest.mark.parametrize(
    ("value", "decimals", "signed", "shown"),
    [
        (1.005, 2, True, "+1.00"), (-0.25, 2, False, "−0.25"), (-0.001, 2, True, "0.00"), (math.nan, 2, True, "–"),
        (-math.inf, 1, False, "−∞"), (12.34, 1, False, "12.3"),
    ],
)  # fmt: skip
def test_number(value: float, decimals: int, signed: bool, shown: str) -> None:
    assert number(value, decimals, signed=signed) == shown


def test_digits_suit_the_size() -> None:
    assert [decimals_of(values) for values in ([0.9, -1.0], [4.5, math.nan], [-12.0], [])] == [3, 2, 1, 3]
    assert [significant(v) for v in (0.0312, 1.25, 33.0, 0.0)] == ["0.031", "1.2", "33", "0"]
    assert [probability(p) for p in (0.0004, 0.0304, math.nan)] == ["< 0.001", "0.030", "–"]


def test_front_is_a_staircase_through_its_dots() -> None:
    dots = [Dot(0, 1, 1.0, ""), Dot(1, 2, 2.0, ""), Dot(2, 4, 1.5, "")]
    drawing = pareto("q", "calls", dots, [0, 1])
    path = drawing.split('class="front" d="')[1].split('"')[0]
    start, rest = path[1:].split("H", 1)
    corner, end = rest.split("V")
    dots_drawn = [part.split("m")[0] for part in drawing.split(' d="M')[1:] if "m-4,0" in part]
    assert dots_drawn[0] == start
    assert dots_drawn[1] == f"{corner},{end.split('H')[0]}"


def picture(uri: str) -> np.ndarray:
    """Brightness of a picture, rows from the top."""
    image = pytest.importorskip("PIL.Image")
    kind, data = uri.split(",")
    assert kind == "data:image/png;base64"
    return np.asarray(image.open(BytesIO(base64.b64decode(data))).convert("L"), dtype=float)


def test_picture_shows_the_tone_where_it_is(tmp_path: Path) -> None:
    """440 Hz of 8 kHz is 5.5 % up; the burst of noise from 0.3 s on fills all frequencies of the noisy input alone."""
    found = excerpt({
        "noisy": sound(tmp_path / "n.wav", 2, burst=0.5), "enhanced": sound(tmp_path / "e.wav", 2), "clean": None,
    })  # fmt: skip
    noisy, enhanced = (picture(found.panels[name].picture) for name in ("noisy", "enhanced"))
    assert noisy.shape == enhanced.shape == (192, 251)
    assert abs(1 - enhanced.mean(axis=1).argmax() / 192 - 0.055) < 0.01
    high = noisy[:96]
    assert high[:, 80:180].mean() > high[:, 195:].mean() + 50
    assert found.seconds == found.whole == 2
    assert found.kilohertz == 8


def test_pictures_share_axes_over_rates_and_lengths(tmp_path: Path) -> None:
    found = excerpt({"noisy": sound(tmp_path / "n.wav", 1, rate=8000), "enhanced": sound(tmp_path / "e.wav", 2)})
    noisy, enhanced = (picture(found.panels[name].picture) for name in ("noisy", "enhanced"))
    assert noisy.shape == enhanced.shape
    assert abs(int(noisy.mean(axis=1).argmax()) - int(enhanced.mean(axis=1).argmax())) <= 1
    assert noisy[:, 140:].max() == noisy.min()
    assert found.kilohertz == 8
    assert found.panels["noisy"].seconds == 1


def test_sound_is_what_was_in_the_file(tmp_path: Path) -> None:
    path = sound(tmp_path / "n.wav", 0.5, burst=0.1)
    panel = excerpt({"noisy": path}).panels["noisy"]
    wave, rate = soundfile.read(BytesIO(base64.b64decode(panel.audio.split(",")[1])))
    expected, expected_rate = soundfile.read(path)
    assert rate == expected_rate
    np.testing.assert_allclose(wave, expected, atol=1 / 32768)


def test_sound_that_cannot_be_shown(tmp_path: Path) -> None:
    infinite = tmp_path / "i.wav"
    soundfile.write(infinite, np.full(16000, np.nan), 16000, subtype="FLOAT")
    tiny = sound(tmp_path / "t.wav", 0.01)
    silent = tmp_path / "s.wav"
    soundfile.write(silent, np.zeros((16000, 2)), 16000)
    found = excerpt({"noisy": infinite, "enhanced": tiny, "clean": silent})
    assert "NaN" in found.missing["noisy"]
    assert found.panels["enhanced"].picture == ""
    assert found.panels["clean"].seconds == 1
