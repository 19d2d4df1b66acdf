"""Few-step models: a student that does in a step or two what its teacher does in many."""

from __future__ import annotations

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense import samplers
from gense.checkpoints.load import load_enhancer
from gense.enhancer import Enhancer
from gense.heads import Head
from gense.heads.resolve import keywords, name_of, resolve
from gense.samplers import replay
from gense.training.initial import copy_fitting
from gense.training.module import EnhancerModule
from gense.training.rates import Decay
from gense.types import Batch, Condition, Loss, Sampling


class DistilModule(EnhancerModule):
    """Trains an enhancer to give, in the few steps of its own sampling, what a trained one gives in many.

    Both walk from the same noise: the teacher along its ordinary differential equation, in many steps and without
    gradient, the student in its own few, through which the gradient goes. The squared distance of where they arrive is
    the loss (Luhman & Luhman 2021, arXiv 2101.02388). The student learns the map from noise to speech itself, so that,
    unlike with an estimate in one step, its outputs vary as the teacher's do.

    The defaults make a fast copy of a model: the method's YAML is the teacher's with fewer steps under `sampling`, and
    training begins from the teacher's weights wherever they fit.

    Args:
        enhancer: the student, whose head samples; with as many steps as it is to take in use.
        teacher: model as `gense.load` takes it, of the same representations, level and prior.
        optimizer: builds the optimiser from the parameters.
        teacher_sampling: how the teacher walks; it must be deterministic, given the noise it starts from.
        clean_weight: weight, >= 0, of the squared distance of the student from the clean speech; 0 listens to the
            teacher alone.
        initial: whose head training begins from, see `EnhancerModule`; None takes the teacher's. All that is no part
            of the head, such as a vocoder, is the teacher's.
        warmup_steps: steps of linear warm-up.
        final_share: see `EnhancerModule`.
        decay: see `EnhancerModule`.
        metrics: see `EnhancerModule`.

    Raises:
        ValueError: a negative weight, or a student that cannot learn from this teacher, see `check_pair`.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        teacher: str,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        teacher_sampling: Sampling = Sampling("heun", steps=8),  # noqa: B008 - frozen
        clean_weight: float = 0.0,
        initial: str | dict[str, str] | None = None,
        warmup_steps: int = 0,
        final_share: float = 1.0,
        decay: Decay = "cosine",
        metrics: tuple[str, ...] = ("pesq", "estoi", "si_sdr", "dnsmos"),
    ):
        super().__init__(
            enhancer, optimizer, warmup_steps=warmup_steps, final_share=final_share, decay=decay, metrics=metrics,
            initial=initial,
        )  # fmt: skip
        if clean_weight < 0:
            raise ValueError(f"clean_weight={clean_weight}: expected 0 or more")
        # Not a part of this module: it is not trained, saved, averaged or sent to other processes
        self._teacher: list[Enhancer] = [load_enhancer(teacher).eval().requires_grad_(False)]
        check_pair(enhancer, self.teacher, teacher_sampling)
        given = self.teacher.state_dict()
        if initial is not None:  # the vocoder, the vocabulary and the like come from the teacher all the same
            given = {name: value for name, value in given.items() if not name.startswith("head.")}
        if given:
            copy_fitting(enhancer.state_dict(), given, "the student", teacher)
        self.teacher_sampling = self.teacher.head.chosen(teacher_sampling, {})
        self.clean_weight = clean_weight

    @property
    def teacher(self) -> Enhancer:
        """The trained model; frozen, and no part of what is saved."""
        return self._teacher[0]

    def training_loss(self, batch: Batch) -> Loss:
        """Distance of the student from the teacher, and the method's losses on waveforms towards the teacher's.

        Raises:
            ValueError: the batch has transcripts and the method takes none.
        """
        student = self.enhancer
        if self.teacher.device != self.device:  # no part of this module, so nobody else takes it along
            self.teacher.to(self.device)
        scale = student.level.scale(batch.noisy, training=True)
        noisy = batch.noisy / scale
        texts = student.transcripts(batch.text, len(noisy))
        tokens = student.text(texts) if student.text is not None and texts is not None else None
        cond = student.conditions(noisy, tokens)
        clean = student.target.encode(batch.clean / scale)
        made, goal = two_walks(student.head, self.teacher.head, cond, self.teacher_sampling)
        total = squared(made, goal)
        parts = {"teacher": total.detach()}
        if self.clean_weight > 0:
            distance = squared(made, clean)
            total, parts["clean"] = total + self.clean_weight * distance, distance.detach()
        if student.wave_losses:
            length = noisy.shape[-1]
            heard, wanted = student.decode(made, length), student.decode(goal, length)
            for wave_loss in student.wave_losses:
                value = wave_loss(heard, wanted)
                total, parts[type(wave_loss).__name__] = total + wave_loss.weight * value, value.detach()
        return Loss(total, parts, data=made)


def squared(made: Tensor, goal: Tensor) -> Tensor:
    """Mean squared distance of features, real or complex, a scalar."""
    error = made - goal
    return (error.real.square() + error.imag.square() if error.is_complex() else error.square()).mean()


def two_walks(student: Head, teacher: Head, cond: Condition, teacher_sampling: Sampling) -> tuple[Tensor, Tensor]:
    """Where the student, with gradient, and the teacher, without, arrive from the same noise, (B, *feature, T) each.

    Args:
        student: walks by its own sampling.
        teacher: walks by `teacher_sampling`.
        cond: conditions of both by name.
        teacher_sampling: of a deterministic sampler.
    """
    drawn: list[Tensor] = []

    def draw(like: Tensor) -> Tensor:
        drawn.append(torch.randn_like(like))
        return drawn[-1]

    with torch.no_grad():
        goal = teacher.generate(cond, sampling=teacher_sampling, noise=draw)
    return student.generate(cond, noise=replay(drawn)), goal


def check_pair(student: Enhancer, teacher: Enhancer, teacher_sampling: Sampling) -> None:
    """Refuse a student that cannot learn from this teacher.

    Raises:
        ValueError: the student does not sample, or takes as many steps as the teacher; a sampler draws noise on its
            way; or the two differ in rate, level, conditions, representation of the target or starting point.
    """
    own = student.head.sampling
    if own is None or teacher.head.sampling is None or own.steps >= teacher_sampling.steps:
        raise ValueError(
            f"the student's sampling is {own}, the teacher's {teacher_sampling}: both have to sample, the student in "
            "fewer steps"
        )
    for sampling in (own, teacher_sampling):
        if "noise" in keywords(resolve(sampling.sampler, samplers, "field")):
            raise ValueError(
                f"sampler {name_of(sampling.sampler)} draws noise on its way, so that no start has one end: take one "
                "along the ordinary differential equation, such as euler or heun"
            )
    for what, own_value, their_value in (
        ("sample rate", student.sample_rate, teacher.sample_rate),
        ("level", student.level, teacher.level),
        ("conditions", student.head.reads, teacher.head.reads),
        ("target", student.head.target, teacher.head.target),
        ("starting point of the path", _start(student.head), _start(teacher.head)),
    ):
        if own_value != their_value:
            raise ValueError(f"student and teacher differ in {what}: {own_value} and {their_value}")
    probe = torch.randn(1, student.sample_rate, generator=torch.Generator().manual_seed(0))
    ours, theirs = (enhancer.target.encode(probe.to(enhancer.device)).cpu() for enhancer in (student, teacher))
    if ours.shape != theirs.shape or not torch.allclose(ours, theirs):
        raise ValueError(f"student and teacher have different representations {student.head.target!r}: take the same")


def _start(head: Head) -> tuple[float, ...] | None:
    """How anchor and noise make the state in which sampling starts; None for heads without a path of their own."""
    process = getattr(head, "process", None)
    if process is None:
        return None
    _, b, s = process.coefficients(torch.tensor(process.t_prior, dtype=torch.float64))
    return float(b), float(s)
