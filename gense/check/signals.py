"""The checks that need no model: what the output has over the input, and what it lacks.

A denoiser only takes away. What the output has and the input has not, in the same place of the spectrogram, is made up;
that holds for any speaker and language. Noise hides: what is made up under noise as loud as itself is not seen.
"""

from __future__ import annotations

import numpy as np

from .flags import Flag, moving, runs
from .frames import SECONDS, Frames

SILENCE_DB = 6.0
ADDED_SHARE = 0.15
LOST_SCORE = 0.3
_SOUND_DB = -30.0
_LOUD_DB = -15.0
_CLIP = 5.0


def silence(frames: Frames, limit: float = SILENCE_DB) -> list[Flag]:
    """Sound where the input has none: over at least 0.1 s the output is louder than the input, by `limit` dB or more.

    What counts is the mean over 80 ms, and only sound within 30 dB of the output's active level.
    """
    above, parts = _louder(frames, limit)
    message = "sound {:.0f} dB above that of the input"
    return [_flag("silence", part, above[part].max(), limit, message, frames) for part in parts]


def added(frames: Frames, limit: float = ADDED_SHARE) -> list[Flag]:
    """Sound that the input has not: of the output's energy in 0.3 s, a share over `limit` lies in cells of the
    spectrogram (16 Hz, 16 ms, smoothed over 3 by 3) where the input is more than 6 dB weaker.

    Finds other words, other voices, tones and bursts. Frames found by `silence` are left out.
    """
    heard = np.ones(len(frames.output))
    for part in _louder(frames, SILENCE_DB)[1]:
        heard[part] = 0.0
    whole = moving(frames.output * heard, 19)
    share = moving(frames.unexplained * heard, 19) / (whole + 1e-12)
    found = (share > limit) & _near(frames, whole, -20.0)
    message = "{:.0%} of the energy is not in the input"
    return [_flag("added", part, share[part].max(), limit, message, frames) for part in runs(found, 7)]


def lost(frames: Frames, limit: float = LOST_SCORE) -> list[Flag]:
    """Speech that is gone: for 0.3 s the output is silent where the input sounds like the rest of what was kept.

    "Kept" and "removed" are learned from the clip itself: each is a median and a median deviation in every band and in
    voicing, the first over the input's frames where the output is loud, the second over the cells where the output is
    over 4 dB weaker than the input. The score is the mean log likelihood ratio of the two. Noises that come once and
    sound like speech are reported too, and clips with under half a second of speech are passed over.
    """
    level = 10 * np.log10(frames.output / frames.active + 1e-12)
    kept, pause = level > _LOUD_DB, level < _SOUND_DB
    if kept.sum() < 0.5 / SECONDS:
        return []
    features = np.column_stack([frames.input_bands, 20 * frames.voicing])
    # Where the input is silent itself there is nothing to remove, and noise would seem weaker than it is
    noisy = frames.input > 1e-3 * np.median(frames.input[kept])
    removed = np.column_stack([frames.output_bands < frames.input_bands - 4, pause]) & noisy[:, None]
    ratio = np.zeros(features.shape[0])
    weights = np.array([1.0] * frames.input_bands.shape[1] + [5.0])
    for column, gone, weight in zip(features.T, removed.T, weights / weights.sum(), strict=True):
        if gone.sum() < 10:  # nothing was removed in this band: what is faintest in it stands for noise
            gone = column <= np.percentile(column, 10)
        ratio += weight * (_likelihood(column, column[kept], 3.0) - _likelihood(column, column[gone], 2.0))
    score = moving(np.where(noisy, ratio, -1.0), 19)
    found = (score > limit) & (moving(pause.astype(np.float64), 19) > 0.8)
    around = runs(moving(found.astype(np.float64), 11) > 1e-6)
    message = "the input goes on like speech, the output is silent (score {:.1f})"
    return [_flag("lost", part, score[part].max(), limit, message, frames) for part in around]


def _likelihood(values: np.ndarray, among: np.ndarray, least: float) -> np.ndarray:
    """Log likelihood of values (T,) under a Gaussian around the median of others, bounded on both sides."""
    middle = np.median(among)
    spread = max(1.4826 * float(np.median(np.abs(among - middle))), least)
    return np.clip(-0.5 * ((values - middle) / spread) ** 2 - np.log(spread), -_CLIP, _CLIP)


def _louder(frames: Frames, limit: float) -> tuple[np.ndarray, list[slice]]:
    """dB of the output above the input, (T,), and where it is over the limit."""
    output, source = moving(frames.output, 5), moving(frames.input, 5)
    above = 10 * np.log10((output + 1e-12) / (source + 1e-12))
    return above, list(runs((above > limit) & _near(frames, output, _SOUND_DB), 7))


def _near(frames: Frames, power: np.ndarray, decibels: float) -> np.ndarray:
    """Where smoothed power of the output lies within so many dB of its active level, and above -70 dB full scale."""
    return power > max(frames.active * 10 ** (decibels / 10), 1e-7)


def _flag(kind: str, part: slice, value: float, limit: float, message: str, frames: Frames) -> Flag:
    start, end = max(0.0, (part.start - 0.5) * SECONDS), (part.stop - 0.5) * SECONDS
    return Flag(kind, start, min(end, frames.seconds), float(value), limit, message.format(value))
