"""What a model makes of validation recordings, to listen to and to look at while it trains."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning
import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from gense.audio import write
from gense.spectrogram import colour_range, decibels
from gense.training.folder import run_folder

# Black, violet, red, orange, pale: levels from the bottom of the scale to its top
_COLOURS = np.array([[0, 0, 4], [80, 18, 123], [182, 54, 121], [251, 136, 97], [252, 253, 191]], dtype=float)
_GAP = 4  # white lines between the panels of a picture


class LogExamples(lightning.Callback):
    """Logs audio and spectrograms of the first validation recordings: of the input and its clean speech once, of what
    the model makes of it after every validation.

    A picture shows input, estimate and clean speech, one above the other. They go to every logger of the trainer:
    TensorBoard and Weights & Biases show them; for loggers without sound, such as CSV, they are files in the folder
    `examples` beside the logs. `gense fit` runs this always, with settings under `examples` in the YAML.

    A module takes part by returning from its validation step a dict with the waveforms `noisy`, `estimate` and `clean`,
    (S,) at its `sample_rate`; others log nothing.

    Args:
        count: recordings that are shown; 0 shows none.

    Raises:
        ValueError: a negative count.
    """

    def __init__(self, count: int = 3):
        if count < 0:
            raise ValueError(f"count={count}: expected 0 or more recordings")
        self.count, self.pictures = count, True
        self._folder, self._shown = Path(), set[int]()

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self._folder = run_folder(trainer)
        self.pictures = find_spec("PIL") is not None
        if self.count and not self.pictures:
            rank_zero_warn("pillow is not installed: no spectrograms are logged; pip install gense[train]")

    def on_validation_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx >= self.count or trainer.sanity_checking or not trainer.is_global_zero:
            return
        if not isinstance(outputs, dict) or "estimate" not in outputs:
            return
        waves = {name: np.clip(outputs[name].float().cpu().numpy(), -1, 1) for name in ("noisy", "estimate", "clean")}
        rate = int(pl_module.sample_rate)  # type: ignore[arg-type]
        for name, wave in waves.items():
            if name == "estimate" or batch_idx not in self._shown:
                self._log_audio(trainer, f"examples/{batch_idx}/{name}", wave, rate)
        self._shown.add(batch_idx)
        if self.pictures and min(map(len, waves.values())) >= rate // 10:
            self._log_picture(trainer, f"examples/{batch_idx}", picture(list(waves.values()), rate))

    def _log_audio(self, trainer: lightning.Trainer, name: str, wave: np.ndarray, rate: int) -> None:
        step = trainer.global_step
        logger: Any  # of whatever kind: what it can show is asked of it
        for logger in trainer.loggers:
            if hasattr(logger.experiment, "add_audio"):
                logger.experiment.add_audio(name, wave[None], step, sample_rate=rate)
            elif hasattr(logger, "log_audio"):
                logger.log_audio(name, [wave], step=step, sample_rate=[rate])
            else:
                write(self._file(name, step, ".flac"), wave, rate)

    def _log_picture(self, trainer: lightning.Trainer, name: str, image: np.ndarray) -> None:
        step = trainer.global_step
        logger: Any  # of whatever kind: what it can show is asked of it
        for logger in trainer.loggers:
            if hasattr(logger.experiment, "add_image"):
                logger.experiment.add_image(name, image, step, dataformats="HWC")
            elif hasattr(logger, "log_image"):
                logger.log_image(name, [image], step=step)
            else:
                from PIL import Image

                Image.fromarray(image).save(self._file(name, step, ".png"))

    def _file(self, name: str, step: int, suffix: str) -> Path:
        path = self._folder / f"{name}_{step:07d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


def picture(waves: list[np.ndarray], sample_rate: int) -> np.ndarray:
    """Spectrograms of waveforms (S_i,), one above the other on one colour scale, uint8 (H, W, 3)."""
    levels = [decibels(wave, sample_rate) for wave in waves]
    bottom, top = colour_range(levels)
    width = max(level.shape[1] for level in levels)
    rows = []
    for level in levels:
        place = np.clip((level[::-1] - bottom) / max(top - bottom, 1e-6), 0, 1) * (len(_COLOURS) - 1)
        colours = np.stack([np.interp(place, range(len(_COLOURS)), part) for part in _COLOURS.T], axis=-1)
        blank = np.full((len(level), width - level.shape[1], 3), 255.0)
        rows += [np.concatenate([colours, blank], axis=1), np.full((_GAP, width, 3), 255.0)]
    return np.concatenate(rows[:-1]).astype(np.uint8)
