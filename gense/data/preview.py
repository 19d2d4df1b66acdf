"""Examples of what a training will hear, before it hears them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import yaml

from gense.audio import write
from gense.spectrogram import HOP_SECONDS, colour_range, decibels

SHEET = "spectrograms.png"


def preview(config: str | os.PathLike[str], output: str | os.PathLike[str], *, count: int = 8) -> list[Path]:
    """Write the first training items of a run as `NN_clean.flac` and `NN_noisy.flac`, and a sheet of spectrograms.

    They are what `gense fit` draws at its first step, item by item. Pairs that exceed full scale are made softer
    together.

    Args:
        config: YAML of a training (its `data` is taken) or of data alone, as `gense fit --data` takes it.
        output: folder, made if need be.
        count: number of items.

    Returns:
        The files written, the sheet last.

    Raises:
        FileNotFoundError: no such YAML, or what it names does not exist.
        ValueError: the YAML describes no data, or there are no items.
        ImportError: lightning or matplotlib is not installed.
    """
    if count < 1:
        raise ValueError(f"count={count}: need at least 1")
    module = data_module(config)
    if not hasattr(type(module), "items"):
        raise ValueError(f"{config}: {type(module).__name__} has no property `items`, a data set of what is trained on")
    module.setup("fit")
    items, rate = module.items, module.sample_rate
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    rows, written = [], []
    for index, item in enumerate(itertools.islice(iter(items), count)):
        clean, noisy = (signal.numpy() for signal in item[:2])
        peak = max(float(np.abs(clean).max()), float(np.abs(noisy).max()))
        gain = np.float32(min(1.0, 0.99 / peak) if peak > 0 else 1.0)
        for name, signal in (("clean", clean), ("noisy", noisy)):
            written.append(write(folder / f"{index:02d}_{name}.flac", signal * gain, rate))
        rows.append((f"{index:02d}", clean, noisy))
    save_sheet(folder / SHEET, rows, rate)
    return [*written, folder / SHEET]


def data_module(config: str | os.PathLike[str]) -> Any:
    """The data module that a YAML of a training, or of data alone, describes.

    Raises:
        FileNotFoundError: no such YAML.
        ValueError: no mapping, or no data in it.
        ImportError: lightning is not installed.
    """
    try:
        import lightning
        from jsonargparse import ArgumentParser

        from gense.data.datamodule import MixtureDataModule
    except ModuleNotFoundError as error:
        raise ImportError(f"{error.name} is not installed: pip install gense[train]") from error

    part = _mapping(Path(config))
    if "data" in part or "model" in part or "trainer" in part:
        given = part.get("data")
        part = _mapping(Path(config).parent / given) if isinstance(given, str) else given or {}
    if not part:
        raise ValueError(f"{config}: no data in it; give the YAML that `gense fit --data` takes, or one with `data`")
    parser = ArgumentParser(exit_on_error=False)
    if "class_path" in part:
        parser.add_subclass_arguments(lightning.LightningDataModule, "data")
    else:
        parser.add_class_arguments(MixtureDataModule, "data")
    return parser.instantiate(parser.parse_object({"data": part})).data


def _mapping(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not readable as YAML ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a mapping, got {type(content).__name__}")
    return content


def save_sheet(path: Path, rows: Sequence[tuple[str, np.ndarray, np.ndarray]], sample_rate: int) -> None:
    """Draw items one below the other, the clean spectrogram on the left and the noisy one on the right.

    Each row has a colour scale of its own: 65 dB down from its loudest points.

    Args:
        path: PNG to write.
        rows: (title, clean (S,), noisy (S,)); items shorter than 32 ms are padded.
        sample_rate: Hz.

    Raises:
        ImportError: matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("matplotlib is not installed: pip install gense[demo]") from error

    figure = Figure(figsize=(11.0, 0.5 + 1.5 * len(rows)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 2, sharey=True, squeeze=False)
    for (title, *signals), panels in zip(rows, axes, strict=True):
        least = round(0.04 * sample_rate)
        levels = [decibels(np.pad(wav, (0, max(0, least - len(wav)))), sample_rate) for wav in signals]
        bottom, top = colour_range(levels)
        for panel, level, side in zip(panels, levels, ("clean", "noisy"), strict=True):
            panel.imshow(
                level, origin="lower", aspect="auto", cmap="magma", vmin=bottom, vmax=top,
                extent=(0.0, level.shape[1] * HOP_SECONDS, 0.0, sample_rate / 2000),
            )  # fmt: skip
            panel.set_title(f"{title} {side}", loc="left", fontsize=9)
        panels[0].set_ylabel("kHz")
    for panel in axes[-1]:
        panel.set_xlabel("seconds")
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        figure.savefig(temporary, format="png", pil_kwargs={"optimize": True})
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
