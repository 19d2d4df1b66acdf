"""Codecs of each kind, small enough for tests, with random weights and codebooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("transformers", reason="needs gense[hub]")

ENCODEC = {
    "model_type": "encodec", "sampling_rate": 24000, "num_filters": 4, "hidden_size": 16, "num_lstm_layers": 1,
    "upsampling_ratios": [4, 5], "codebook_size": 32, "target_bandwidths": [6.0, 12.0, 24.0],
}  # fmt: skip
DAC = {
    "model_type": "dac", "sampling_rate": 44100, "encoder_hidden_size": 4, "decoder_hidden_size": 16, "codebook_dim": 4,
    "downsampling_ratios": [2, 4], "n_codebooks": 4, "codebook_size": 32, "quantizer_dropout": 0.5,
}  # fmt: skip
MIMI = {
    "model_type": "mimi", "sampling_rate": 24000, "num_filters": 4, "hidden_size": 16, "upsampling_ratios": [5, 4],
    "codebook_size": 32, "codebook_dim": 8, "vector_quantization_hidden_dimension": 8, "num_quantizers": 4,
    "num_hidden_layers": 1, "intermediate_size": 16, "num_attention_heads": 2, "num_key_value_heads": 2,
    "upsample_groups": 16,
}  # fmt: skip
KINDS = {"encodec": ENCODEC, "dac": DAC, "mimi": MIMI}
CLASSES = {"encodec": "EncodecModel", "dac": "DacModel", "mimi": "MimiModel"}


def scatter(codec: torch.nn.Module, seed: int = 0) -> None:
    """Draw the weights of a codec anew such that its codes differ: fresh codebooks of EnCodec and Mimi are zero."""
    generator = torch.Generator().manual_seed(seed)
    state = codec.state_dict()
    for name, value in state.items():
        if name.endswith(("alpha", "original0", "inited", "initialized", "cluster_size", "cluster_usage", "embed_avg")):
            continue
        scale = 0.05 if value.ndim < 2 else 0.15 if "embed" in name else value[0].numel() ** -0.5
        state[name] = torch.randn(value.shape, generator=generator) * scale
        if name.endswith("original1"):  # the direction of a normalised weight; its length is stored beside it
            state[name.replace("original1", "original0")] = state[name].flatten(1).norm(dim=1)[:, None, None]
    codec.load_state_dict(state)


def saved(kind: str, folder: Path, **changes: Any) -> Any:
    """A model of `transformers` in evaluation mode, also written to a folder as safetensors."""
    import transformers

    settings = {key: value for key, value in KINDS[kind].items() if key != "model_type"} | changes
    config = transformers.AutoConfig.for_model(kind, **settings)
    model = getattr(transformers, CLASSES[kind])(config).eval()
    scatter(model)
    model.save_pretrained(folder)
    return model



def speech(items: int, samples: int, seed: int = 1) -> torch.Tensor:
    """Coloured noise (items, samples) whose loudness changes, so that neighbouring frames have different codes."""
    generator = torch.Generator().manual_seed(seed)
    wav = torch.randn(items, samples, generator=generator).cumsum(-1)
    wav = wav - wav.mean(-1, keepdim=True)
    return 0.5 * wav / wav.abs().amax(-1, keepdim=True)
