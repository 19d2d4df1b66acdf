"""Training by rewards: it raises them, holds still where it should, adapts, resumes, and leaves a model that loads."""

from __future__ import annotations

import copy
from pathlib import Path

import lightning
import pytest
import soundfile
import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader

import gense
from gense.checkpoints.build import build, read_config
from gense.cli import main
from gense.metrics import METRICS, Metric
from gense.training import GRPOModule, LoRA, Reward
from gense.training.adapters import adapted_copy, merged_state
from gense.training.rewards import Rewards
from gense.types import Batch, Sampling
from tests.tiny import passthrough, tiny_flow

LEVEL = Reward("level", worst=0.0, best=1.0)


@pytest.fixture(autouse=True)
def level(monkeypatch) -> None:
    """A reward with a known optimum: minus the distance of the level from a hundredth of the noisy one."""

    def score(clip) -> dict[str, float]:
        return {"level": -abs(float(torch.tensor(clip.est).norm() / torch.tensor(clip.noisy).norm()) - 0.01)}

    monkeypatch.setitem(METRICS, "level", Metric("level", ("level",), score, needs=("noisy",)))


def batches(count: int) -> DataLoader:
    torch.manual_seed(1)
    items = [Batch(*torch.randn(2, 2, 1600) * 0.1) for _ in range(count)]
    return DataLoader(items, batch_size=None)


def module(**settings) -> GRPOModule:
    chosen = {
        "rollouts": Sampling("exponential", steps=2, options={"eta": 1.0}, schedule_options={"stop": 0.4}),
        "optimizer": lambda p: torch.optim.Adam(p, lr=3e-3), "group": 6, "metrics": (), "kl": 0.0, **settings,
    }  # fmt: skip
    return GRPOModule(tiny_flow(), [LEVEL], chosen.pop("optimizer"), **chosen)


def train(grpo: GRPOModule, count: int) -> list[dict[str, float]]:
    """Train on batches of two items; what was logged, step by step."""
    logged: list[dict[str, float]] = []
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )
    grpo.log = lambda name, value, **_: logged.append({name: float(value)})  # type: ignore[method-assign]
    grpo.log_dict = lambda values, **_: logged[-1].update(values)  # type: ignore[method-assign]
    trainer.fit(grpo, batches(count))
    return logged


def weights(enhancer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in enhancer.head.state_dict().items()}


def test_a_reward_rises() -> None:
    logged = train(module(mirrored=True, shared_start=True), 24)
    first, last = (sum(step["reward"] for step in part) / 4 for part in (logged[:4], logged[-4:]))
    spread = sum(step["reward/spread"] for step in logged[:4]) / 4
    assert last > first + 2 * spread


def test_the_first_pass_is_on_policy_and_later_ones_are_not() -> None:
    (one,) = train(module(), 1)
    assert one["ratio"] == pytest.approx(1, abs=1e-5)
    assert one["clipped"] == 0
    (three,) = train(module(passes=3), 1)
    assert three["clipped"] > 0
    assert three["gradient"] > 0


def test_a_shared_first_state_is_asked_once_for_the_same_gradient(monkeypatch) -> None:
    """By the group's one call or by a call for each row: the same update."""
    ends = []
    for once in (True, False):
        grpo = module(shared_start=True, rows=6)
        if not once:  # every row for itself
            monkeypatch.setattr(grpo, "_roll_out", lambda *args, of=grpo._roll_out: numbered(*of(*args)))
        train(grpo, 1)
        ends.append(torch.cat([p.flatten() for p in grpo.enhancer.head.parameters()]))
    start = torch.cat([p.flatten() for p in tiny_flow().head.parameters()])
    assert (ends[0] - start).norm() > 0
    torch.testing.assert_close(ends[0], ends[1], atol=2e-4, rtol=0)


def numbered(cond, steps, clips):
    """The same steps with other numbers, so that none is the first."""
    from dataclasses import replace

    return cond, [replace(step, index=step.index + 1) for step in steps], clips


def test_equal_rewards_and_dropout_change_nothing() -> None:
    grpo = module()
    grpo.enhancer.head.backbone.train()
    before = weights(grpo.enhancer)
    grpo.rewards.rewards = [Reward("level", worst=-1e9, best=1e9)]  # differences fall below rounding
    grpo.rewards.scaled = lambda scores: [0.5]  # type: ignore[method-assign]
    train(grpo, 1)
    assert not grpo.enhancer.head.training
    for name, value in grpo.enhancer.head.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_divergence_pulls_back_to_the_first_weights() -> None:
    free, held = (module(kl=kl, optimizer=lambda p: torch.optim.Adam(p, lr=3e-3)) for kl in (1e-9, 1e4))
    distances = [train(grpo, 8)[-1]["kl"] for grpo in (free, held)]
    assert 0 < distances[1] < 0.5 * distances[0]
    first = tiny_flow().head.state_dict()
    for name, value in held.reference.state_dict().items():
        assert torch.equal(value, first[name])


