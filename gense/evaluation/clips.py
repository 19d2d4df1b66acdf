"""Files of one clip, read and brought to one rate, one length and single channels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gense.audio import read, resample

# What a codec, a resampler or a framed transform may add or take; more is another cut of the recording
SPARE_SECONDS, SPARE_SHARE = 0.1, 0.01


@dataclass(frozen=True)
class Channel:
    """One channel of a clip, (S,) float32 each, at one rate."""

    est: np.ndarray
    clean: np.ndarray | None
    noisy: np.ndarray | None


def read_channels(
    est: Path, clean: Path | None = None, noisy: Path | None = None, *, sample_rate: int | None = None
) -> tuple[list[Channel], int]:
    """Read the files of a clip.

    Args:
        est: enhanced file; its channels are scored one by one.
        clean: reference, with as many channels or one for all.
        noisy: input, likewise.
        sample_rate: of the result, Hz; None takes that of the clean file, else of the noisy, else of the enhanced one.

    Returns:
        The channels, all of the length of the shortest file, and their rate.

    Raises:
        ValueError: a file is no audio, channels do not fit, or lengths differ by more than 0.1 s and 1 %.
        FileNotFoundError: no such file.
    """
    paths = {"enhanced": est, "clean": clean, "noisy": noisy}
    waves = {what: read(path) for what, path in paths.items() if path is not None}
    if sample_rate is None:
        sample_rate = next(waves[what][1] for what in ("clean", "noisy", "enhanced") if what in waves)
    count = waves["enhanced"][0].shape[1]
    for what, (wav, _) in waves.items():
        if wav.shape[1] not in (1, count):
            raise ValueError(
                f"{what} has {wav.shape[1]} channels, enhanced {count}: expected as many, or one; mix {what} down"
            )
    _check_lengths({what: len(wav) / rate for what, (wav, rate) in waves.items()})
    signals = {what: resample(wav, rate, sample_rate) for what, (wav, rate) in waves.items()}
    length = min(len(wav) for wav in signals.values())
    if length == 0:
        raise ValueError(f"no samples are left at {sample_rate} Hz: the clip is too short")

    def channel(what: str, index: int) -> np.ndarray | None:
        wav = signals.get(what)
        return None if wav is None else np.ascontiguousarray(wav[:length, min(index, wav.shape[1] - 1)])

    channels = []
    for index in range(count):
        first = channel("enhanced", index)
        assert first is not None
        channels.append(Channel(first, channel("clean", index), channel("noisy", index)))
    return channels, sample_rate


def _check_lengths(seconds: dict[str, float]) -> None:
    short, long = min(seconds, key=seconds.__getitem__), max(seconds, key=seconds.__getitem__)
    if seconds[long] - seconds[short] > SPARE_SECONDS + SPARE_SHARE * seconds[long]:
        raise ValueError(
            f"{short} lasts {seconds[short]:.2f} s, {long} {seconds[long]:.2f} s: these are not the same recording, or "
            "one was cut; align them (up to 0.1 s and 1 % are cut off)"
        )


def mean_scores(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean over channels of each score, of those channels that have one; NaN where none has."""
    means = {}
    for column in dict.fromkeys(column for channel in scores for column in channel):
        known = [channel[column] for channel in scores if not np.isnan(channel.get(column, np.nan))]
        means[column] = float(np.mean(known)) if known else float("nan")
    return means
