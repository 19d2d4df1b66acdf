"""Published transformer checkpoints: which are recognised, what is read off the tensors, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gense.checkpoints import convert_flowse, convert_sgmse
from tests.parity.fixtures import load_parity


def checkpoint() -> dict:
    fixture = load_parity("flowse_cfm_sample")
    state = fixture.weights()
    state["transformer.rotary_embed.inv_freq"] = 10000.0 ** (-torch.arange(16) / 16)
    return {"epoch": 7, "model_state_dict": state, "optim_state_dict": {}, "scheduler_state_dict": {}, "best_loss": 1.0}


def bare(name: str) -> dict[str, Tensor]:
    fixture = load_parity(name)
    (size,) = fixture.keys()["rotary_embed.inv_freq"]["shape"]
    return {**fixture.weights(), "rotary_embed.inv_freq": 10000.0 ** (-torch.arange(size) / size)}


def test_the_sizes_are_read_off_the_tensors() -> None:
    published = checkpoint()
    assert convert_flowse.recognise(published)
    assert not convert_sgmse.recognise(published)
    config, _ = convert_flowse.network(published)
    assert config == {
        "class_path": "gense.backbones.DiT",
        "init_args": {
            "features": 100, "dim": 128, "depth": 2, "heads": 4, "head_dim": 32, "ff_mult": 2, "vocabulary": 2545,
            "text_dim": 64, "text_blocks": 2, "rotary_heads": 1, "long_skip": False,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("flowse_dit_small_longskip", "DiT", {"long_skip": True}),
        ("flowse_unett_small", "UNetT", {"skip": "concat", "depth": 4, "ff_mult": 4, "text_blocks": 1}),
        ("flowse_unett_small_add", "UNetT", {"skip": "add", "text_blocks": 0}),
        ("flowse_mmdit_small", "MMDiT", {"depth": 3, "heads": 2, "head_dim": 32}),
    ],
)
def test_the_network_is_told_by_its_names(name: str, kind: str, settings: dict) -> None:
    config, _ = convert_flowse.convert_transformer(bare(name))
    assert config["class_path"] == f"gense.backbones.{kind}"
    assert settings.items() <= config["init_args"].items()


def test_relatives_are_not_taken_for_it() -> None:
    published = checkpoint()
    state = published["model_state_dict"]
    assert not convert_flowse.recognise({"state_dict": state, "epoch": 7})
    assert not convert_flowse.recognise({"model_state_dict": state})
    assert not convert_flowse.recognise({**published, "ema_model_state_dict": {}})
    assert not convert_flowse.recognise({**published, "model_state_dict": {**state, "mel_spec.window": torch.ones(4)}})
    name = "transformer.input_embed.proj.weight"
    third = torch.cat([state[name], state[name][:, :100]], dim=1)  # a prompt beside the noisy spectrogram
    assert not convert_flowse.recognise({**published, "model_state_dict": {**state, name: third}})


def test_what_does_not_fit_is_named() -> None:
    published = bare("flowse_dit_small_longskip")
    with pytest.raises(ValueError, match=r"no place for speaker\.weight"):
        convert_flowse.convert_transformer({**published, "speaker.weight": torch.ones(2)})
    for missing in ("proj_out.weight", "transformer_blocks.1.attn.to_k.bias"):
        with pytest.raises(ValueError, match=rf"the published weights lack '{missing}'"):
            convert_flowse.convert_transformer({name: v for name, v in published.items() if name != missing})
    frequencies = {"rotary_embed.inv_freq": published["rotary_embed.inv_freq"] / 2}
    with pytest.raises(ValueError, match=r"rotary_embed\.inv_freq holds other frequencies"):
        convert_flowse.convert_transformer({**published, **frequencies})
