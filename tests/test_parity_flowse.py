"""The transformers of FlowSE against recordings of the published code, from single layers to whole samplings.

The distance is the largest absolute difference; activations are of order one. The published code differs from itself
in double precision by 2e-6 to 2e-5.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gense import samplers
from gense.backbones import Backbone, DiT, MMDiT, UNetT
from gense.backbones.dit import DiTBlock
from gense.backbones.layers.adaln import Modulation, TimeEmbedding, modulate
from gense.backbones.layers.conv_position import ConvPosition
from gense.backbones.layers.convnext import ConvNeXtBlock
from gense.backbones.layers.rotary import rotary_table, rotate
from gense.backbones.layers.text_embedding import TextEmbedding
from gense.checkpoints import convert_flowse
from gense.checkpoints.folder import load_strict
from gense.heads import PathHead
from gense.processes import LinearFlow
from gense.samplers.types import Field
from gense.types import Sampling
from tests.parity.fixtures import Parity, load_parity

CLASSES = {"DiT": DiT, "UNetT": UNetT, "MMDiT": MMDiT}
FORWARD, BLOCK, SAMPLE = 5e-5, 2e-5, 1e-4


def distance(actual: Tensor, fixture: Parity, name: str) -> float:
    """Largest difference on the recorded elements; `actual` has the recording's shape, frames before channels."""
    return float((actual.detach().flatten()[:: fixture.config["stride"]] - fixture.outputs[name]).abs().max())


def published_weights(fixture: Parity) -> dict[str, Tensor]:
    """The filled weights, and the rotary frequencies that a file stores beside them."""
    weights = fixture.weights()
    for name, entry in fixture.keys().items():
        if name.endswith("rotary_embed.inv_freq"):
            size = entry["shape"][0]
            weights[name] = 10000.0 ** (-torch.arange(size) / size)
    return weights


def network(config: dict[str, Any], weights: dict[str, Tensor]) -> Backbone:
    net = CLASSES[config["class_path"].rpartition(".")[2]](**config["init_args"])
    load_strict(net, weights, "published")
    return net.eval()


def published(fixture: Parity) -> Backbone:
    """The network of a fixture whose names stand without the prefix of checkpoints."""
    return network(*convert_flowse.convert_transformer(published_weights(fixture)))


def from_checkpoint(fixture: Parity) -> Backbone:
    checkpoint = {"epoch": 3, "model_state_dict": published_weights(fixture), "best_loss": 0.5}
    assert convert_flowse.recognise(checkpoint)
    return network(*convert_flowse.network(checkpoint))


def conditions(fixture: Parity, call: dict[str, Any]) -> dict[str, Tensor]:
    cond = {}
    if not call["drop_audio_cond"]:
        cond["noisy_mel"] = fixture.inputs["cond"].mT
    text = fixture.inputs[call["text"]]
    # The stream of two-stream networks keeps its length when the text is dropped: then it is all padding
    cond["text"] = torch.full_like(text, -1) if call["drop_text"] else text
    return cond