def test_a_subset_of_the_steps_may_be_trained() -> None:
    grpo, seen = module(train_steps=1, rollouts=Sampling("exponential", steps=4, options={"eta": 0.5})), []
    grpo._loss = lambda *args, of=grpo._loss, **kw: seen.append(args[1].index) or of(*args, **kw)  # type: ignore
    train(grpo, 6)
    assert len(seen) == 6 * 2  # two parts of the 12 rollouts
    assert 1 < len(set(seen)) <= 3


@pytest.mark.parametrize("wrong", [{"group": 1}, {"clip": 0.0}, {"kl": -1.0}, {"passes": 0}, {"train_steps": 0}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="need group >= 2, clip > 0, kl >= 0"):
        module(**wrong)


def test_a_head_without_a_path_is_refused() -> None:
    with pytest.raises(TypeError, match="Passthrough walks no path"):
        GRPOModule(passthrough(), [LEVEL])


def test_adapters_begin_at_nothing_and_merge_into_plain_weights() -> None:
    pytest.importorskip("peft", reason="needs gense[lora]")
    plain = tiny_flow().head.backbone
    adapted = adapted_copy(plain, LoRA(rank=2, layers=r"down.*|stem"))
    x, t = torch.randn(1, 1, 256, 8, dtype=torch.complex64), torch.tensor([0.4])
    cond = {"noisy_stft": torch.randn_like(x)}
    torch.testing.assert_close(adapted(x, t, cond), plain(x, t, cond))
    trained = {name for name, p in adapted.named_parameters() if p.requires_grad}
    assert trained
    assert all(".lora_" in name for name in trained)
    for name, parameter in adapted.named_parameters():
        if name in trained:
            torch.nn.init.normal_(parameter, std=0.3)
    merged = copy.deepcopy(plain)
    merged.load_state_dict(merged_state(adapted))
    torch.testing.assert_close(merged(x, t, cond), adapted(x, t, cond), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(merged(x, t, cond), plain(x, t, cond), atol=1e-2)
    with pytest.raises(ValueError, match=r"layers='nothing': no linear layer"):
        adapted_copy(plain, LoRA(layers="nothing"))
    with pytest.raises(ValueError, match="need rank >= 1"):
        LoRA(rank=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    """A little speech, noise and a pair, the shipped training made small, and a model to start from."""
    root = tmp_path_factory.mktemp("grpo")
    rate, noise = clip.sample_rate, clip.noisy - clip.clean
    files = {
        "speech/a.wav": clip.clean[: 3 * rate], "noise/n.wav": noise[: 4 * rate],
        "pairs/clean/0.wav": clip.clean[rate : 2 * rate], "pairs/noisy/0.wav": clip.noisy[rate : 2 * rate],
    }
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    source = Path(gense.__file__).parent / "configs"
    method = yaml.safe_load((source / "method/flowse.yaml").read_text())
    method["init_args"]["head"]["init_args"]["backbone"]["init_args"] = {"channels": [8, 16], "blocks": 1}
    method["init_args"]["representations"]["stft"]["init_args"]["frames_multiple"] = 4
    (root / "method.yaml").write_text(yaml.safe_dump(method))
    train = yaml.safe_load((source / "train/flowse-grpo.yaml").read_text())
    settings = train["model"]["init_args"]
    settings.update(
        enhancer="method.yaml", initial=None, vocoder=None,
        rollouts={"sampler": "exponential", "steps": 2, "options": {"eta": 1.0}},
        rewards=[{"metric": "estoi"}, {"metric": "si_sdr", "weight": 0.5}],
        group=4, workers=0, rows=4, metrics=["lsd"],
    )
    train["data"] = {
        "speech": [str(root / "speech")], "validation": str(root / "pairs"), "seconds": 0.7, "batch_size": 2,
        "epoch_size": 4, "num_workers": 0,
        "degradations": [{"class_path": "gense.data.AddNoise", "init_args": {"folders": [str(root / "noise")]}}],
    }  # fmt: skip
    train["trainer"].update(
        max_steps=4, num_sanity_val_steps=0, enable_progress_bar=False, log_every_n_steps=1, enable_model_summary=False
    )
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    return root


def fit(folder: Path, out: Path, *more: str) -> Path:
    assert main(["fit", "--config", str(folder / "train.yaml"), f"--trainer.default_root_dir={out}", *more]) == 0
    return out


def only(root: Path, pattern: str) -> Path:
    (found,) = root.rglob(pattern)
    return found


@pytest.mark.parametrize("lora", [None, {"rank": 2}], ids=["full", "lora"])
def test_the_run_folder_is_a_plain_model_of_the_averaged_weights(folder, tmp_path, lora, clip) -> None:
    if lora:
        pytest.importorskip("peft", reason="needs gense[lora]")
    fit(folder, tmp_path, *([f"--model.init_args.lora={yaml.safe_dump(lora, default_flow_style=True).strip()}"]
                            if lora else []))  # fmt: skip
    saved = gense.load(only(tmp_path, "model.safetensors").parent)
    assert gense.enhance(clip.noisy[:8000], saved, sample_rate=16000).shape == (8000,)
    checkpoint = torch.load(only(tmp_path, "*.ckpt"), weights_only=True)
    assert checkpoint["global_step"] == 4
    (average,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("EMA"))
    assert all((".lora_" in name) == bool(lora) for name in average["average"])
    head = "enhancer.head."
    raw = {name.removeprefix(head): v for name, v in checkpoint["state_dict"].items() if name.startswith(head)}
    first = {n.removeprefix("reference."): v for n, v in checkpoint["state_dict"].items() if n.startswith("reference.")}
    own = saved.head.state_dict()
    assert own.keys() == first.keys()
    assert any(not torch.equal(own[name], first[name]) for name in own)
    if not lora:
        for name, value in average["average"].items():
            torch.testing.assert_close(own[name.removeprefix(head)], value)
        assert any(not torch.equal(raw[name], own[name]) for name in own)


def test_validation_logs_the_reward_and_what_is_not_rewarded_and_a_run_resumes(folder, tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    fit(folder, tmp_path / "first", "--trainer.max_steps=2")
    events = EventAccumulator(str(only(tmp_path / "first", "events*").parent))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    assert {"reward", "reward/estoi", "reward/si_sdr", "kl", "ratio", "val/reward", "val/lsd", "val/estoi"} <= tags
    half = only(tmp_path / "first", "*.ckpt")
    fit(folder, tmp_path / "second", f"--ckpt_path={half}")
    whole = fit(folder, tmp_path / "whole")
    resumed, whole = (
        torch.load(only(root, "*.ckpt"), weights_only=True) for root in (tmp_path / "second", tmp_path / "whole")
    )
    assert resumed["global_step"] == whole["global_step"] == 4
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, resumed["state_dict"][name]), "a resumed run is the uninterrupted one"
    first = torch.load(half, weights_only=True)["state_dict"]
    kernel = "backbone.stem.weight"
    assert not torch.equal(first[f"enhancer.head.{kernel}"], resumed["state_dict"][f"enhancer.head.{kernel}"])
    assert torch.equal(first[f"reference.{kernel}"], resumed["state_dict"][f"reference.{kernel}"])


def test_the_shipped_training_is_of_the_bundled_model(tmp_path) -> None:
    from gense.training.cli import FitCLI, names_its_class

    path = Path(gense.__file__).parent / "configs/train/flowse-grpo.yaml"
    settings = yaml.safe_load(path.read_text())["model"]["init_args"]
    assert names_its_class(["--config", str(path)], "model")
    assert settings["rollouts"]["steps"] >= 2
    assert len(Rewards([Reward(**reward) for reward in settings["rewards"]]).columns) > 1
    with pytest.raises(SystemExit):
        FitCLI(
            lightning.LightningModule, subclass_mode_model=True, run=False, save_config_callback=None,
            args=["--config", str(path), "--model.init_args.grupp=3"],
        )  # fmt: skip
    assert gense.load(settings["initial"], device="cpu").head.sampling.steps == settings["rollouts"]["steps"]


def test_rewards_of_sound_want_a_trained_vocoder() -> None:
    enhancer = build(read_config(Path(gense.__file__).parent / "configs/method/flowse-mel.yaml"))
    with pytest.raises(ValueError, match="vocoder=None: flowse/mel-compact fills the head alone"):
        GRPOModule(enhancer, [Reward("lsd")], initial="flowse/mel-compact")
