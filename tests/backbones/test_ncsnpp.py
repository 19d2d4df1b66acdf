"""NCSN++ against recordings of the published networks, and what holds for any weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gense.backbones import NCSNpp
from gense.backbones.layers import strips
from gense.backbones.layers.time_embedding import LogFourierFeatures
from gense.checkpoints.ncsnpp_keys import convert_ncsnpp
from tests.parity.fill import fill
from tests.parity.fixtures import Parity, as_complex, load_parity, relative_error

# The published code differs from itself by 1e-6 to 2e-6 when re-run with other threads or kernels.
TOLERANCE = 5e-5
LIGHT = {"blocks_per_level": 1, "attention_levels": ()}
DIVISION = {"ncsnpp": "before", "ncsnpp_v2": None, "ncsnpp_48k": "after"}


def published_arguments(backbone: str, settings: dict[str, Any]) -> dict[str, Any]:
    mult = settings.get("ch_mult", [1, 1, 2, 2, 2, 2, 2])
    return {
        "base_channels": settings.get("nf", 128),
        "channel_mult": mult,
        "blocks_per_level": settings.get("num_res_blocks", 2),
        "attention_levels": [i for i in range(len(mult)) if 256 // 2**i in settings.get("attn_resolutions", [16])],
        "progressive": settings.get("progressive", "output_skip"),
        "progressive_input": settings.get("progressive_input", "input_skip"),
        "divide_by_time": DIVISION[backbone],
    }


def network(weights: dict[str, Tensor], arguments: dict[str, Any]) -> NCSNpp:
    model = NCSNpp(**arguments).eval()
    model.load_state_dict(convert_ncsnpp(weights, **arguments))
    return model


def recorded(name: str) -> tuple[Parity, NCSNpp]:
    parity = load_parity(name)
    arguments = published_arguments(parity.config["backbone"], parity.config["backbone_kwargs"])
    return parity, network(parity.weights(), arguments)


def spectrum(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def small(**arguments: Any) -> NCSNpp:
    """Three levels of 8 and 16 channels with attention in the second; weights by name, none at its silent start."""
    settings = {"base_channels": 8, "channel_mult": (1, 2, 2), "blocks_per_level": 1, "attention_levels": (1,)}
    model = NCSNpp(**{**settings, **arguments}).eval()
    values = {name: torch.from_numpy(fill(name, tuple(value.shape))) for name, value in model.state_dict().items()}
    model.load_state_dict(values)
    return model


X, Y, T = spectrum(2, 1, 16, 8), spectrum(2, 1, 16, 8, seed=1), torch.tensor([0.3, 0.9])


@pytest.mark.parametrize(
    "name",
    [
        "sgmse_ncsnpp_small",
        "sgmse_ncsnpp_v2_small",
        "sgmse_ncsnpp_48k_small",
        "sgmse_ncsnpp_full",
        pytest.param("sgmse_ncsnpp_v2_full", marks=pytest.mark.slow),
    ],
)
def test_parity(name):
    """The raw output, without the minus sign of the published score; once as in sampling, once as in training."""
    parity, model = recorded(name)
    x, y, expected = (as_complex(parity.tensors[key]) for key in ("x_t", "y", "output"))
    assert sum(p.numel() for p in model.parameters()) == parity.config["parameters"]
    with torch.inference_mode():
        assert relative_error(model(x, parity.tensors["t"], {"noisy": y}), expected) < TOLERANCE
    if "full" not in name:
        assert relative_error(model(x, parity.tensors["t"], {"noisy": y}).detach(), expected) < TOLERANCE


def test_parity_of_the_time_features():
    tensors = load_parity("sgmse_ncsnpp_small").tensors
    layer = LogFourierFeatures(len(tensors["fourier_W"]))
    layer.load_state_dict({"frequencies": tensors["fourier_W"]})
    # The angles are hundreds of radians, so one rounding of the product moves a feature by some 1e-5.
    features = layer(tensors["fourier_t"])
    torch.testing.assert_close(features, tensors["fourier_embedding_of_log_t"], rtol=0, atol=1e-4)


def test_parity_of_the_three_input_and_the_timeless_network():
    """StoRM's pair: a denoiser without time, and a score network on [x_t, y, denoised]; inputs mapped to 2x - 1."""
    parity = load_parity("storm_small_both")
    settings = parity.config["hyper_parameters"]
    shared = {**published_arguments("ncsnpp", settings), "centered": False}
    x, y, denoised, score = (as_complex(parity.tensors[key]) for key in ("x_t", "y", "denoised", "score"))

    def weights(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v for k, v in parity.weights().items() if k.startswith(prefix)}

    timeless = {**shared, "inputs": 1, "timed": False, "divide_by_time": None}
    with torch.inference_mode():
        found = network(weights("denoiser_net."), timeless)(y, None, {})
        assert relative_error(found, denoised) < TOLERANCE
        model = network(weights("score_net."), {**shared, "inputs": 3})
        found = -model(x, parity.tensors["t"], {"noisy": y, "denoised": denoised})
        assert relative_error(found, score) < TOLERANCE


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ({}, 65_590_822),
        ({"attention_levels": (), "progressive": "none", "progressive_input": "none"}, 64_739_854),
        ({"inputs": 3}, 65_623_352),
        ({**LIGHT, "channel_mult": (1, 2, 2, 2)}, 27_756_314),
        ({**LIGHT, "channel_mult": (1, 2, 2, 1), "base_channels": 96}, 11_675_546),
        ({**LIGHT, "channel_mult": (1, 1, 1, 1), "base_channels": 96}, 5_216_762),
    ],
)
def test_published_sizes(arguments, count):
    with torch.device("meta"):
        model = NCSNpp(**arguments)
        x = torch.empty(1, 1, 64, 64, dtype=torch.complex64)
        shape = model(x, torch.ones(1), {str(i): x for i in range(model.inputs - 1)}).shape
    assert sum(p.numel() for p in model.parameters()) == count
    assert shape == (1, 1, 64, 64)


