"""Published checkpoints rebuilt from a fixture's parameter names, and the models that come of them."""

from __future__ import annotations

from typing import Any

from gense import Enhancer
from gense.checkpoints.build import build
from gense.checkpoints.folder import load_strict
from tests.parity.fixtures import Parity

SHARED_KEYS = "../sgmse_enhance_e2e/keys.json"
"""The network of half a dozen fixtures, whose parameter names are stored once."""


def lightning_checkpoint(fixture: Parity, *, keys: str = "keys.json", **settings: Any) -> dict[str, Any]:
    """A checkpoint in the layout that Lightning writes: raw weights that mislead, averaged ones that count."""
    weights, names = fixture.weights(keys), list(fixture.keys(keys))
    return {
        "epoch": 1,
        "hyper_parameters": {**fixture.config["hyper_parameters"], **settings},
        "state_dict": {name: weights[name] + 0.5 for name in names},
        "ema": {"decay": 0.999, "num_updates": 1, "shadow_params": [weights[name] for name in names]},
    }


def converted(module: Any, checkpoint: dict[str, Any]) -> Enhancer:
    """The enhancer that a converter makes of a checkpoint."""
    assert module.recognise(checkpoint)
    config, state = module.convert(checkpoint)
    enhancer = build(config)
    load_strict(enhancer, state, "the rebuilt checkpoint")
    return enhancer.eval()
