"""A picture of what enhancement did to a recording."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import numpy as np
from torch import Tensor

WINDOW_SECONDS = 0.032
HOP_SECONDS = 0.008
RANGE_DB = 65.0
BRIGHTEST = 99.8  # Percentile at the top of the colour scale: one hum or click must not darken everything else.


def save_comparison(
    path: str | Path,
    before: np.ndarray | Tensor,
    after: np.ndarray | Tensor,
    sample_rate: int,
    *,
    titles: tuple[str, ...] = ("before", "after", "clean reference"),
    reference: np.ndarray | Tensor | None = None,
) -> None:
    """Write a PNG with the log-magnitude spectrograms of a recording before and after enhancement, one above the other.

    The panels share both axes and one colour scale: 65 dB down from all but the loudest 0.2 % of the points.

    Args:
        path: the file to write; a reader never sees it half written.
        before: recording, (S,).
        after: enhanced recording, (S',); the lengths may differ.
        sample_rate: of all signals, in Hz.
        titles: one for each panel, from top to bottom; a title too many is not used.
        reference: clean recording for a third panel, (S'',).

    Raises:
        ImportError: matplotlib is not installed.
        ValueError: a signal is not (S,), not finite, or too short; or there are fewer titles than panels.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("matplotlib is not installed: pip install gense[demo]") from error

    signals = [before, after] if reference is None else [before, after, reference]
    if len(titles) < len(signals):
        raise ValueError(f"{len(titles)} titles for {len(signals)} panels: give one for each")
    levels = [decibels(signal, sample_rate) for signal in signals]
    bottom, top = colour_range(levels)

    # Figure objects without pyplot: nothing global changes and any thread may draw.
    figure = Figure(figsize=(9.0, 0.7 + 2.0 * len(levels)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(levels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, level, title in zip(panels, levels, titles, strict=False):
        picture = panel.imshow(
            level,
            origin="lower",
            aspect="auto",
            interpolation="bilinear",
            cmap="magma",
            vmin=bottom,
            vmax=top,
            extent=(0.0, level.shape[1] * HOP_SECONDS, 0.0, sample_rate / 2000),
        )
        panel.set_facecolor("black")
        panel.set_title(title, loc="left", fontsize=11)
        panel.set_ylabel("kHz")
    panels[0].set_xlim(0.0, max(level.shape[1] for level in levels) * HOP_SECONDS)
    panels[-1].set_xlabel("seconds")
    bar = figure.colorbar(picture, ax=list(panels), pad=0.015, aspect=13 * len(levels))
    bar.set_label("dB")

    path = Path(path)
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        figure.savefig(temporary, format="png", pil_kwargs={"optimize": True})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def colour_range(levels: Sequence[np.ndarray]) -> tuple[float, float]:
    """The (lowest, highest) dB of a colour scale that several spectrograms share: 65 dB below the loudest points."""
    top = max(float(np.percentile(level, BRIGHTEST)) for level in levels)
    return top - RANGE_DB, top


def decibels(signal: np.ndarray | Tensor, sample_rate: int) -> np.ndarray:
    """(S,) -> (F, T) power in dB relative to a full-scale sine, of Hann windows of 32 ms every 8 ms.

    Raises:
        ValueError: the signal is not (S,), not finite, or shorter than a window.
    """
    wave = signal.detach().cpu().float().numpy() if isinstance(signal, Tensor) else np.asarray(signal, np.float64)
    size, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    if wave.ndim != 1 or wave.size < size:
        raise ValueError(f"signal has shape {wave.shape}: expected one channel (S,) with S >= {size}")
    if not np.isfinite(wave).all():
        raise ValueError("signal has samples that are NaN or infinite")
    # Padded by half a window, so that column k is centred on k hops.
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, size // 2), size)[::hop]
    window = np.hanning(size + 1)[:-1]
    amplitude = np.abs(np.fft.rfft(frames * window)) * 2 / window.sum()
    return 20 * np.log10(np.maximum(amplitude, 1e-10)).T
