"""What holds for every sampler in the namespace, found by its signature."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gense.samplers as samplers
from gense.samplers import by_frame, gaussian, per_item
from tests.samplers.gaussian import BRIDGE, ORNSTEIN_UHLENBECK, GaussianField, draw, grid

FOLDER = Path(samplers.__file__).parent
SAMPLERS = [
    name
    for name in samplers.__all__
    if inspect.isfunction(getattr(samplers, name))
    and list(inspect.signature(getattr(samplers, name)).parameters)[:3] == ["field", "x", "times"]
]
VARIANTS = [
    *((name, {}) for name in SAMPLERS),
    ("odeint", {"solver": "rk4"}),
    ("euler_maruyama", {"churn": 0.5, "step_size": 0.2}),
    ("predictor_corrector", {"corrector_steps": 2, "correct": "langevin"}),
    ("predictor_corrector", {"corrector_steps": 0}),
    ("predictor_corrector", {"predict": False}),
    ("exponential", {"eta": 1.0}),
    ("exponential", {"eta": 0.5, "lookahead": True}),
]
every_variant = pytest.mark.parametrize(("name", "options"), VARIANTS, ids=[f"{n}-{o}" for n, o in VARIANTS])


def run(name, options, x, *, noise=None, times=None, **more):
    sampler = getattr(samplers, name)
    if "noise" in inspect.signature(sampler).parameters:
        more["noise"] = noise or gaussian(5)
    times = grid(ORNSTEIN_UHLENBECK, 5, end=0.03) if times is None else times
    field = GaussianField(BRIDGE if name == "bridge_ode" else ORNSTEIN_UHLENBECK, x)
    return sampler(field, x, times, **options, **more), field


def prior(shape=(3, 2, 8, 16), dtype=torch.complex64):
    return draw(ORNSTEIN_UHLENBECK, torch.tensor(1.0, dtype=torch.float64), shape, dtype)


def test_the_namespace_lists_the_samplers():
    assert set(SAMPLERS) == {
        "average", "bridge_ode", "euler", "euler_maruyama", "exponential", "flow_sde", "heun", "midpoint", "odeint",
        "predictor_corrector",
    }  # fmt: skip
    assert sorted(samplers.__all__) == samplers.__all__


@pytest.mark.parametrize("name", SAMPLERS)
def test_parameters_after_the_first_three_are_keywords(name):
    parameters = list(inspect.signature(getattr(samplers, name)).parameters.values())
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters[3:])
    assert parameters[-1].name == "callback"


@every_variant
@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128, torch.bfloat16])
def test_runs_and_keeps_shape_and_dtype(name, options, dtype):
    x = prior(dtype=torch.float32).to(dtype) if dtype is torch.bfloat16 else prior(dtype=dtype)
    before = x.clone()
    with torch.inference_mode():
        result, field = run(name, options, x)
    assert result.shape == x.shape
    assert result.dtype == dtype
    assert result.isfinite().all()
    assert torch.equal(x, before)
    assert field.calls > 0


@every_variant
def test_callback_sees_the_steps_and_changes_nothing(name, options):
    x, steps = prior(), []
    plain, plain_field = run(name, options, x)
    watched, watched_field = run(name, options, x, callback=steps.append)
    assert torch.equal(plain, watched)
    assert plain_field.calls == watched_field.calls
    times = grid(ORNSTEIN_UHLENBECK, 5, end=0.03)
    assert float(steps[0].t) == float(times[0])
    assert float(steps[-1].t_next) == float(times[-1])
    assert torch.equal(steps[-1].x_next, watched)
    assert [step.index for step in steps] == list(range(len(steps)))
    if options != {} or name != "odeint":
        assert len(steps) == 5
    for step in steps:
        for t in (step.t, step.t_next, step.std):
            assert (t.dtype, t.device.type, t.ndim) == (torch.float64, "cpu", 0)
        assert step.x.shape == step.mean.shape == step.x_next.shape == x.shape
        if step.std == 0:
            assert torch.equal(step.mean, step.x_next)


CALLS = {
    "average": 5, "bridge_ode": 5, "euler": 5, "heun": 9, "midpoint": 10, "odeint": 20, "euler_maruyama": 5,
    "exponential": 5, "flow_sde": 5,
    "predictor_corrector": 10,
}  # fmt: skip


@pytest.mark.parametrize("name", SAMPLERS)
def test_number_of_calls(name):
    _, field = run(name, {"solver": "rk4"} if name == "odeint" else {}, prior())
    assert field.calls == CALLS[name]


@every_variant
def test_an_item_does_not_depend_on_its_neighbours(name, options):
    if name == "odeint" and not options:
        pytest.skip("an adaptive method chooses its steps for the whole batch")
    x = prior()
    together, _ = run(name, options, x, noise=per_item([1, 2, 3]))
    for i in range(3):
        alone, _ = run(name, options, x[i : i + 1], noise=per_item([i + 1]))
        assert torch.equal(together[i : i + 1], alone)


@every_variant
def test_overlapping_pieces_agree(name, options):
    """With noise by absolute frame, and a network that sees one frame at a time, pieces equal the whole."""
    if name == "odeint" and not options:
        pytest.skip("an adaptive method chooses its steps for all frames")
    if options.get("correct") == "langevin":
        pytest.skip("its step size is a norm over all frames")
    like = torch.zeros(1, 2, 8, 96, dtype=torch.complex64)
    source = by_frame(9)
    whole, _ = run(name, options, source(like), noise=source)
    starts = [0, 16, 48]
    source = by_frame(9, starts)
    pieces, _ = run(name, options, source(like[..., :48].expand(3, -1, -1, -1)), noise=source)
    for piece, start in zip(pieces, starts, strict=True):
        assert torch.equal(piece, whole[0, ..., start : start + 48])


@every_variant
def test_gradients_are_the_callers_business(name, options):
    x = prior((1, 2, 3, 4)).requires_grad_()
    result, _ = run(name, options, x)
    (gradient,) = torch.autograd.grad(result.abs().sum(), x)
    assert gradient.abs().min() > 0
    with torch.no_grad():
        assert not run(name, options, x)[0].requires_grad


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("times", [[1.0], [1.0, 0.5, 0.5], [1.0, 0.2, 0.5], [1.0, float("nan")]])
def test_bad_grids_are_refused(name, times):
    with pytest.raises(ValueError, match="times"):
        run(name, {}, prior(), times=torch.tensor(times))


@pytest.mark.parametrize("name", SAMPLERS)
def test_grids_may_be_of_single_precision(name):
    times = torch.linspace(1.0, 0.25, 4)  # exact in both precisions
    assert torch.equal(run(name, {}, prior(), times=times)[0], run(name, {}, prior(), times=times.double())[0])


def test_the_folder_stands_alone():
    """It imports torch, torchdiffeq and the standard library, and itself relatively: it can be lifted out."""
    allowed = {"torch", "torchdiffeq", *sys.stdlib_module_names}
    for file in FOLDER.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level <= 1, f"{file.name} imports from outside the folder"
                names = [] if node.level else [node.module]
            else:
                continue
            assert {name.split(".")[0] for name in names} <= allowed, f"{file.name}: {names}"


def test_importing_is_cheap(tmp_path):
    """Copied elsewhere under another name the folder imports, and loads neither torchdiffeq nor scipy."""
    package = tmp_path / "lifted"
    package.mkdir()
    for file in FOLDER.glob("*.py"):
        (package / file.name).write_text(file.read_text())
    code = "import sys, lifted; lifted.schedules.karras(3); print({'torchdiffeq', 'scipy', 'gense'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
