"""`gense fit`: LightningCLI over the enhancer module."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import lightning
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from gense.checkpoints.folder import METHOD, WEIGHTS, write_state
from gense.data.datamodule import MixtureDataModule
from gense.training.module import EnhancerModule


class SaveRun(SaveConfigCallback):
    """Writes the run's folder `model`: `method.yaml` at the start, `model.safetensors` after each validation and at
    the end.

    The folder is what `gense.load` takes. The weights are the averaged ones where an `EMA` callback runs.
    """

    def _folder(self, trainer: lightning.Trainer) -> Path:
        return Path(trainer.log_dir or trainer.default_root_dir) / "model"

    def save_config(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        folder = self._folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load(self.parser.dump(self.config))
        (folder / METHOD).write_text(yaml.safe_dump(config["model"]["enhancer"], sort_keys=False))

    def _save(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.is_global_zero and not trainer.sanity_checking:
            assert isinstance(pl_module, EnhancerModule)
            write_state(pl_module.enhancer.state_dict(), self._folder(trainer) / WEIGHTS)

    # Both hooks run while the averaged weights are in place, whatever the order of the callbacks
    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer, pl_module)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer, pl_module)


class FitCLI(LightningCLI):
    """LightningCLI with this library's defaults."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"trainer.reload_dataloaders_every_n_epochs": 1, "trainer.use_distributed_sampler": False})


def fit(args: Sequence[str] | None = None) -> None:
    """Train from the command line's arguments (without the leading `fit`)."""
    # LightningCLI warns of arguments given beside those of the process, even where they are the same
    own = args is None or sys.argv[1:] == ["fit", *args]
    FitCLI(
        EnhancerModule, MixtureDataModule, save_config_callback=SaveRun,
        save_config_kwargs={"overwrite": True},
        args=None if own else ["fit", *(args or ())],
    )
