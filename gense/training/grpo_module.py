"""The Lightning module that trains a flow on by rewards of what it makes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from gense.audio import resample
from gense.enhancer import Enhancer
from gense.metrics import Clip, score_clip
from gense.samplers.types import Step
from gense.training.adapters import LoRA, adapted_copy, merged_state
from gense.training.divergence import remedy
from gense.training.grpo import Combine, Spread, advantages, clipped_objective
from gense.training.logs import shared
from gense.training.module import EnhancerModule
from gense.training.policy import check_remade, divergence, group_noise, log_prob, remake, rollout
from gense.training.rates import Decay
from gense.training.rewards import Reward, Rewards
from gense.types import Batch, Condition, Sampling


class GRPOModule(EnhancerModule):
    """Online reinforcement post-training of a `PathHead` (FlowSE-GRPO, Wang et al. 2026, arXiv 2601.16483).

    Of each noisy item a group of rollouts is drawn by a stochastic sampler, decoded and scored. The advantage of each
    over its group weighs how much likelier its steps are made, by a clipped ratio, while a divergence holds the model
    near its first weights. Rollouts may take fewer steps than use does: `head.sampling` stays what it was and is what
    validation measures. One reward alone is soon hacked, which several that pull apart make harder. Group, noise and
    weights of the paper are not known here; the defaults are those of Flow-GRPO's published code where it has them.

    Dropout is off in all passes, so that the ratio of the first pass is 1. Memory is that of `rows` rollouts. Samplers
    whose steps depend on more than state and time are refused.

    Args:
        enhancer: what is trained, its head alone.
        rewards: what is rewarded.
        optimizer: builds the optimiser from the parameters.
        rollouts: sampling of the rollouts, with at least one stochastic step.
        group: rollouts per item, >= 2.
        combine: how rewards become one, see `advantages`.
        spread: whose deviation scales advantages, see `advantages`.
        clip: range of the ratio of mean log densities, > 0.
        kl: weight of the divergence from the first weights, >= 0; 0 spares a copy of them and a third of the calls.
        passes: optimiser steps on the rollouts of a batch, >= 1. From the second on ratios leave 1.
        train_steps: stochastic steps that are trained, drawn anew for each batch; None takes all.
        shared_start: whether the rollouts of a group begin at one draw of the prior, see `group_noise`.
        mirrored: whether the choices of half a group are those of the other half turned round, see `group_noise`.
        rows: rollouts per backward pass.
        clip_norm: largest norm of the gradient; None leaves it alone.
        lora: trains low-rank adapters instead of the weights; they are merged into what is validated and saved.
        workers: processes that score rollouts, 0 for none.
        seed: of the rollouts' noise.
        warmup_steps: see `EnhancerModule`.
        final_share: see `EnhancerModule`.
        decay: see `EnhancerModule`.
        metrics: validation metrics beside those of the rewards. What is not rewarded shows whether a reward is hacked.
        initial: see `EnhancerModule`; without it, or a checkpoint, random weights are trained on.
        vocoder: see `EnhancerModule`; a method with one needs it beside `initial`, for rewards are about sound.
        vocabulary: see `EnhancerModule`.

    Raises:
        TypeError: a head without a path.
        ValueError: an argument is out of its range, or `initial` comes without a vocoder for a method that has one.
    """

    def __init__(
        self,
        enhancer: Enhancer,
        rewards: list[Reward],
        optimizer: OptimizerCallable = torch.optim.AdamW,
        *,
        rollouts: Sampling = Sampling("flow_sde", steps=10, options={"level": 0.7}),  # noqa: B008 - frozen
        group: int = 8,
        combine: Combine = "sum",
        spread: Spread = "group",
        clip: float = 1e-4,
        kl: float = 0.04,
        passes: int = 1,
        train_steps: int | None = None,
        shared_start: bool = False,
        mirrored: bool = False,
        rows: int = 8,
        clip_norm: float | None = 1.0,
        lora: LoRA | None = None,
        workers: int = 0,
        seed: int = 0,
        warmup_steps: int = 0,
        final_share: float = 1.0,
        decay: Decay = "cosine",
        metrics: tuple[str, ...] = ("pesq", "estoi", "si_sdr", "dnsmos"),
        initial: str | dict[str, str] | None = None,
        vocoder: str | None = None,
        vocabulary: str | None = None,
    ):
        if not hasattr(enhancer.head, "field"):
            raise TypeError(f"{type(enhancer.head).__name__} walks no path: rollouts need a flow's or diffusion's head")
        if group < 2 or not clip > 0 or kl < 0 or min(passes, rows, 1 if train_steps is None else train_steps) < 1:
            raise ValueError(
                f"group={group}, clip={clip}, kl={kl}, passes={passes}, rows={rows}, train_steps={train_steps}: need "
                "group >= 2, clip > 0, kl >= 0 and the others >= 1"
            )
        group_noise(seed, group, mirrored=mirrored)
        if enhancer.vocoder is not None and initial is not None and vocoder is None:
            raise ValueError(
                f"vocoder=None: {initial} fills the head alone, and rewards would judge a vocoder of random weights; "
                "name one, such as vocoder: vocos-compact"
            )
        super().__init__(
            enhancer, optimizer, warmup_steps=warmup_steps, final_share=final_share, decay=decay, metrics=metrics,
            initial=initial, vocoder=vocoder, vocabulary=vocabulary,
        )
        self.automatic_optimization = False
        self.rewards = Rewards(rewards, workers=workers)
        self.rollouts, self.group, self.combine, self.spread = rollouts, group, combine, spread
        self.clip, self.kl, self.passes, self.train_steps = clip, kl, passes, train_steps
        self.shared_start, self.mirrored, self.rows, self.clip_norm = shared_start, mirrored, rows, clip_norm
        self.seed = seed
        for name, parameter in enhancer.named_parameters():
            if lora is not None or not name.startswith("head."):
                parameter.requires_grad_(False)
        head: Any = enhancer.head
        self.adapted: Any = None
        if lora is not None:
            self.adapted = copy.deepcopy(head)
            self.adapted.backbone = adapted_copy(head.backbone, lora)
        self.reference: Any = copy.deepcopy(head).requires_grad_(False) if kl > 0 else None

    @property
    def policy(self) -> Any:
        """The head that is trained."""
        return self.enhancer.head if self.adapted is None else self.adapted

    def training_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
        self.policy.eval()
        key = np.random.SeedSequence([self.seed, self.global_step, self.global_rank])
        cond, steps, clips = self._roll_out(batch, int(key.generate_state(1, np.uint64)[0]))
        rewards = self.rewards(clips)[0].unflatten(0, (-1, self.group))
        advantage = advantages(rewards, self.rewards.weights, combine=self.combine, spread=self.spread).flatten()
        if self.train_steps is not None and self.train_steps < len(steps):
            chosen = np.random.default_rng(key).choice(len(steps), self.train_steps, replace=False)
            steps = [steps[index] for index in sorted(chosen)]
        logged = self._update(cond, steps, advantage.to(self.device, torch.float32), self._frames(batch, steps[0]))
        total, size = rewards @ self.rewards.weights, len(batch.clean)
        self.log("reward", total.mean(), prog_bar=True, batch_size=size)
        logged["reward/spread"] = float(total.std(1, correction=0).mean())
        for column, mean in zip(self.rewards.columns, rewards.mean((0, 1)), strict=True):
            logged[f"reward/{column}"] = float(mean)
        self.log_dict(logged, batch_size=size)

    def _roll_out(self, batch: Batch, seed: int) -> tuple[Condition, list[Step], list[Clip]]:
        """Conditions of all rollouts, item by item, their stochastic steps, and what was made."""
        enhancer, group = self.enhancer, self.group
        with torch.no_grad():
            scale = enhancer.level.scale(batch.noisy)
            texts = enhancer.transcripts(batch.text, len(batch.noisy))
            tokens = enhancer.text(texts) if enhancer.text is not None and texts is not None else None
            single = enhancer.conditions(batch.noisy / scale, tokens)
            cond = {name: value.repeat_interleave(group, 0) for name, value in single.items()}
            noise = group_noise(seed, group, shared_start=self.shared_start, mirrored=self.mirrored)
            features, steps = rollout(self.policy, cond, self.rollouts, noise)
            length = -(-batch.noisy.shape[-1] * enhancer.output_rate // enhancer.sample_rate)
            made = (enhancer.decode(features, length) * scale.repeat_interleave(group, 0)).float().cpu().numpy()
        # What a file of integers would hold, so that a wild rollout is scored, too
        made = np.clip(np.nan_to_num(made), -1, 1)
        clean, noisy = (wav.cpu().numpy() for wav in (batch.clean, batch.noisy))
        clips = [
            self._clip(wav, clean[row // group], noisy[row // group], batch.text[row // group] if batch.text else None)
            for row, wav in enumerate(made)
        ]
        return cond, steps, clips

    def _clip(self, made: np.ndarray, clean: np.ndarray, noisy: np.ndarray, text: str | None = None) -> Clip:
        """A clip to be scored, at the rate of the data."""
        rate = self.enhancer.sample_rate
        return Clip(resample(made, self.enhancer.output_rate, rate)[: len(clean)], rate, clean, noisy, text)

    def _frames(self, batch: Batch, step: Step) -> int:
        """Frames that stand for samples; those behind them fill up, and are cut off in the end."""
        target = self.enhancer.target
        return min(step.x.shape[-1], int(batch.noisy.shape[-1] // target.hop_length * target.hop_frames) + 1)

    def _update(self, cond: Condition, steps: list[Step], advantage: Tensor, frames: int) -> dict[str, float]:
        """Take `passes` optimiser steps on recorded rollouts; returns means over all of them for the log.

        Args:
            cond: conditions, (R, ...) each.
            steps: stochastic steps of all rollouts.
            advantage: of each rollout, (R,).
            frames: that count.
        """
        optimizer: Any = self.optimizers()
        scheduler: Any = self.lr_schedulers()
        sums, calls = {"kl": 0.0, "clipped": 0.0, "ratio": 0.0, "gradient": 0.0}, len(advantage) * len(steps)
        rows = torch.arange(len(advantage), device=advantage.device)
        if self.kl == 0 and bool(advantage.any()):
            rows = rows[advantage != 0]  # a group in which all are alike teaches nothing, and costs as much
        for index in range(self.passes):
            optimizer.zero_grad()
            for part in rows.split(self.rows):
                for step in steps:
                    loss, ratio, distance = self._loss(cond, step, part, advantage[part], frames, check=index == 0)
                    if not torch.isfinite(loss):
                        raise remedy(f"the loss is {loss.item()}", self.global_step, clipping="clip_norm")
                    self.manual_backward(loss / calls)
                    sums["kl"] += float(distance.sum())
                    sums["ratio"] += float(ratio.sum())
                    sums["clipped"] += float(((ratio - 1).abs() > self.clip).sum())
            limit = float("inf") if self.clip_norm is None else self.clip_norm
            trained = [p for group in optimizer.param_groups for p in group["params"]]
            sums["gradient"] += float(torch.nn.utils.clip_grad_norm_(trained, limit))
            optimizer.step()
            scheduler.step()
        taken = {"gradient": self.passes}
        return {name: value / taken.get(name, self.passes * len(rows) * len(steps)) for name, value in sums.items()}

    def _loss(
        self, cond: Condition, step: Step, rows: Tensor, advantage: Tensor, frames: int, *, check: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sum over rows of the loss of one step, and each row's ratio and divergence, without gradient."""
        # Autocast keeps copies of weights: some made without gradients in the rollouts, some before the last update
        torch.clear_autocast_cache()
        asked, places = rows, torch.arange(len(rows), device=rows.device)
        if self.shared_start and step.index == 0:  # one state for the whole group: one call answers for all its rows
            items, places = torch.unique(rows // self.group, return_inverse=True)
            asked = items * self.group
        given = {name: value[asked] for name, value in cond.items()}
        mean = remake(self.policy, given, self.rollouts, step, asked)[places]
        if check:
            check_remade(mean, step, rows, self.rollouts.sampler)
        new, old = (log_prob(step.x_next[rows], m, step.std, frames) for m in (mean, step.mean[rows]))
        policy, ratio = clipped_objective(new, old, advantage, self.clip)
        distance = torch.zeros_like(ratio)
        if self.reference is not None:
            with torch.no_grad():
                other = remake(self.reference.eval(), given, self.rollouts, step, asked)[places]
            distance = divergence(mean, other, step.std, frames)
        return (policy + self.kl * distance).sum(), ratio.detach(), distance.detach()

    def _judge(self, batch: tuple[Tensor, Tensor], stage: str) -> dict[str, Tensor]:
        """As in `EnhancerModule`, by the metrics of the rewards, too, and with the reward that they make together."""
        clean, noisy = batch
        # What users get: float32, the default sampling, a fixed seed
        with torch.autocast(self.device.type, enabled=False):
            made = self.enhancer.enhance(noisy[None])[0].cpu().numpy()
        clip = self._clip(made, clean.cpu().numpy(), noisy.cpu().numpy())
        scores = score_clip(clip, list(dict.fromkeys([*self.metrics, *self.rewards.metrics])))
        if all(column in scores for column in self.rewards.columns):  # transcripts may be missing
            scores = {"reward": self.rewards.total(scores), **scores}
        for name, value in scores.items():
            self.log(f"{stage}/{name}", value, prog_bar=name == "reward", **shared())
        return {"noisy": noisy, "estimate": torch.as_tensor(clip.est), "clean": clean}

    def _merge(self) -> None:
        if self.adapted is not None:
            head: Any = self.enhancer.head
            head.backbone.load_state_dict(merged_state(self.adapted.backbone))

    # Both after the callbacks of the same name, which put averaged weights into place
    def on_validation_start(self) -> None:
        super().on_validation_start()
        self._merge()

    def on_train_end(self) -> None:
        super().on_train_end()
        self._merge()

    def teardown(self, stage: str) -> None:
        super().teardown(stage)
        self.rewards.close()
