"""`gense fit`: LightningCLI over the enhancer module, or over the one that the YAML names."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

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


def names_its_class(args: Sequence[str], key: str) -> bool:
    """Whether the part `key`, "model" or "data", has a `class_path` of its own.

    It stands in a YAML given with --config, in one that this names in its place, in one given for the part itself, or
    among the arguments; what comes last counts.
    """
    named = False
    for argument, following in itertools.zip_longest(args, args[1:]):
        option, equals, value = argument.partition("=")
        value = value if equals else following
        if option in ("-c", "--config"):
            config = _yaml(value)
            if isinstance(config, dict) and key in config:
                part = config[key]
                named = _is_named(_yaml(Path(value).parent / part) if isinstance(part, str) else part)
        elif option == f"--{key}" and value is not None:
            named = _is_named(_yaml(value)) if value.endswith((".yaml", ".yml")) else "." in value
        elif option == f"--{key}.class_path":
            named = True
    return named


def _is_named(part: Any) -> bool:
    return isinstance(part, dict) and "class_path" in part


def _yaml(path: str | Path | None) -> Any:
    """The content of a YAML file, None where it cannot be read: the parser says what is wrong with it."""
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError, TypeError):
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    return None


def fit(args: Sequence[str] | None = None) -> None:
    """Train from the command line's arguments (without the leading `fit`).

    An `EnhancerModule` on `MixtureDataModule` is trained unless `model` or `data` name another class by `class_path`.
    """
    given = sys.argv[2:] if args is None else args
    model, data = (names_its_class(given, key) for key in ("model", "data"))
    # LightningCLI warns of arguments given beside those of the process, even where they are the same
    own = args is None or sys.argv[1:] == ["fit", *args]
    FitCLI(
        lightning.LightningModule if model else EnhancerModule,
        lightning.LightningDataModule if data else MixtureDataModule,
        subclass_mode_model=model, subclass_mode_data=data,
        save_config_callback=SaveRun, save_config_kwargs={"overwrite": True},
        args=None if own else ["fit", *(args or ())],
    )  # fmt: skip
