"""Distillation into a step or two: exact on a Gaussian, and as a training from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

import gense
from gense import Sampling
from gense.backbones import Backbone
from gense.checkpoints.build import build, read_config
from gense.heads import MeanFlowHead, PathHead
from gense.processes import LinearFlow, NoisyFlow, OrnsteinUhlenbeck, Process
from gense.training import DistilModule
from gense.training.distil import _start, squared, two_walks
from gense.types import Batch
from tests.folders import config, head, write_model
from tests.training.runs import fit, write_run

MEAN, VARIANCE, ANCHOR = 0.8, 0.25, -0.5


class Exact(Backbone):
    """The mean of data ~ N(MEAN, VARIANCE) given the state: the best network of flow matching."""

    def __init__(self, process: Process):
        super().__init__()
        self.process = process

    def forward(self, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
        a, b, s = (c[:, None] for c in self.process.coefficients(t))
        # ANCHOR stands wherever b does, and b is zero on paths without anchor
        return MEAN + a * VARIANCE / (a**2 * VARIANCE + s**2) * (x - a * MEAN - b * ANCHOR)


class Affine(Backbone):
    """w x + c: all that a student of a Gaussian needs for its first step, but not what it starts with."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, x: Tensor, t: Tensor, cond: dict[str, Tensor]) -> Tensor:
        return self.layer(x)


PATHS = {"falling": NoisyFlow(0.0, 0.487), "rising": LinearFlow()}
MANY = Sampling("heun", steps=32)


def path_head(backbone: Backbone, process: Process, steps: int) -> PathHead:
    pulled = float(process.coefficients(torch.tensor(process.t_prior)).b) != 0
    return PathHead(
        backbone, process, target="x", predicts="data", anchor="noisy_x" if pulled else None,
        condition=["noisy_x"], t_eps=0.0, sampling=Sampling("euler", steps=steps),
    )  # fmt: skip


@pytest.mark.parametrize("process", PATHS.values(), ids=PATHS)
def test_one_step_of_the_student_draws_from_the_law_that_the_teacher_needs_many_for(process) -> None:
    """Trained on the data, a one-step student would give their mean, with no variance at all."""
    torch.manual_seed(0)
    teacher, student = path_head(Exact(process), process, 1), path_head(Affine(), process, 1)
    cond = {"noisy_x": torch.full((2048, 1), ANCHOR)}
    alone = teacher.generate(cond, noise=torch.randn_like)
    assert alone.var() < 1e-6
    optimizer = torch.optim.Adam(student.parameters(), lr=0.05)
    for _ in range(200):
        made, goal = two_walks(student, teacher, cond, MANY)
        optimizer.zero_grad()
        squared(made, goal).backward()
        optimizer.step()
    assert squared(*two_walks(student, teacher, cond, MANY)) < 1e-5
    with torch.no_grad():
        one = student.generate({"noisy_x": torch.full((20000, 1), ANCHOR)}, noise=torch.randn_like)
    assert one.mean() == pytest.approx(MEAN, abs=0.02)
    assert one.var() == pytest.approx(VARIANCE, rel=0.05)


def test_both_walk_from_the_same_noise_and_the_gradient_goes_to_the_student_alone() -> None:
    process = NoisyFlow()
    teacher, student = path_head(Affine(), process, 4), path_head(Affine(), process, 1)
    student.load_state_dict(teacher.state_dict())
    cond = {"noisy_x": torch.zeros(3, 1)}
    made, goal = two_walks(student, teacher, cond, Sampling("euler", steps=1))
    torch.testing.assert_close(made, goal)
    made.square().sum().backward()
    assert teacher.backbone.layer.weight.grad is None
    assert student.backbone.layer.weight.grad.abs() > 0


@pytest.fixture
def teacher(tmp_path) -> Path:
    settings = config()
    head(settings)["process"] = {"class_path": "gense.processes.NoisyFlow"}
    return write_model(tmp_path / "teacher", settings)


def student(teacher: Path, **changes) -> gense.Enhancer:
    """The teacher's method with one step."""
    settings = read_config(teacher / "method.yaml")
    head(settings)["sampling"] = {"sampler": "euler", "steps": 1}
    for key, value in changes.items():
        (head(settings) if key in head(settings) else settings["init_args"])[key] = value
    return build(settings)


