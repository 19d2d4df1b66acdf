"""`gense fit`, `gense validate` and `gense test`: LightningCLI over the enhancer module, or the YAML's."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import lightning
import yaml
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from gense.checkpoints.codec import CODEC
from gense.checkpoints.folder import METHOD, WEIGHTS, write_state
from gense.checkpoints.vocoder import VOCODER
from gense.data.datamodule import MixtureDataModule
from gense.training.divergence import StopOnDivergence
from gense.training.examples import LogExamples
from gense.training.folder import run_folder
from gense.training.module import EnhancerModule
from gense.training.randomness import SeededSteps

# What a module may train, by the name of its argument and attribute -> the file that describes it in the run's folder
_TRAINED = {"enhancer": METHOD, "vocoder": VOCODER, "codec": CODEC}


class SaveRun(SaveConfigCallback):
    """Writes the run's folder `model`: `method.yaml`, `vocoder.yaml` or `codec.yaml` at the start, `model.safetensors`
    after each validation and at the end.

    The folder is what `gense.load`, `gense.vocoders.load` or the `codecs` of `EnhancerModule` take. The weights are the
    averaged ones where an `EMA` callback runs.
    """

    @staticmethod
    def _trained(pl_module: lightning.LightningModule) -> str | None:
        return next((name for name in _TRAINED if hasattr(pl_module, name)), None)

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        self.folder = run_folder(trainer) / "model"
        super().setup(trainer, pl_module, stage)

    def save_config(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        name = self._trained(pl_module)
        if name is None or stage != "fit":  # a module of the user's own saves what it likes
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # A null may say something: a vocoder with mel: null takes no mel spectrogram, and without it the usual one
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        settings = config["model"].get("init_args", config["model"])
        (self.folder / _TRAINED[name]).write_text(yaml.safe_dump(settings[name], sort_keys=False))

    def _save(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        name = self._trained(pl_module)
        if name is None or trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        # Asked of the strategy and in every process: where weights are dealt out, all have to give their part
        state = trainer.strategy.lightning_module_state_dict()
        if trainer.is_global_zero:
            own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
            write_state(own, self.folder / WEIGHTS)

    # Both hooks run while the averaged weights are in place, whatever the order of the callbacks
    def on_validation_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer, pl_module)

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self._save(trainer, pl_module)


class FitCLI(LightningCLI):
    """LightningCLI with this library's defaults, and callbacks that every run has: `divergence` and `examples` take
    their settings in the YAML under these names.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(StopOnDivergence, "divergence")
        parser.add_lightning_class_args(LogExamples, "examples")
        parser.set_defaults({"trainer.reload_dataloaders_every_n_epochs": 1, "trainer.use_distributed_sampler": False})


def names_its_class(args: Sequence[str], key: str) -> bool:
    """Whether the part `key`, "model" or "data", has a `class_path` of its own: the last place of `naming` counts."""
    return next(reversed(naming(args, key)), False)


def naming(args: Sequence[str], key: str) -> list[bool]:
    """For each place where the part `key` is given, in their order, whether it has a `class_path`.

    It stands in a YAML given with --config, in one that this names in its place, in one given for the part itself, or
    among the arguments.
    """
    named = []
    for argument, following in itertools.zip_longest(args, args[1:]):
        option, equals, value = argument.partition("=")
        value = value if equals else following
        if option in ("-c", "--config"):
            config = _yaml(value)
            if isinstance(config, dict) and key in config:
                part = config[key]
                named.append(_is_named(_yaml(Path(value).parent / part) if isinstance(part, str) else part))
        elif option == f"--{key}" and value is not None:
            named.append(_is_named(_yaml(value)) if value.endswith((".yaml", ".yml")) else "." in value)
        elif option == f"--{key}.class_path":
            named.append(True)
    return named


def _is_named(part: Any) -> bool:
    return isinstance(part, dict) and "class_path" in part


def _yaml(path: str | Path | None) -> Any:
    """The content of a YAML file, None where it cannot be read: the parser says what is wrong with it."""
    with contextlib.suppress(OSError, UnicodeDecodeError, yaml.YAMLError, TypeError):
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))  # type: ignore[arg-type]
    return None


def run(command: Literal["fit", "validate", "test"], args: Sequence[str] | None = None) -> None:
    """Train, or validate or test what was trained, from the command line's arguments (without the leading command).

    An `EnhancerModule` on `MixtureDataModule` is trained unless `model` or `data` name another class by `class_path`.

    Raises:
        Diverged: the training did.
    """
    given = sys.argv[2:] if args is None else args
    model, data = (names_its_class(given, key) for key in ("model", "data"))
    # LightningCLI warns of arguments given beside those of the process, even where they are the same
    own = args is None or sys.argv[1:] == [command, *args]
    FitCLI(
        lightning.LightningModule if model else EnhancerModule,
        # Where one YAML without a class comes under one with a class, the first is read as what it stands for
        lightning.LightningDataModule if data and all(naming(given, "data")) else MixtureDataModule,
        subclass_mode_model=model, subclass_mode_data=data,
        trainer_defaults={"callbacks": [SeededSteps()]},
        save_config_callback=SaveRun, save_config_kwargs={"overwrite": True},
        args=None if own else [command, *(args or ())],
    )  # fmt: skip
