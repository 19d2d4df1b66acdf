"""The checks that need a model: another voice, and speech features that disagree."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .flags import Flag, moving, runs

Embedder = Callable[[np.ndarray, int], np.ndarray]
"""(wav (S,), sample rate in Hz) -> vector (D,) whose direction stands for the speaker."""
Features = Callable[[np.ndarray, int], np.ndarray]
"""(wav (S,), sample rate in Hz) -> features (T, C) at even steps from the first sample to the last."""

SPEAKER_LIMIT = 0.55
CONTENT_LIMIT = 0.5
_WINDOW, _STEP = 3.0, 1.5
_SPOKEN = 0.3
_SMOOTH = 0.3


def speaker(
    output: np.ndarray, source: np.ndarray, sample_rate: int, embed: Embedder, limit: float = SPEAKER_LIMIT
) -> list[Flag]:
    """Another voice: in windows of 3 s every 1.5 s the cosine of the speaker vectors of output and input is under the
    limit.

    The input's vector is that of the same window, so that a change of speaker in the recording is none in the output.
    Windows with less than 0.3 s of speech per second of output are passed over. Noise in the input moves its vector.

    Args:
        output: (S,) float32.
        source: the input, (S,).
        sample_rate: of both, Hz.
        embed: see `gense.metrics.speaker.embedder`. Cosines of different models cannot be compared: set the limit.
        limit: of the cosine.
    """
    from gense.metrics.signals import UndefinedScore

    length, step = min(len(output), round(_WINDOW * sample_rate)), round(_STEP * sample_rate)
    active = _active(output, sample_rate)
    flags: list[Flag] = []
    starts = list(range(0, len(output) - length + 1, step))
    if starts[-1] + length < len(output):
        starts.append(len(output) - length)
    for start in starts:
        stop = start + length
        hop = round(0.02 * sample_rate)
        if active[start // hop : stop // hop].mean() < _SPOKEN:
            continue
        try:
            vectors = [np.asarray(embed(wav[start:stop], sample_rate), np.float64) for wav in (output, source)]
        except UndefinedScore:
            continue
        cosine = float(vectors[0] @ vectors[1] / (np.linalg.norm(vectors[0]) * np.linalg.norm(vectors[1]) + 1e-12))
        if cosine < limit:
            first, last = start / sample_rate, stop / sample_rate
            if flags and first <= flags[-1].end:
                first, cosine = flags[-1].start, min(cosine, flags.pop().value)
            message = f"another voice: similarity {cosine:.2f}"
            flags.append(Flag("speaker", first, last, cosine, limit, message))
    return flags


def content(
    output: np.ndarray, source: np.ndarray, sample_rate: int, features: Features, limit: float = CONTENT_LIMIT
) -> list[Flag]:
    """Other speech: over 0.3 s the mean cosine between the features of output and input, where the output is active,
    lies by more than `limit` under the clip's median. Short departures from a clip that mostly agrees are found, in any
    model and noise; an output that differs everywhere is not.

    Args:
        output: (S,) float32.
        source: the input, (S,).
        sample_rate: of both, Hz.
        features: for example `gense.metrics.ssl.features` with a model.
        limit: of the fall of the cosine.
    """
    from gense.metrics.signals import UndefinedScore

    try:
        a, b = (np.asarray(features(wav, sample_rate), np.float64) for wav in (output, source))
    except UndefinedScore:
        return []
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"content: features of shapes {a.shape} and {b.shape}: expected (frames, features), the same")
    cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-12)
    seconds = len(output) / sample_rate / len(cosine)
    every = _active(output, sample_rate)
    active = every[np.minimum((np.arange(len(cosine)) + 0.5) * len(every) / len(cosine), len(every) - 1).astype(int)]
    if not active.any():
        return []
    frames = 2 * round(_SMOOTH / seconds / 2) + 1
    share = moving(active.astype(np.float64), frames)
    mean = moving(np.where(active, cosine, 0.0), frames) / np.maximum(share, 1e-9)
    fall = np.where(share > 0.5, np.median(cosine[active]) - mean, -np.inf)
    return [
        Flag(
            "content", part.start * seconds, part.stop * seconds, float(fall[part].max()), limit,
            f"other speech: features agree by {fall[part].max():.2f} less than in the rest",
        )
        for part in runs(fall > limit)
    ]


def _active(signal: np.ndarray, sample_rate: int) -> np.ndarray:
    """Which 20 ms frames, (T,), lie within 25 dB of the 95th percentile; at least one frame."""
    hop = min(round(0.02 * sample_rate), len(signal))
    power = np.square(signal[: len(signal) // hop * hop].reshape(-1, hop), dtype=np.float64).mean(axis=1)
    heard = power[power > 1e-9]
    return power > max(1e-9, (np.percentile(heard, 95) if heard.size else 1.0) * 10**-2.5)