@pytest.mark.parametrize(
    "name",
    [
        "flowse_dit_small", "flowse_dit_small_longskip", "flowse_unett_small", "flowse_unett_small_add",
        "flowse_mmdit_small", pytest.param("flowse_dit_full", marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_networks(name: str) -> None:
    fixture = load_parity(name)
    net = published(fixture)
    calls = fixture.config["calls"]
    assert set(calls) == set(fixture.outputs)
    if "parameters" in fixture.config:
        assert sum(p.numel() for p in net.parameters()) == fixture.config["parameters"]
    x, t = fixture.inputs["x"].mT, fixture.inputs["time"]
    for case, call in calls.items():
        cond = conditions(fixture, call)
        with torch.inference_mode():
            out = net(x, t, cond)
            assert distance(out.mT, fixture, case) < FORWARD, case
            assert torch.equal(net(x, t, net.prepare(x, cond)), out)  # type: ignore[operator]
            if call["drop_text"] and not isinstance(net, MMDiT):
                del cond["text"]
                assert torch.equal(net(x, t, cond), out)


def test_the_published_network_is_the_default() -> None:
    config, _ = convert_flowse.convert_transformer(
        {name: torch.empty(e["shape"], device="meta") for name, e in load_parity("flowse_dit_full").keys().items()}
        | {"rotary_embed.inv_freq": 10000.0 ** (-torch.arange(32) / 32)}
    )
    with torch.device("meta"):
        default, converted = DiT(), DiT(**config["init_args"])
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (default, converted)]
    assert shapes[0] == shapes[1]


class Blocks:
    """The layers of the fixture with recorded single layers, filled."""

    def __init__(self) -> None:
        self.fixture = load_parity("flowse_blocks")
        self.weights = published_weights(self.fixture)

    def fill(self, module: nn.Module, prefix: str, names: dict[str, str]) -> nn.Module:
        """Load a layer: our name of a part -> published names, several joined into one."""
        state = {}
        for ours, theirs in names.items():
            for leaf in ("weight", "bias"):
                state[f"{ours}{leaf}"] = torch.cat([self.weights[f"{prefix}{name}{leaf}"] for name in theirs.split()])
        for leaf, theirs in (("gain", "gamma"), ("bias", "beta")):
            if f"{prefix}grn.{theirs}" in self.weights:
                state[f"response.{leaf}"] = self.weights[f"{prefix}grn.{theirs}"].flatten()
        module.load_state_dict(state)
        return module.eval()


def test_layers() -> None:
    blocks = Blocks()
    fixture, x = blocks.fixture, blocks.fixture.inputs
    outputs = {}
    with torch.inference_mode():
        time = blocks.fill(
            TimeEmbedding(64), "time_embed.time_mlp.", {"linear_in.": "0.", "linear_out.": "2."}
        )
        outputs["sinusoid"] = time.sinusoids(1000 * x["time"])
        outputs["time_embed"] = time(x["time"])
        position = blocks.fill(
            ConvPosition(64), "conv_pos_embed.conv1d.", {"conv_in.": "0.", "conv_out.": "2."}
        )
        outputs["conv_pos_embed"] = position(x["x"])
        text = blocks.fill(
            ConvNeXtBlock(64, 128), "text_block.",
            {"depthwise.": "dwconv.", "norm.": "norm.", "expand.": "pwconv1.", "project.": "pwconv2."},
        )
        outputs["text_block"] = text(x["x"])
        outputs["text_block_tiny"] = text(x["x_tiny"])
        outputs["text_block_large"] = text(x["x_large"])
        outputs["grn"] = text.response(torch.cat([x["x"], x["x_large"]], dim=-1))
        block = blocks.fill(
            DiTBlock(64, heads=4, head_dim=16, ff_mult=2, rotary_heads=1, dropout=0.1), "block.",
            {
                "modulation.": "attn_norm.linear.", "attention.qkv.": "attn.to_q. attn.to_k. attn.to_v.",
                "attention.out.": "attn.to_out.0.", "feed_forward.expand.": "ff.ff.0.0.",
                "feed_forward.project.": "ff.ff.2.",
            },
        )
        table, active = rotary_table(24, 16), F.silu(x["t"])
        outputs["block"] = block(x["x"], active, table)
        outputs["block_tiny"] = block(x["x_tiny"], active, table)
        outputs["ff_large"] = block.feed_forward(x["x_large"])
        final = Modulation(64, 2)
        final.load_state_dict({k: blocks.weights[f"norm_out.linear.{k}"] for k in ("weight", "bias")})
        scale, shift = final(active)  # the published order
        outputs["norm_out_tiny"] = modulate(x["x_tiny"], shift, scale)
        heads = x["x"].unflatten(-1, (4, 16)).transpose(1, 2)
        outputs["rope_applied"] = rotate(heads, table, 1).transpose(1, 2).flatten(2)
        embedding = TextEmbedding(1, 64, blocks=0, positions=4096)
        nn.init.zeros_(embedding.tokens.weight)
        outputs["freqs_cis_first64"] = embedding(torch.zeros(1, 64, dtype=torch.int64))
    assert outputs.keys() == fixture.outputs.keys()
    distances = {name: distance(value, fixture, name) for name, value in outputs.items()}
    # A phase goes up to 1000 radians, where float32 counts in steps of 6e-5
    bounds = {"sinusoid": 6e-5}
    assert {name: value for name, value in distances.items() if not value < bounds.get(name, BLOCK)} == {}


def guided(net: Backbone, x: Tensor, cond: dict[str, Tensor], guidance: float) -> Field:
    """The published field: the estimate, pushed away from the one without conditions."""
    cond, null = net.prepare(x, cond), net.prepare(x, {})  # type: ignore[operator]

    def field(x: Tensor, t: Tensor) -> Tensor:
        time = t.to(x.dtype).expand(len(x))
        out = net(x, time, cond)
        return out + guidance * (out - net(x, time, null)) if guidance else out

    return field


def test_sampling() -> None:
    fixture = load_parity("flowse_cfm_sample")
    net = from_checkpoint(fixture)
    for case, call in fixture.config["cases"].items():
        settings = call["kw"]
        cond = {"noisy_mel": fixture.inputs[call["cond"]].mT}
        if not settings.get("drop_text"):
            cond["text"] = fixture.inputs[f"token_ids.{case}"]
        times = samplers.schedules.uniform(settings["steps"], start=0.0, end=1.0)
        sampler = getattr(samplers, call.get("method", "euler"))
        with torch.inference_mode():
            x = fixture.inputs[call["noise"]].mT
            out = sampler(guided(net, x, cond, settings["cfg_strength"]), x, times)
        assert distance(out.mT, fixture, case) < SAMPLE, case


def test_training_loss_and_gradients() -> None:
    fixture = load_parity("flowse_loss")
    net, inputs = from_checkpoint(fixture), fixture.inputs
    head = PathHead(
        net, LinearFlow(), target="mel", predicts="velocity", anchor=None, condition=["noisy_mel", "text"], t_eps=0.0,
        sampling=Sampling("euler", steps=32),
    )
    whole = {"noisy_mel": inputs["noisy"].mT, "text": inputs["token_ids"]}
    for case, names in (("keep", ("noisy_mel", "text")), ("drop_audio", ("text",)), ("drop_all", ())):
        cond = {name: whole[name] for name in names}
        loss = head.loss_at(inputs["clean"].mT, cond, inputs["time"], inputs["x0"].mT)
        assert loss.total.item() == pytest.approx(fixture.outputs[f"loss.{case}"].item(), rel=2e-6)
        x_t = head.process.perturb(inputs["clean"].mT, None, inputs["x0"].mT, inputs["time"])
        assert distance(net(x_t, inputs["time"], cond).mT, fixture, f"pred.{case}") < FORWARD
        if case == "keep":
            head.zero_grad()
            loss.total.backward()
            gradients = {
                "proj_out.weight": net.output.weight, "input_embed.proj.weight": net.input.projection.weight,
                "transformer_blocks.0.attn_norm.linear.bias": net.blocks[0].modulation.bias,
                "time_embed.time_mlp.0.weight": net.time.linear_in.weight,
            }
            for name, parameter in gradients.items():
                assert distance(parameter.grad, fixture, f"grad.transformer.{name}") < BLOCK, name