def test_converter_names_what_does_not_fit():
    parity = load_parity("sgmse_ncsnpp_v2_small")
    arguments = published_arguments("ncsnpp_v2", parity.config["backbone_kwargs"])
    weights = parity.weights()
    lacking = {k: v for k, v in weights.items() if k not in ("all_modules.3.bias", "output_layer.weight")}
    with pytest.raises(ValueError, match=r"lack all_modules\.3\.bias, output_layer\.weight"):
        convert_ncsnpp(lacking, **arguments)
    with pytest.raises(ValueError, match=r"no place for all_modules\.99\.weight"):
        convert_ncsnpp({**weights, "all_modules.99.weight": torch.zeros(1)}, **arguments)
    with pytest.raises(ValueError, match=r"all_modules\.3\.weight for stem\.weight: \(16, 4, 3, 3\) instead"):
        convert_ncsnpp(weights, **{**arguments, "inputs": 3})
    with pytest.raises(ValueError, match="do the architecture arguments match"):
        convert_ncsnpp(weights, **{**arguments, "attention_levels": ()})


def test_sampling_and_training_paths_agree(monkeypatch):
    monkeypatch.setattr(strips, "_WINOGRAD_POSITIONS", 1)
    monkeypatch.setattr(strips, "_STRIP_BYTES", 4000)
    model = small()
    expected = model(X, T, {"y": Y}).detach()
    with torch.inference_mode():
        assert relative_error(model(X, T, {"y": Y}), expected) < 1e-5


@pytest.mark.parametrize("grad", [False, True])
def test_items_of_a_batch_do_not_meet(grad):
    model = small()
    with torch.set_grad_enabled(grad):
        both = model(X, T, {"y": Y}).detach()
        alone = [model(X[i : i + 1], T[i : i + 1], {"y": Y[i : i + 1]}).detach() for i in range(2)]
    assert relative_error(both, torch.cat(alone)) < 1e-5


def test_a_gradient_reaches_every_trainable_parameter():
    model = small()
    model(X, T, {"y": Y}).abs().square().sum().backward()
    for name, parameter in model.named_parameters():
        frozen = name == "time.fourier.frequencies"
        assert parameter.requires_grad != frozen, name
        assert frozen or (parameter.grad is not None and parameter.grad.abs().max() > 0), name


