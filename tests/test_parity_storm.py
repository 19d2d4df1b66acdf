"""Stochastic regeneration from published checkpoints to audio, against the recorded results of the published code.

The distance is relative L2. The published code differs from its own recordings by up to 2e-6 with another number of
threads; measured here are 4e-7 to 2e-5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import gense
from gense import Enhancer, Sampling, samplers
from gense.checkpoints import convert_sgmse, convert_storm
from gense.checkpoints.build import build
from gense.checkpoints.folder import load_strict
from gense.choices import checked_sampling
from tests.parity.fixtures import Parity, as_complex, load_parity, relative_error

BOUND, FORWARD = 1e-4, 5e-5
KEYS = {"both": "../storm_small_both/keys.json", "noisy": "../storm_small_noisy/keys.json"}
KEYS["post_denoiser"] = KEYS["noisy"]


def lightning_file(fixture: Parity, settings: dict, keys: str, *, perturbed: bool = True) -> dict[str, Any]:
    """A checkpoint in the published layout: raw weights that mislead, averaged ones that count."""
    weights, names = fixture.weights(keys), list(fixture.keys(keys))
    return {
        "epoch": 1,
        "hyper_parameters": settings,
        "state_dict": {name: weights[name] + (0.5 if perturbed else 0.0) for name in names},
        "ema": {"decay": 0.999, "num_updates": 1, "shadow_params": [weights[name] for name in names]},
    }


def converted(checkpoint: dict[str, Any]) -> Enhancer:
    assert convert_storm.recognise(checkpoint)
    assert not convert_sgmse.recognise(checkpoint)
    config, state = convert_storm.convert(checkpoint)
    enhancer = build(config)
    load_strict(enhancer, state, "storm")
    return enhancer.eval()


def published(fixture: Parity, condition: str | None = None) -> Enhancer:
    settings = fixture.config["hyper_parameters"]
    settings = settings.get(condition, settings)
    return converted(lightning_file(fixture, settings, KEYS.get(settings.get("condition"), "keys.json")))


def recorded(fixture: Parity) -> list[Tensor]:
    return list(as_complex(fixture.tensors["noise"]))


def run(model: Enhancer, fixture: Parity, draws: int, *, steps: int, **options: Any) -> Tensor:
    """The recorded spectrogram through the head, with options as a user gives them."""
    sampling = checked_sampling(model, steps, None, None, options)
    with torch.inference_mode():
        return model.head.generate(
            {"noisy_stft": as_complex(fixture.tensors["y"])}, sampling=sampling,
            noise=samplers.replay(recorded(fixture)[:draws]),
        )


@pytest.mark.parametrize("condition", ["noisy", "post_denoiser", "both"])
def test_forward_passes(condition: str) -> None:
    fixture, inputs = load_parity(f"storm_small_{condition}"), load_parity("storm_small_both").tensors
    head = published(fixture).head
    cond = {"noisy_stft": as_complex(inputs["y"])}
    with torch.inference_mode():
        cond["denoised"] = head.stages["denoised"].generate(cond)
        assert relative_error(cond["denoised"], as_complex(inputs["denoised"])) < FORWARD
        out = head.stages["out"]
        score = out.backbone(as_complex(inputs["x_t"]), inputs["t"], {name: cond[name] for name in out.condition})
    assert relative_error(score, as_complex(fixture.tensors["score"])) < FORWARD


CORRECTORS = {
    "reverse_diffusion+ald+1": {},
    "reverse_diffusion+langevin+1": {"correct": "langevin_batch"},
    "reverse_diffusion+none+1": {"corrector_steps": 0},
}


@pytest.mark.parametrize("name", list(load_parity("storm_sampler").config["runs"]))
def test_regeneration(name: str) -> None:
    fixture = load_parity("storm_sampler")
    condition, combination = name.split(".")
    model, recording = published(fixture, condition), fixture.config["runs"][name]
    out = run(model, fixture, recording["noise_draws"], steps=3, **CORRECTORS[combination])
    assert relative_error(out, as_complex(fixture.tensors[f"{condition}.out.{combination}"])) < BOUND
    denoised = run(model, fixture, 0, steps=3, until="denoised")
    assert relative_error(denoised, as_complex(fixture.tensors["denoised"])) < FORWARD


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("reverse_diffusion+ald", {}),
        ("euler_maruyama+langevin", {"correct": "langevin_batch"}),
        ("reverse_diffusion+none", {"corrector_steps": 0}),
    ],
)
def test_the_score_only_baseline(name: str, options: dict) -> None:
    fixture = load_parity("storm_score_only_samplers")
    recording = fixture.config["runs"][name]
    out = run(published(fixture), fixture, recording["noise_draws"], steps=4, **options)
    assert relative_error(out, as_complex(fixture.tensors[f"out.{name}"])) < BOUND


def test_the_score_only_baseline_by_the_adaptive_solver() -> None:
    """The published solver goes to t_eps, and one step of the reverse SDE of size 1/N removes the noise left there.

    Samplers are functions of a field, so that is a function of one's own.
    """
    fixture = load_parity("storm_score_only_samplers")
    recording, calls = fixture.config["runs"]["ode"], []

    def solve_and_denoise(field, x, times, *, noise, callback=None):
        tolerances = {"rtol": recording["rtol"], "atol": recording["atol"]}
        x = samplers.odeint(field, x, times[[0, -2]], solver="scipy:RK45", **tolerances)
        calls.append(field.calls)
        return samplers.euler_maruyama(field, x, times[-2:], noise=noise, step_size=1 / (len(times) - 1))

    model = published(fixture)
    with torch.inference_mode():
        out = model.head.generate(
            {"noisy_stft": as_complex(fixture.tensors["y"])}, sampling=Sampling(solve_and_denoise, steps=4),
            noise=samplers.replay(recorded(fixture)[:2]),
        )
    assert calls == [recording["nfev"]]
    assert relative_error(out, as_complex(fixture.tensors["out.ode"])) < BOUND


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("storm_enhance_e2e", {"steps": 3}),
        ("storm_enhance_e2e_defaults_none_corrector", {"steps": 3, "corrector_steps": 0}),
        ("storm_denoiser_only_e2e", {}),
    ],
)
def test_enhancing(name: str, options: dict) -> None:
    fixture = load_parity(name)
    model, wav = published(fixture), fixture.tensors["audio_in"]
    sampling = checked_sampling(model, options.pop("steps", None), None, None, options)
    noise = samplers.replay(recorded(fixture)) if "noise" in fixture.tensors else None
    out = model.enhance(wav, sampling=sampling, noise=noise)
    assert out.shape == wav.shape
    assert relative_error(out[0], fixture.tensors["audio_out"]) < BOUND


def test_a_downloaded_checkpoint_enhances_as_published(tmp_path: Path) -> None:
    fixture = load_parity("storm_ckpt_small")
    torch.save(lightning_file(fixture, fixture.config["hyper_parameters"], "keys.json"), tmp_path / "model.ckpt")
    model = gense.load(tmp_path / "model.ckpt", device="cpu")
    # Each step has the size 1 / steps, whatever the user makes of the number of steps
    assert model.head.sampling == Sampling(
        "predictor_corrector", steps=50, options={"snr": 0.5, "corrector_steps": 1, "step_size": "even"}
    )
    out = model.enhance(
        fixture.tensors["audio_in"], sampling=checked_sampling(model, 2, None, None, {}),
        noise=samplers.replay(recorded(fixture)),
    )
    assert relative_error(out[0], fixture.tensors["audio_out"]) < BOUND


def test_the_joint_loss() -> None:
    """Published: a L_den + (1 - a) L_score, each half the sum over the batch. Ours are means, of as many numbers."""
    fixture = load_parity("storm_loss")
    t = fixture.tensors
    clean, noisy, noise = (as_complex(t[name]) for name in ("x", "y", "z"))
    head = published(fixture).head
    first, second = head.stages["denoised"], head.stages["out"]
    # The head draws time and noise itself; here they are those of the recording
    second.loss = lambda clean, cond: second.loss_at(clean["stft"], cond, 0.97 * t["uniform"] + 0.03, noise)
    loss = head.loss({"stft": clean}, {"noisy_stft": noisy})
    half_sum = 0.5 * clean.numel()
    assert float(loss.total.detach()) * half_sum == pytest.approx(float(t["loss"]), rel=BOUND)
    assert float(loss.parts["denoised/squared"]) * half_sum == pytest.approx(float(t["loss_denoiser"]), rel=BOUND)
    assert float(loss.parts["out/noise"]) * half_sum == pytest.approx(float(t["loss_score"]), rel=BOUND)
    # Joint: the score's loss alone reaches the denoiser, too
    (score_alone,) = torch.autograd.grad(
        second.loss({"stft": clean}, {"noisy_stft": noisy, "denoised": first.generate({"noisy_stft": noisy})}).total,
        [first.backbone.stem.weight],
    )
    assert score_alone.abs().max() > 0


def test_unlike_files_are_kept_apart() -> None:
    """The scripts of sgmse and storm name the same classes in their files."""
    weights = {"dnn.output_layer.weight": torch.zeros(2, 4, 1, 1)}
    for settings, storm in (
        ({"sde": "ouve", "sde_n": 1000}, True),
        ({"sde": "ouve", "discriminative": True}, True),
        ({"sde": "ouve", "backbone_denoiser": "ncsnpp"}, True),
        ({"sde": "ouve", "N": 30, "centered": True}, False),
        ({"sde": "ouve", "sde_n": 1000, "centered": True}, False),  # an older version of sgmse
        ({"sde": "ouve"}, False),
    ):
        checkpoint = {"hyper_parameters": settings, "state_dict": weights}
        assert convert_storm.recognise(checkpoint) is storm, settings
        if "backbone_denoiser" not in settings and "discriminative" not in settings:
            assert convert_sgmse.recognise(checkpoint) is not storm, settings


def small(**changes: Any) -> dict[str, Any]:
    fixture = load_parity("storm_ckpt_small")
    return lightning_file(fixture, {**fixture.config["hyper_parameters"], **changes}, "keys.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"condition": "text"}, "condition='text' is not supported; this version converts noisy, post_denoiser, both"),
        ({"condition": "noisy"}, "instead of"),
        ({"mode": "regen"}, "mode='regen'"),
        ({"backbone_score": "gagnet"}, "backbone_score='gagnet' is not supported; .* ncsnpp, ncsnpplarge"),
        ({"backbone_denoiser": "ncsnpp6M"}, "do the architecture arguments match"),
        ({"loss_type_denoiser": "sisdr"}, "loss_type_denoiser='sisdr'"),
        ({"spatial_channels": 2}, "spatial_channels=2"),
        ({"sde": "ouvp"}, "sde='ouvp'"),
    ],
)
def test_files_that_cannot_be_converted_say_why(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convert_storm.convert(small(**changes))


def test_the_training_of_a_file_goes_on_as_it_was() -> None:
    joint = converted(small(weighting_denoiser_to_score=0.3, loss_type_denoiser="mae")).head
    assert joint.weights == {"denoised": 0.3, "out": 0.7}
    assert joint.stages["denoised"].criterion == "absolute"
    frozen = converted(small(mode="regen-freeze-denoiser")).head
    assert frozen.trained == ("out",)
    assert not any(p.requires_grad for p in frozen.stages["denoised"].parameters())


@pytest.mark.parametrize(
    ("backbone", "denoiser", "score"),
    [
        ("ncsnpp", 27_342_350, 27_776_038), ("ncsnpplarge", 65_164_052, 65_623_352),
        ("ncsnpp12M", 11_440_526, 11_688_614), ("ncsnpp6M", 4_985_582, 5_225_990),
    ],
)  # fmt: skip
def test_published_sizes(backbone: str, denoiser: int, score: int) -> None:
    """The published counts, less what a denoiser owns and never runs: the frequencies and the time layers."""
    from gense.backbones import NCSNpp

    for inputs, count in ((1, denoiser), (3, score)):
        timed = {"timed": inputs > 1, "divide_by_time": "before" if inputs > 1 else None}
        settings = {**convert_storm._DEFAULTS, "backbone": backbone}
        arguments = convert_storm._network(settings, "backbone", {"inputs": inputs, **timed})
        with torch.device("meta"):
            network = NCSNpp(**arguments)
        unused = 0
        if inputs == 1:
            nf = arguments["base_channels"]
            blocks = [m for m in network.modules() if hasattr(m, "conv_in") and hasattr(m, "conv_out")]
            unused = nf + sum((4 * nf + 1) * block.conv_in.out_channels for block in blocks)
        assert sum(p.numel() for p in network.parameters()) + unused == count
