"""What the page does with a recording, without the page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from gense.api import enhance
from gense.audio import read
from gense.demo.models import Models
from gense.enhancer import Enhancer
from gense.heads.resolve import name_of
from gense.spectrogram import WINDOW_SECONDS, save_comparison
from gense.sweeps.cost import counted

MINUTES = 10
MEGABYTES = 200
PICTURED = 60.0
"""Seconds of a recording that the picture shows: an hour would be a smear, and gigabytes."""


@dataclass(frozen=True)
class Choices:
    """What a visitor chose.

    Attributes:
        method: a name that `Models` offers.
        steps: number of steps; None takes the method's own.
        sampler: a name; None takes the method's own.
        schedule: a name; None takes the method's own.
        seed: of the noise.
        text: what is said, or None.
    """

    method: str
    steps: int | None = None
    sampler: str | None = None
    schedule: str | None = None
    seed: int = 0
    text: str | None = None


@dataclass(frozen=True)
class Result:
    """What came of it.

    Attributes:
        audio: the enhanced WAV file.
        picture: PNG of the spectrograms before and after; None for a recording shorter than one window of it.
        summary: method, steps, network calls and real-time factor in one line.
    """

    audio: Path
    picture: Path | None
    summary: str


def run(source: Path, models: Models, choices: Choices, folder: Path) -> Result:
    """Enhance one recording.

    Args:
        source: an audio file.
        models: the methods on offer.
        choices: one of them, and its settings.
        folder: where the results go, under the name of the source.

    Raises:
        ValueError, TypeError, FileNotFoundError, OSError: as `gense.enhance`, and ValueError for a recording beyond
            the limits `MINUTES` and `MEGABYTES`.
        ImportError: matplotlib is not installed.
    """
    seconds = checked_seconds(source)
    enhancer = models.get(choices.method)
    target = folder / f"{source.stem}.enhanced.wav"
    start = time.perf_counter()
    with counted(enhancer) as counter:
        enhance(
            source, enhancer, steps=choices.steps, sampler=choices.sampler, schedule=choices.schedule,
            seed=choices.seed, text=choices.text, output=target,
        )  # fmt: skip
    spent = time.perf_counter() - start
    calls = f"{counter.calls} network call{'s' if counter.calls != 1 else ''}"
    summary = (
        f"{_settings(enhancer, choices)}: {calls}, {spent:.2f} s of work for {seconds:.2f} s of audio, "
        f"real-time factor {spent / seconds:.3f} on {enhancer.device}"
    )
    return Result(target, _picture(source, target, folder / f"{source.stem}.png", choices.method), summary)


def checked_seconds(source: Path) -> float:
    """Return the length of a recording in seconds.

    Raises:
        ValueError: it is longer than `MINUTES` or larger than `MEGABYTES`; or no audio, cut off or empty.
    """
    import soundfile

    size = source.stat().st_size / 1e6
    if size > MEGABYTES:
        raise ValueError(f"{source}: {size:.0f} MB; this page takes up to {MEGABYTES} MB, gense enhance any size")
    try:
        seconds = soundfile.info(str(source)).duration
    except (soundfile.LibsndfileError, RuntimeError):
        wav, rate = read(source)  # says what is wrong with it
        seconds = len(wav) / rate
    if seconds > 60 * MINUTES:
        raise ValueError(
            f"{source}: {seconds / 60:.1f} minutes long; this page takes up to {MINUTES} minutes, gense enhance any "
            "length"
        )
    return seconds


def _settings(enhancer: Enhancer, choices: Choices) -> str:
    """Method, sampler, schedule, steps and seed as they were used."""
    own = enhancer.head.sampling
    if own is None:
        return f"{choices.method}, deterministic"
    steps = choices.steps or own.steps
    sampler, schedule = choices.sampler or name_of(own.sampler), choices.schedule or name_of(own.schedule)
    return f"{choices.method}, {sampler}, {schedule}, {steps} step{'s' if steps > 1 else ''}, seed {choices.seed}"


def _picture(source: Path, target: Path, path: Path, method: str) -> Path | None:
    """Draw the first channel before and after; None where there is too little to draw."""
    (before, rate), (after, _) = read(source), read(target)
    if len(before) < round(WINDOW_SECONDS * rate):
        return None
    most = round(PICTURED * rate)
    part = f", first {PICTURED:g} s" if len(before) > most else ""
    part += ", first channel" if before.shape[1] > 1 else ""
    titles = (f"before{part}", f"after{part} ({method})")
    save_comparison(path, before[:most, 0], after[:most, 0], rate, titles=titles)
    return path
