"""Turn a bundled flow model into starting weights for networks without time, or with time yet to be learned.

    python examples/start_from_flow.py flowse/compact configs/method/regression.yaml regression-start --one-input
    gense fit --config configs/train/regression.yaml --model.initial regression-start ...

At the prior end of its path, where one step begins, a flow from noisy to clean is a regression. The new folder holds
the second method with the weights of the first at that time.
"""

from __future__ import annotations

import argparse

import torch

import gense
from gense.backbones import UNet
from gense.checkpoints.build import build, read_config
from gense.checkpoints.folder import write_folder
from gense.training.fold import with_one_input, without_time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="model whose head is a flow with a U-Net")
    parser.add_argument("method", help="YAML of the method that is to start from it")
    parser.add_argument("output", help="folder to write")
    parser.add_argument("--one-input", action="store_true", help="the new network reads the noisy input alone")
    settings = parser.parse_args()
    head = gense.load(settings.source, device="cpu").head
    if not (hasattr(head, "process") and isinstance(head.backbone, UNet)):
        raise SystemExit(f"{settings.source} is no flow with a U-Net alone: take flowse/compact, or a model like it")
    state = without_time(head.backbone, head.process.t_prior)
    if settings.one_input:
        state = with_one_input(head.backbone, state)
    config = read_config(settings.method)
    torch.manual_seed(0)
    enhancer = build(config)
    own = enhancer.head.backbone.state_dict()
    unfit = [name for name, value in state.items() if name not in own or own[name].shape != value.shape]
    if unfit:
        raise SystemExit(f"{settings.method} has another network: {', '.join(unfit[:5])} do not fit")
    enhancer.head.backbone.load_state_dict({**own, **state})
    fresh = sorted({name.split(".")[0] for name in own.keys() - state.keys()})
    print(f"{write_folder(settings.output, config, enhancer.state_dict())}: {len(state)} tensors of {settings.source}, "
          f"fresh: {', '.join(fresh) or 'none'}")


if __name__ == "__main__":
    main()