def test_the_gradient_is_the_slope_of_the_loss():
    """Along the gradient, in float32: the difference quotient of the sampling path gives the squared norm."""
    model = small()
    trained = [p for p in model.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(model(X, T, {"y": Y}).abs().square().mean(), trained)
    norm = torch.sqrt(sum(g.square().sum() for g in gradients))

    def loss(step: float) -> Tensor:
        with torch.no_grad():
            for p, g in zip(trained, gradients, strict=True):
                p.add_(g / norm, alpha=step)
            value = model(X, T, {"y": Y}).abs().square().mean().double()
            for p, g in zip(trained, gradients, strict=True):
                p.sub_(g / norm, alpha=step)
        return value

    slope = (loss(2e-3) - loss(-2e-3)) / 4e-3
    assert float(slope) == pytest.approx(float(norm), rel=1e-2)


def test_conditions_count_by_their_order():
    model = small(inputs=3)
    with torch.inference_mode():
        first = model(X, T, {"a": Y, "b": X.conj().resolve_conj()})
        assert torch.equal(first, model(X, T, {"other": Y, "names": X.conj().resolve_conj()}))
        assert relative_error(model(X, T, {"b": X.conj().resolve_conj(), "a": Y}), first) > 1e-2


def test_where_time_divides():
    """After the output layer everything is divided, before it everything but its bias."""
    with torch.inference_mode():
        plain = small(divide_by_time=None)
        bias = torch.complex(*plain.output_layer.bias)
        out, t = plain(X, T, {"y": Y}), T[:, None, None, None]
        assert relative_error(small(divide_by_time="after")(X, T, {"y": Y}), out / t) < 1e-6
        assert relative_error(small(divide_by_time="before")(X, T, {"y": Y}), (out - bias) / t + bias) < 1e-6


def test_centering():
    with torch.inference_mode():
        shifted = small()(2 * X - (1 + 1j), T, {"y": 2 * Y - (1 + 1j)})
        assert relative_error(small(centered=False)(X, T, {"y": Y}), shifted) < 1e-6


def test_attention_does_not_depend_on_the_height():
    """The published code decides by the height of the map that arrives; here the levels are fixed."""
    with torch.inference_mode():
        for bins in (4, 32, 64):
            assert small()(spectrum(1, 1, bins, 8), T[:1], {"y": spectrum(1, 1, bins, 8)}).shape == (1, 1, bins, 8)


@pytest.mark.parametrize("how", ["module", "autocast"])
def test_bfloat16(how):
    model = small()
    with torch.inference_mode():
        exact = model(X, T, {"y": Y})
        if how == "module":
            out = model.to(torch.bfloat16)(X, T, {"y": Y})
        else:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                out = model(X, T, {"y": Y})
    assert out.dtype == torch.complex64
    assert out.isfinite().all()
    # Eight bits of mantissa, through some twenty layers
    assert 1e-5 < relative_error(out, exact) < 5e-2


def test_training_in_autocast():
    model = small()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        model(X, T, {"y": Y}).abs().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(X, T, {}), ValueError, r"got 0 conditions \(none\): a network with inputs=2 takes 1"),
        (lambda m: m(X, T, {"a": Y, "b": Y}), ValueError, r"got 2 conditions \(a, b\)"),
        (lambda m: m(X.real, T, {"a": Y}), TypeError, "x is torch.float32"),
        (lambda m: m(X, T, {"a": Y[:, :, :8]}), ValueError, r"a is \(2, 1, 8, 8\), x \(2, 1, 16, 8\)"),
        (lambda m: m(X[:, 0], T, {"a": Y}), ValueError, "expected one channel"),
        (lambda m: m(X[..., :6], T, {"a": Y[..., :6]}), ValueError, "6 frames: 3 levels need a multiple of 4"),
        (lambda m: m(X[:, :, :14], T, {"a": Y[:, :, :14]}), ValueError, "14 bins: 3 levels need a multiple of 4"),
        (lambda m: m(X, T[:1], {"a": Y}), ValueError, r"t is \(1,\): expected one time per item, \(2,\)"),
        (lambda m: m(X, None, {"a": Y}), ValueError, "t is None"),
        (lambda m: small(timed=False, divide_by_time=None)(X, T, {"a": Y}), ValueError, "pass t=None"),
    ],
)
def test_wrong_inputs(call, error, message):
    with pytest.raises(error, match=message):
        call(small())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"inputs": 0}, "0 inputs"),
        ({"channel_mult": ()}, "0 levels"),
        ({"blocks_per_level": 0}, "0 blocks_per_level"),
        ({"attention_levels": (1, 3)}, r"attention_levels has \[3\]; the 3 levels are 0 to 2"),
        ({"progressive": "sum"}, "progressive='sum'"),
        ({"progressive_input": "sum"}, "progressive_input='sum'"),
        ({"divide_by_time": "twice"}, "divide_by_time='twice'"),
        ({"timed": False}, "divide_by_time='before' needs a time"),
        ({"base_channels": 9}, "9 channels cannot be normalised"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        small(**arguments)
