"""The method files say what the converter makes of the published hyper-parameters."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import torch

from gense.checkpoints.build import read_config
from gense.checkpoints.convert_sgmse import convert
from tests.parity.fixtures import load_parity

METHODS = Path(str(resources.files("gense.configs") / "method"))


def checkpoint(fixture: str, **settings):
    """A published checkpoint of this network without the memory for its weights."""
    keys = load_parity(fixture).keys()
    state = {f"dnn.{name}": torch.empty(entry["shape"], device="meta") for name, entry in keys.items()}
    return {"hyper_parameters": {"sde": "ouve", **settings}, "state_dict": state}


def test_defaults_at_16_khz_are_the_method_file() -> None:
    """A file that lacks every optional key is one trained with the published defaults."""
    config, state = convert(checkpoint("sgmse_ncsnpp_full"))
    assert config == read_config(METHODS / "sgmse.yaml")
    assert sum(value.numel() for value in state.values()) == 65_590_822


def test_the_48_khz_recipe_is_its_method_file() -> None:
    recipe = {
        "backbone": "ncsnpp_48k", "n_fft": 1534, "hop_length": 384, "spec_factor": 0.065, "spec_abs_exponent": 0.667,
        "sigma_min": 0.1, "sigma_max": 1.0, "theta": 2.0,
    }
    small = load_parity("sgmse_ncsnpp_48k_small").config["backbone_kwargs"]
    config, _ = convert(checkpoint("sgmse_ncsnpp_48k_small", **recipe, **small))
    published = read_config(METHODS / "sgmse-48k.yaml")
    network = config["init_args"]["head"]["init_args"]["backbone"]["init_args"]
    for key in ("base_channels", "channel_mult", "blocks_per_level"):
        network[key] = published["init_args"]["head"]["init_args"]["backbone"]["init_args"][key]
    assert json.dumps(config, sort_keys=True) == json.dumps(published, sort_keys=True)
