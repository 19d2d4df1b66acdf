"""Neural codecs of `transformers` behind one face: waveform to codes to waveform."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from gense.pretrained import load_config, load_model, transformers_class


class Codec(nn.Module):
    """A mono codec with residual codebooks, in single precision and evaluation mode.

    Attributes:
        sample_rate: Hz.
        hop_length: samples per frame.
        vocabulary: ids of each codebook.
        codebooks: how many there are.
        fewest: with how many of them it can work.
    """

    sample_rate: int
    hop_length: int
    vocabulary: int
    codebooks: int
    fewest: int = 1

    def __init__(self, model: Any):
        super().__init__()
        self.model = model
        self.sample_rate, self.vocabulary = int(model.config.sampling_rate), int(model.config.codebook_size)

    def encode(self, wav: Tensor, codebooks: int) -> Tensor:
        """Turn (B, S) into (B, codebooks, ceil(S / hop_length)) int64."""
        raise NotImplementedError

    def decode(self, codes: Tensor) -> Tensor:
        """Turn (B, K, T) into about T * hop_length samples, (B, S)."""
        raise NotImplementedError


class _Encodec(Codec):
    """EnCodec (Defossez et al. 2022), which pads at the end by itself."""

    def __init__(self, model: Any):
        super().__init__(model)
        config = model.config
        if config.audio_channels != 1 or config.normalize or config.chunk_length_s is not None:
            raise ValueError(
                f"this EnCodec has audio_channels={config.audio_channels}, normalize={config.normalize}, "
                f"chunk_length_s={config.chunk_length_s}: expected 1, False, None, as in the 24 kHz model; that of "
                "48 kHz is stereo, and the loudness of each second stands beside its tokens"
            )
        self.hop_length, self.codebooks = int(config.hop_length), int(config.num_quantizers)

    def encode(self, wav: Tensor, codebooks: int) -> Tensor:
        # The model takes no number of codebooks, only one of its bandwidths; a codebook does not depend on later ones
        count = self.model.quantizer.get_num_quantizers_for_bandwidth
        bandwidth = min(b for b in self.model.config.target_bandwidths if count(b) >= codebooks)
        return self.model.encode(wav[:, None], bandwidth=bandwidth, return_dict=True).audio_codes[0, :, :codebooks]

    def decode(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes[None], [None], return_dict=True).audio_values[:, 0]


class _Dac(Codec):
    """DAC (Kumar et al. 2023), which drops samples after the last whole frame unless they are filled up before it."""

    def __init__(self, model: Any):
        super().__init__(model)
        self.hop_length, self.codebooks = int(model.config.hop_length), int(model.config.n_codebooks)

    def encode(self, wav: Tensor, codebooks: int) -> Tensor:
        wav = nn.functional.pad(wav, (0, -wav.shape[-1] % self.hop_length))
        return self.model.encode(wav[:, None], n_quantizers=codebooks, return_dict=True).audio_codes

    def decode(self, codes: Tensor) -> Tensor:
        return self.model.decode(audio_codes=codes, return_dict=True).audio_values


class _Mimi(Codec):
    """Mimi (Defossez et al. 2024), which pads at the end by itself; its first codebook is quantised on its own."""

    def __init__(self, model: Any):
        super().__init__(model)
        config = model.config
        if config.audio_channels != 1:
            raise ValueError(f"this Mimi has audio_channels={config.audio_channels}: expected 1")
        stride = round(config.encodec_frame_rate / config.frame_rate)
        self.hop_length = math.prod(config.upsampling_ratios) * stride
        self.codebooks, self.fewest = int(config.num_quantizers), int(config.num_semantic_quantizers)

    def encode(self, wav: Tensor, codebooks: int) -> Tensor:
        return self.model.encode(wav[:, None], num_quantizers=codebooks, return_dict=True).audio_codes

    def decode(self, codes: Tensor) -> Tensor:
        return self.model.decode(codes, return_dict=True).audio_values[:, 0]


_KINDS: dict[str, type[Codec]] = {"encodec": _Encodec, "dac": _Dac, "mimi": _Mimi}
# Plain words for models of the hub: a method's YAML may name nothing that could be a path
PUBLISHED = {
    "encodec-24khz": "facebook/encodec_24khz",
    "encodec-32khz": "facebook/encodec_32khz",
    "dac-16khz": "descript/dac_16khz",
    "dac-24khz": "descript/dac_24khz",
    "dac-44khz": "descript/dac_44khz",
    "mimi": "kyutai/mimi",
}


def load_codec(codec: str | Mapping[str, Any], revision: str | None = None) -> Codec:
    """A codec by name or folder, with its weights, or from a configuration, with random ones.

    Args:
        codec: a word of `PUBLISHED`, folder, model of the hub, or a mapping with `model_type` and fields of that
            configuration of `transformers`; what is left out has its value there.
        revision: branch, tag or commit on the hub.

    Raises:
        ImportError: transformers is not installed.
        OSError: neither a folder nor a model that can be fetched.
        ValueError: no codec of a kind in this file, an unknown field, or weights that are missing or refused.
    """
    if isinstance(codec, str):
        with torch.device("cpu"):  # a caller may be building on the meta device
            name = PUBLISHED.get(codec, codec)
            kind = _known(load_config(name, revision).model_type, codec)
            # A copy, as the weights of a trained method may be put into it, or it may be moved
            return _KINDS[kind](deepcopy(load_model("AutoModel", name, "a codec", revision))).eval()
    if revision is not None:
        raise ValueError(f"revision={revision!r}: a codec from a configuration has none")
    kind = _known(codec.get("model_type"), "codec")
    factory, fields = transformers_class("AutoConfig"), {k: value for k, value in codec.items() if k != "model_type"}
    # Configuration classes keep misspelt fields as they keep any others
    known = {*factory.for_model(kind).to_dict(), "frame_rate"}
    if unknown := [name for name in fields if name not in known]:
        near = get_close_matches(unknown[0], known, 1)
        raise ValueError(f"codec: {kind} has no field {unknown[0]!r}{f'; nearest: {near[0]!r}' if near else ''}")
    try:
        config = factory.for_model(kind, **fields)
    except Exception as error:  # the configuration classes have several of their own for values of a wrong kind
        raise ValueError(f"codec: no {kind} has these values: {error}") from error
    return _KINDS[kind](transformers_class("AutoModel").from_config(config).float()).eval()


def _known(kind: Any, name: str) -> str:
    if kind not in _KINDS:
        raise ValueError(f"{name} is of model_type {kind!r}: expected one of {', '.join(_KINDS)}")
    return kind
