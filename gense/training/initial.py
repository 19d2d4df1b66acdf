"""Training that begins from the weights of another model, or beside those of a vocoder."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from gense.checkpoints.codec import load_codec
from gense.checkpoints.folder import load_strict
from gense.checkpoints.load import load_enhancer
from gense.checkpoints.vocoder import load_vocoder
from gense.enhancer import Enhancer
from gense.ssl import load_network
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
        copy_fitting(target, load_enhancer(source).head.state_dict(), part, source)


@torch.no_grad()
def copy_fitting(target: Mapping[str, Tensor], given: Mapping[str, Tensor], part: str, source: str) -> None:
    """Copy every tensor that has the same name and shape in both, and print what was copied and what was not.

    Args:
        target: changed in place.
        given: weights.
        part: what the target is called.
        source: what the weights are called.

    Raises:
        ValueError: nothing fits.
    """
    fitting = [name for name, value in given.items() if name in target and target[name].shape == value.shape]
    if not fitting:
        raise ValueError(f"nothing of {source} fits {part}: no weight has the same name and shape")
    for name in fitting:
        target[name].copy_(given[name])
    fresh = sorted(target.keys() - set(fitting))
    rank_zero_info(
        f"{part}: {len(fitting)} of {len(target)} tensors from {source}; fresh: {', '.join(fresh) or 'none'}"
    )


def fill_speech_models(enhancer: Enhancer, sources: Mapping[str, str]) -> None:
    """Copy the weights of speech models into networks of the same sizes, from which training begins.

    A network with fewer layers gets the first ones: nothing need be kept of layers that nobody reads.

    The configuration in the method's YAML stays one of sizes, so that what is saved loads without the published model.

    Args:
        enhancer: changed in place.
        sources: from the dotted name of a `gense.backbones.SSLEncoder` in the enhancer, such as "head.backbone", to a
            model as `gense.ssl.load_network` takes it.

    Raises:
        ValueError: there is no such part, or the model has other sizes; what differs is named.
        OSError: the model is not on this machine and cannot be fetched.
    """
    for part, source in sources.items():
        try:
            network = enhancer.get_submodule(f"{part}.network")
        except AttributeError as error:
            raise ValueError(f"the enhancer has no speech model {part!r}: {error}") from error
        given, own = load_network(source).state_dict(), network.state_dict()
        kept = {name: value for name, value in given.items() if name in own or "encoder.layers." not in name}
        load_strict(network, kept, source)


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


def fill_codecs(enhancer: Enhancer, sources: Mapping[str, str]) -> None:
    """Copy the weights of trained codecs into an enhancer's representations, which must be of the same sizes.

    Args:
        enhancer: changed in place.
        sources: from the name of a representation to the folder of a codec, see `gense.checkpoints.codec.load_codec`.

    Raises:
        ValueError: there is no such representation, or another codec; what differs is named.
        FileNotFoundError: no such folder or file.
    """
    for name, source in sources.items():
        if name not in enhancer.representations:
            raise ValueError(f"codecs names {name!r}; the representations are {', '.join(enhancer.representations)}")
        given, own = load_codec(source), enhancer.representations[name]
        # What no weight tells: the same sizes may stand for other samples
        theirs, ours = repr((given.sample_rate, given.hop_length)), repr((own.sample_rate, own.hop_length))
        if theirs != ours:
            raise ValueError(f"{source} has (sample rate, hop) {theirs}, representation {name!r} {ours}")
        load_strict(own, given.state_dict(), source)


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
