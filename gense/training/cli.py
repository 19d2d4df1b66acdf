"""`gense fit`: LightningCLI over the enhancer module, or over the one that the YAML names."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import lightning
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from gense.checkpoints.folder import METHOD, WEIGHTS, write_state
from gense.checkpoints.vocoder import VOCODER
from gense.data.datamodule import MixtureDataModule
from gense.training.module import EnhancerModule

# What a module may train, by the name of its argument and attribute -> the file that describes it in the run's folder
_TRAINED = {"enhancer": METHOD, "vocoder": VOCODER}


class SaveRun(SaveConfigCallback):
    """Writes the run's folder `model`: `method.yaml` or `vocoder.yaml` at the start, `model.safetensors` after each
    validation and at the end.

    The folder is what `gense.load` or `gense.vocoders.load` takes. The weights are the averaged ones where an `EMA`
    callback runs.
    """

    @staticmethod
    def _trained(pl_module: lightning.LightningModule) -> str | None:
        return next((name for name in _TRAINED if hasattr(pl_module, name)), None)

    def _folder(self, trainer: lightning.Trainer) -> Path:
        return Path(trainer.log_dir or trainer.default_root_dir) / "model"

    def save_config(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        name = self._trained(pl_module)
        if name is None:  # a module of the user's own, which saves what it likes
            return
        folder = self._folder(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        config = yaml.safe_load(self.parser.dump(self.config))
        settings = config["model"].get("init_args", config["model"])
        (folder / _TRAINED[name]).write_text(yaml.safe_dump(settings[name], sort_keys=False))

    def _save(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        name = self._trained(pl_module)
        if name is not None and trainer.is_global_zero and not trainer.sanity_checking:
            write_state(getattr(pl_module, name).state_dict(), self._folder(trainer) / WEIGHTS)

    # Both hooks run while the averaged weights are in place, whatever the order of the callbacks
    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer, pl_module)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer, pl_module)


class FitCLI(LightningCLI):
    """LightningCLI with this library's defaults."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.set_defaults({"trainer.reload_dataloaders_every_n_epochs": 1, "trainer.use_distributed_sampler": False})


def names_its_module(args: Sequence[str]) -> bool:
    """Whether the `model` of a YAML given with --config, or of the arguments, has a `class_path` of its own."""
    files = [value for name, value in itertools.pairwise(args) if name in ("-c", "--config")]
    files += [argument.partition("=")[2] for argument in args if argument.startswith("--config=")]
    for file in files:
        with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError):  # the parser says what is wrong with it
            config = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
            model = config.get("model") if isinstance(config, dict) else None
            if isinstance(model, dict) and "class_path" in model:
                return True
    return any(argument.startswith("--model.class_path") for argument in args)


def fit(args: Sequence[str] | None = None) -> None:
    """Train from the command line's arguments (without the leading `fit`).

    An `EnhancerModule` is trained unless the YAML's `model` names another module by its `class_path`.
    """
    given = sys.argv[2:] if args is None else args
    named = names_its_module(given)
    # LightningCLI warns of arguments given beside those of the process, even where they are the same
    own = args is None or sys.argv[1:] == ["fit", *args]
    FitCLI(
        lightning.LightningModule if named else EnhancerModule, MixtureDataModule, subclass_mode_model=named,
        save_config_callback=SaveRun, save_config_kwargs={"overwrite": True},
        args=None if own else ["fit", *(args or ())],
    )