def test_a_student_starts_from_the_teacher_and_holds_no_copy_of_it(teacher) -> None:
    module = DistilModule(student(teacher), str(teacher))
    assert module.state_dict().keys() == {f"enhancer.{name}" for name in module.enhancer.state_dict()}
    torch.testing.assert_close(module.enhancer.state_dict(), module.teacher.state_dict())
    loss = module.training_loss(Batch(torch.randn(2, 8000), torch.randn(2, 8000)))
    loss.total.backward()
    assert all(p.grad is not None for p in module.enhancer.parameters())
    assert all(p.grad is None for p in module.teacher.parameters())
    assert loss.parts.keys() == {"teacher"}


def test_a_mean_flow_student_may_learn_from_a_flow(teacher) -> None:
    settings = config()
    arguments = head(settings)
    arguments.update(process={"class_path": "gense.processes.NoisyFlow"}, derivative="difference",
                     sampling={"sampler": "average", "steps": 2})
    arguments["backbone"]["init_args"]["times"] = 2
    settings["init_args"]["head"]["class_path"] = "gense.heads.MeanFlowHead"
    module = DistilModule(build(settings), str(teacher), clean_weight=0.5)
    assert isinstance(module.enhancer.head, MeanFlowHead)
    loss = module.training_loss(Batch(torch.randn(1, 8000), torch.randn(1, 8000)))
    assert loss.parts.keys() == {"teacher", "clean"}
    assert loss.total.item() == pytest.approx(float(loss.parts["teacher"] + 0.5 * loss.parts["clean"]))


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({"sampling": {"sampler": "euler", "steps": 8}}, {}, "the student in fewer steps"),
        ({"sampling": {"sampler": "euler_maruyama", "steps": 1}}, {}, "euler_maruyama draws noise on its way"),
        ({}, {"teacher_sampling": Sampling("flow_sde", steps=8)}, "flow_sde draws noise on its way"),
        ({"process": {"class_path": "gense.processes.OrnsteinUhlenbeck"}}, {}, "starting point of the path"),
        ({"level": {"kind": "peak"}}, {}, "differ in level"),
        ({}, {"clean_weight": -1.0}, "clean_weight=-1.0"),
    ],
)
def test_what_cannot_be_learnt_is_refused(changes, settings, said, teacher) -> None:
    with pytest.raises(ValueError, match=said):
        DistilModule(student(teacher, **changes), str(teacher), **settings)


def test_another_representation_is_refused(teacher) -> None:
    other = student(teacher)
    other.target.factor = 2 * other.target.factor
    with pytest.raises(ValueError, match="different representations 'stft'"):
        DistilModule(other, str(teacher))


def test_distillation_from_the_command_line_leaves_a_model_of_one_step(teacher, tmp_path, clip) -> None:
    train = write_run(tmp_path, clip)
    settings = yaml.safe_load(train.read_text())
    method = yaml.safe_load((teacher / "method.yaml").read_text())
    head(method)["sampling"] = {"sampler": "euler", "steps": 1}
    (tmp_path / "method.yaml").write_text(yaml.safe_dump(method))
    settings["model"] = {
        "class_path": "gense.training.DistilModule",
        "init_args": {
            **settings["model"], "teacher": str(teacher), "teacher_sampling": {"sampler": "heun", "steps": 2},
        },
    }  # fmt: skip
    train.write_text(yaml.safe_dump(settings))
    assert fit(train, tmp_path / "run", "--trainer.max_steps=3") == 0
    (weights,) = (tmp_path / "run").rglob("model.safetensors")
    made = gense.load(weights.parent)
    assert made.head.sampling.steps == 1
    before = gense.load(teacher).state_dict()
    assert any(not torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_a_process_that_starts_elsewhere_has_another_start() -> None:
    first = path_head(Affine(), NoisyFlow(), 1)
    assert _start(first) == _start(path_head(Affine(), NoisyFlow(), 2))
    assert _start(first) != _start(path_head(Affine(), OrnsteinUhlenbeck(), 1))
    assert _start(nn.Identity()) is None
