"""Training that begins from the weights of another model, or beside those of a vocoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch.utilities import rank_zero_info

from gense.checkpoints.folder import load_strict
from gense.checkpoints.load import load_enhancer
from gense.checkpoints.vocoder import load_vocoder
from gense.enhancer import Enhancer
from gense.text import Tokenizer


@torch.no_grad()
def start_from(enhancer: Enhancer, sources: str | Mapping[str, str]) -> None:
    """Copy weights of other models into an enhancer: every tensor that has the same name and shape in both.

    What the other model lacks, or has in another shape, keeps its fresh values, so that a network may start from one
    with fewer inputs or without time. What was copied and what was not is printed.

    Args:
        enhancer: changed in place.
        sources: a model as `gense.load` takes it, whose head goes into the enhancer's; or a dict from the dotted name
            of a part, such as "head.stages.denoised", to the model whose head goes there.

    Raises:
        ValueError: the enhancer has no such part, or nothing of the other model fits.
    """
    for part, source in ({"head": sources} if isinstance(sources, str) else sources).items():
        try:
            target = enhancer.get_submodule(part).state_dict()
        except AttributeError as error:
            raise ValueError(f"the enhancer has no part {part!r}: {error}") from error
        given = load_enhancer(source).head.state_dict()
        fitting = [name for name, value in given.items() if name in target and target[name].shape == value.shape]
        if not fitting:
            raise ValueError(f"nothing of {source} fits {part}: no weight has the same name and shape")
        for name in fitting:
            target[name].copy_(given[name])
        fresh = sorted(target.keys() - set(fitting))
        rank_zero_info(
            f"{part}: {len(fitting)} of {len(target)} tensors from {source}; fresh: {', '.join(fresh) or 'none'}"
        )


def fill_vocoder(enhancer: Enhancer, source: str) -> None:
    """Copy the weights of a trained vocoder into an enhancer's, which must be of the same size and for the same mel.

    Args:
        enhancer: changed in place.
        source: a vocoder as `gense.vocoders.load` takes it.

    Raises:
        ValueError: the enhancer has no vocoder, or another one; what differs is named.
        OSError: there is no such vocoder.
    """
    if enhancer.vocoder is None:
        raise ValueError(f"vocoder={source!r}: the method has none; name one in its YAML")
    given = load_vocoder(source)
    given.check(enhancer.target.mel)
    load_strict(enhancer.vocoder, given.state_dict(), source)


def fill_vocabulary(enhancer: Enhancer, path: str) -> None:
    """Read the vocabulary of an enhancer's tokenizer from a file.

    Args:
        enhancer: changed in place.
        path: text file, one token a line, the first a space.

    Raises:
        ValueError: the enhancer has no tokenizer, or one for a file of another size.
        FileNotFoundError: no such file.
    """
    if enhancer.text is None:
        raise ValueError(f"vocabulary={path!r}: the method has no tokenizer; name one under text in its YAML")
    given, places = Tokenizer.read(path, rule=enhancer.text.rule).vocabulary, enhancer.text.vocabulary
    if len(given) != len(places):
        raise ValueError(
            f"{path} has {len(given)} bytes, the tokenizer of the YAML {len(places)}: set its size to {len(given)}, "
            "and vocabulary of the network to the number of lines"
        )
    places.copy_(given)
