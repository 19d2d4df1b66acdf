"""`gense fit` on a vocoder: it learns, both sides move, it resumes, and leaves a vocoder that loads."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
import yaml

import gense
from gense import vocoders
from gense.cli import main
from gense.losses import MultiScaleMelLoss
from gense.representations import LogMel, MelSettings, SSLFeatures
from gense.training import VocoderModule
from gense.training.cli import names_its_class
from gense.types import Batch
from gense.vocoders import Vocos
from gense.vocoders.discriminators import Discriminators
from tests.training.runs import assert_same, checkpoint, learnt

CONFIGS = Path(gense.__file__).parent / "configs"
JUDGES = {"periods": [2, 3], "period_channels": [4, 8], "resolutions": [256], "resolution_channels": 4}
SIZES = {"dim": 24, "hidden": 32, "blocks": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    """A little clean speech, a pair, and the shipped training made small."""
    root = tmp_path_factory.mktemp("vocoder")
    rate = clip.sample_rate
    files = {
        "speech/a.wav": clip.clean[: 2 * rate], "speech/b.wav": clip.clean[2 * rate : 4 * rate],
        "pairs/clean/0.wav": clip.clean[rate : 2 * rate], "pairs/noisy/0.wav": clip.noisy[rate : 2 * rate],
    }
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    compact = yaml.safe_load((CONFIGS / "vocoder/vocos-compact.yaml").read_text())
    compact["init_args"].update(SIZES)
    (root / "vocoder.yaml").write_text(yaml.safe_dump(compact))
    train = yaml.safe_load((CONFIGS / "train/vocos.yaml").read_text())
    settings = train["model"]["init_args"]
    settings.update(vocoder="vocoder.yaml", metrics=["estoi"], gradient_clip=100.0)
    settings["discriminators"]["init_args"] = JUDGES
    settings["optimizer"]["init_args"]["lr"] = 3e-3
    train["data"] = yaml.safe_load((CONFIGS / "train" / train["data"]).read_text())
    train["data"].update(
        speech=[str(root / "speech")], validation=str(root / "pairs"), seconds=0.2, batch_size=2, epoch_size=24,
        num_workers=0,
    )
    train["trainer"].update(
        max_steps=24, precision="32-true", num_sanity_val_steps=0, enable_progress_bar=False, log_every_n_steps=1,
        enable_model_summary=False,
    )
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    return root


def fit(folder: Path, out: Path, *more: str) -> Path:
    assert main(["fit", "--config", str(folder / "train.yaml"), f"--trainer.default_root_dir={out}", *more]) == 0
    return out


def only(root: Path, pattern: str) -> Path:
    (found,) = root.rglob(pattern)
    return found


def scalars(root: Path) -> dict[str, list[float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(only(root, "events*").parent))
    events.Reload()
    return {name: [event.value for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    return fit(folder, tmp_path_factory.mktemp("run"))


def test_the_run_folder_is_a_vocoder_that_loads(run) -> None:
    vocoder = vocoders.load(only(run, "vocoder.yaml").parent)
    assert vocoder.mel.floor == 1e-5
    assert vocoder(torch.zeros(1, 100, 4), 700).any()
    checkpoint = torch.load(only(run, "*.ckpt"), weights_only=True)
    (average,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("EMA"))
    torch.testing.assert_close(vocoder.state_dict()["out.weight"], average["average"]["vocoder.out.weight"])


def test_it_learns_and_logs_both_sides(run) -> None:
    """24 steps are 12 batches, because both sides step."""
    logged = scalars(run)
    assert {"loss/mel", "loss/score", "loss/features", "loss/discriminators", "val/mel", "val/estoi"} <= set(logged)
    mel = logged["loss/mel"]
    assert len(mel) == 12
    assert sum(mel[-3:]) < 0.9 * sum(mel[:3])


def test_a_resumed_run_goes_on_from_its_checkpoint(folder, tmp_path) -> None:
    fit(folder, tmp_path / "first", "--trainer.max_steps=8")
    half = only(tmp_path / "first", "*.ckpt")
    fit(folder, tmp_path / "second", f"--ckpt_path={half}", "--trainer.max_steps=12")
    before, after = (torch.load(path, weights_only=True) for path in (half, only(tmp_path / "second", "*.ckpt")))
    assert (before["global_step"], after["global_step"]) == (8, 12)
    assert (before["state_dict"]["batches"], after["state_dict"]["batches"]) == (4, 6)
    for state, batches in ((before, 4), (after, 6)):
        assert [schedule["last_epoch"] for schedule in state["lr_schedulers"]] == [batches, batches]
        for optimizer in state["optimizer_states"]:
            assert {int(entry["step"]) for entry in optimizer["state"].values()} == {batches}
    for name in ("vocoder.embed.weight", "discriminators.periods.0.last.bias"):
        moved = (after["state_dict"][name] - before["state_dict"][name]).norm()
        assert 0 < moved < before["state_dict"][name].norm()


def test_a_run_cut_off_inside_an_epoch_ends_as_the_uninterrupted_one(folder, tmp_path) -> None:
    """With two optimisers in turn, too: weights, optimisers and average are equal bit for bit."""
    more = ["--trainer.max_steps=12", "--trainer.callbacks+=lightning.pytorch.callbacks.ModelCheckpoint",
            "--trainer.callbacks.every_n_train_steps=2", "--trainer.callbacks.save_top_k=-1",
            "--trainer.callbacks.filename={step}"]  # fmt: skip
    fit(folder, tmp_path / "whole", *more)
    fit(folder, tmp_path / "rest", *more, f"--ckpt_path={checkpoint(tmp_path / 'whole', 6)}")
    assert_same(*(learnt(checkpoint(tmp_path / name, 12)) for name in ("rest", "whole")))


def module(**settings) -> VocoderModule:
    torch.manual_seed(0)
    made = VocoderModule(Vocos(**SIZES), Discriminators(**JUDGES), lambda p: torch.optim.SGD(p, lr=1e-2), **settings)
    made.log = lambda *args, **kwargs: None
    return made


def step(made: VocoderModule, clip, monkeypatch) -> dict[str, torch.Tensor]:
    """One training step without a trainer; what each parameter moved by."""
    sides = [made.optimizer(list(part.parameters())) for part in (made.vocoder, made.discriminators)]
    monkeypatch.setattr(made, "optimizers", lambda: sides)
    monkeypatch.setattr(made, "lr_schedulers", list)
    monkeypatch.setattr(made, "manual_backward", lambda loss: loss.backward())
    monkeypatch.setattr(made, "toggle_optimizer", lambda side: made.discriminators.requires_grad_(False))
    monkeypatch.setattr(made, "untoggle_optimizer", lambda side: made.discriminators.requires_grad_(True))
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    clean = torch.from_numpy(clip.clean[16000:21000].copy())[None]
    made.training_step(Batch(clean, clean), 0)
    return {name: (p - before[name]).abs().sum() for name, p in made.named_parameters()}


def test_both_sides_move_and_before_their_time_the_discriminators_do_not(clip, monkeypatch) -> None:
    moved = step(module(), clip, monkeypatch)
    assert all(value > 0 for name, value in moved.items() if name.startswith("vocoder."))
    for part in ("periods.0.", "periods.1.", "resolutions.0."):
        assert sum(value for name, value in moved.items() if name.startswith(f"discriminators.{part}")) > 0
    waiting = module(adversarial_from=1)
    moved = step(waiting, clip, monkeypatch)
    assert all(value > 0 for name, value in moved.items() if name.startswith("vocoder."))
    assert not any(value > 0 for name, value in moved.items() if name.startswith("discriminators."))
    moved = step(waiting, clip, monkeypatch)
    assert any(value > 0 for name, value in moved.items() if name.startswith("discriminators."))


def test_crops_get_a_peak_in_the_range_but_pauses_keep_their_level() -> None:
    made = module(peak_db=(-6.0, -1.0))
    wav = torch.randn(64, 500) * torch.logspace(-1, 0, 64)[:, None] * 0.5
    wav[0] *= 1e-3
    gain = made._gain(wav)
    peaks = (wav * gain).abs().amax(dim=-1)
    assert gain[0] == 1
    assert ((peaks[1:] >= 10 ** (-6 / 20) - 1e-6) & (peaks[1:] <= 10 ** (-1 / 20) + 1e-6)).all()
    assert peaks[1:].std() > 0.05


def test_the_learning_rate_counts_batches(monkeypatch) -> None:
    made = module(warmup_steps=10, adversarial_from=20)

    class Trainer:
        max_steps = 180  # 20 alone, then 80 batches of two steps

    monkeypatch.setattr(VocoderModule, "trainer", Trainer)
    assert made._share(0) == pytest.approx(0.1)
    assert made._share(10) == pytest.approx(1.0)
    assert made._share(55) == pytest.approx(0.5)
    assert made._share(100) == pytest.approx(0.0)


def test_a_loss_that_is_not_finite_stops_the_run_with_a_remedy(folder, tmp_path, capsys) -> None:
    arguments = ["--model.init_args.optimizer.init_args.lr=1e30", f"--trainer.default_root_dir={tmp_path}"]
    assert main(["fit", "--config", str(folder / "train.yaml"), *arguments]) == 1
    said = capsys.readouterr().err
    assert "training diverged; lower the learning rate" in said
    assert "gradient_clip of the model" in said


def test_a_vocoder_without_a_mel_needs_features_and_a_distance() -> None:
    other = Vocos(mel=None, **SIZES)
    for given in ({}, {"features": LogMel(other.mel or MelSettings())}, {"distance": MultiScaleMelLoss()}):
        with pytest.raises(ValueError, match="takes no mel spectrogram: it needs features, and the distance"):
            VocoderModule(other, Discriminators(**JUDGES), **given)
    slower = LogMel(MelSettings(hop_length=300))
    with pytest.raises(ValueError, match="differ: 24000 and 24000 Hz, a frame every 300 and 256 samples"):
        VocoderModule(other, Discriminators(**JUDGES), features=slower, distance=MultiScaleMelLoss())
    with pytest.raises(ValueError, match="says itself which mel spectrogram it takes"):
        VocoderModule(Vocos(**SIZES), Discriminators(**JUDGES), features=slower)


def test_a_vocoder_of_a_speech_model_s_layers_learns_clean_speech_from_noisy_features(clip, monkeypatch) -> None:
    """Two streams of a tiny frozen network; the losses are those of PASE."""
    pytest.importorskip("transformers", reason="needs gense[hub]")
    torch.manual_seed(0)
    config = {
        "model_type": "wavlm", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 16, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer", "do_stable_layer_norm": True,
    }  # fmt: skip
    heard = []

    class Recording(SSLFeatures):
        def encode(self, wav):
            heard.append(wav)
            return super().encode(wav)

    features = Recording(config, [1, 2], scaling="item")
    vocoder = Vocos(
        mel=None, channels=16, streams=2, context=True, dim=32, hidden=32, blocks=1, sample_rate=16000, n_fft=1280,
        hop_length=320, padding="same",
    )  # fmt: skip
    judges = Discriminators(**JUDGES, criterion="squares", average=False, resolution_weight=1.0)
    made = VocoderModule(
        vocoder, judges, lambda p: torch.optim.AdamW(p, lr=2e-3), features=features, hears="noisy",
        distance=MultiScaleMelLoss(), mel_weight=15.0, score_weight=2.0, peak_db=(-1.0, -1.0),
    )  # fmt: skip
    logged: dict[str, list[float]] = {}
    made.log = lambda name, value, **kwargs: logged.setdefault(name, []).append(float(torch.as_tensor(value).detach()))
    sides = [made.optimizer(list(part.parameters())) for part in (made.vocoder, made.discriminators)]
    for name, value in (
        ("optimizers", lambda: sides), ("lr_schedulers", list), ("manual_backward", lambda loss: loss.backward()),
        ("toggle_optimizer", lambda side: judges.requires_grad_(False)),
        ("untoggle_optimizer", lambda side: judges.requires_grad_(True)),
    ):  # fmt: skip
        monkeypatch.setattr(made, name, value)
    clean, noisy = (torch.from_numpy(wav[16000:19300].copy())[None] for wav in (clip.clean, clip.noisy))
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    for _ in range(12):
        made.training_step(Batch(clean, noisy), 0)
    assert sum(logged["loss/mel"][-3:]) < 0.9 * sum(logged["loss/mel"][:3])
    assert heard[0].shape[-1] == 3200
    expected = noisy * (10 ** (-1 / 20) / torch.maximum(clean.abs().amax(), noisy.abs().amax()))
    torch.testing.assert_close(heard[0], expected[:, :3200])
    for name, parameter in made.named_parameters():
        # The bias of the keys moves all weights of an attention alike
        still = name.startswith("features.") or name == "vocoder.context.2.key.bias"
        assert still or not torch.equal(parameter, before[name]), name
        assert not name.startswith("features.") or torch.equal(parameter, before[name]), name
    with torch.no_grad():
        made.validation_step((clean[0], noisy[0]), 0)
    assert logged["val/mel"][0] > 0


def test_a_misspelt_key_is_refused_with_its_path(folder, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--config", str(folder / "train.yaml"), "--model.init_args.mel_wait=1"])
    assert "mel_wait" in capsys.readouterr().err


def test_the_shipped_training_builds_its_compact_vocoder() -> None:
    from gense.checkpoints.vocoder import build_vocoder

    vocoder = build_vocoder(yaml.safe_load((CONFIGS / "vocoder/vocos-compact.yaml").read_text()))
    assert sum(p.numel() for p in vocoder.parameters()) <= 2.5e6
    vocoder.check(vocoders.Vocos(**SIZES).mel)  # interchangeable with the published model


def test_the_module_is_named_by_the_yaml_or_the_arguments(folder) -> None:
    named, plain = str(CONFIGS / "train/vocos.yaml"), str(CONFIGS / "train/flowse.yaml")
    assert names_its_class(["--config", named], "model")
    assert names_its_class([f"--config={named}", "--trainer.max_steps=2"], "model")
    assert not names_its_class(["--config", plain], "model")
    assert not names_its_class(["--config", "nowhere.yaml"], "model")
    assert names_its_class(["--model.class_path=gense.training.VocoderModule"], "model")
