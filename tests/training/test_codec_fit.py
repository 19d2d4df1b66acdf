"""`gense fit` on a codec: it learns, its codes come into use, it resumes, and a method takes what it leaves."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import soundfile
import torch
import yaml

pytest.importorskip("lightning", reason="needs gense[train]")

import gense
from gense.checkpoints.build import build
from gense.checkpoints.codec import load_codec
from gense.cli import main
from gense.representations import SimCodec, Stages
from gense.training import CodebookGuard, CodecModule, EnhancerModule
from gense.types import Batch
from gense.vocoders.discriminators import Discriminators
from tests.training.test_vocoder_fit import JUDGES, only, scalars

CONFIGS = Path(gense.__file__).parent / "configs"
TINY = {
    "mel": {"sample_rate": 16000, "n_fft": 640, "hop_length": 320, "bands": 20, "padding": "same"}, "dim": 8,
    "width": 32, "hidden": 48, "encoder_blocks": 1, "decoder_blocks": 1, "codes": 16, "samples_multiple": 320,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    """A little speech and noise, a pair, and the shipped training made small."""
    root = tmp_path_factory.mktemp("codec")
    rate = clip.sample_rate
    files = {
        "speech/a.wav": clip.clean[: 3 * rate], "noise/n.wav": (clip.noisy - clip.clean)[: 2 * rate],
        "pairs/clean/0.wav": clip.clean[rate : 2 * rate], "pairs/noisy/0.wav": clip.noisy[rate : 2 * rate],
    }
    for name, wav in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, wav, rate)
    train = yaml.safe_load((CONFIGS / "train/codec-compact.yaml").read_text())
    settings = train["model"]["init_args"]
    codec = yaml.safe_load((CONFIGS / "train" / settings["codec"]).read_text())
    settings["codec"] = {**codec, "init_args": TINY}
    settings["discriminators"]["init_args"] = JUDGES
    settings["guard"] = {"plain_batches": 4, "window": 3}
    settings.update(adversarial_from=6, warmup_steps=1, metrics=["estoi"])
    settings["optimizer"]["init_args"]["lr"] = 3e-3
    train["data"] = {
        "speech": [str(root / "speech")], "validation": str(root / "pairs"), "seconds": 0.4, "batch_size": 4,
        "epoch_size": 48, "num_workers": 0,
        "degradations": [{"class_path": "gense.data.AddNoise", "init_args": {"folders": [str(root / "noise")]}}],
    }  # fmt: skip
    train["trainer"].update(
        max_steps=18, num_sanity_val_steps=0, enable_progress_bar=False, log_every_n_steps=1, enable_model_summary=False
    )
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    return root


def fit(folder: Path, out: Path, *more: str) -> Path:
    assert main(["fit", "--config", str(folder / "train.yaml"), f"--trainer.default_root_dir={out}", *more]) == 0
    return out


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    """6 batches of one step, then 6 of two."""
    return fit(folder, tmp_path_factory.mktemp("run"))


def test_it_learns_and_logs_its_losses_and_the_use_of_its_codes(run) -> None:
    logged = scalars(run)
    assert {"codes/used", "codes/perplexity", "val/codes_used", "val/codes_perplexity", "val/mel", "val/estoi"} <= set(
        logged
    )
    assert len(logged["loss/mel"]) == 12
    assert len(logged["loss/codebook"]) == len(logged["loss/commitment"]) == 8, "4 batches are not quantised"
    assert len(logged["loss/discriminators"]) == len(logged["loss/features"]) == 6
    mel = logged["loss/mel"]
    assert sum(mel[-3:]) < 0.9 * sum(mel[:3])
    assert all(0 < value <= 1 for value in logged["codes/used"])
    assert all(1 <= value <= 16 for value in logged["codes/perplexity"] + logged["val/codes_perplexity"])


def test_the_run_folder_is_a_codec_with_the_averaged_weights(run) -> None:
    codec = load_codec(only(run, "codec.yaml").parent)
    wav = torch.zeros(1, 1000)
    wav[:, ::50] = 0.5
    assert codec.encode(wav).shape == (1, 1, 4)
    assert codec.decode(codec.encode(wav), 1000).any()
    assert not any(p.requires_grad for p in codec.parameters()), "in a method it is frozen"
    checkpoint = torch.load(only(run, "*.ckpt"), weights_only=True)
    (average,) = (state for name, state in checkpoint["callbacks"].items() if name.startswith("EMA"))
    torch.testing.assert_close(codec.quantiser.codebooks.data, average["average"]["codec.quantiser.codebooks"])
    assert checkpoint["state_dict"]["guard.placed"]


def test_a_resumed_run_does_not_place_its_codes_again(folder, tmp_path) -> None:
    fit(folder, tmp_path / "first", "--trainer.max_steps=6")
    half = only(tmp_path / "first", "*.ckpt")
    fit(folder, tmp_path / "second", f"--ckpt_path={half}", "--trainer.max_steps=8", "--model.init_args.move_until=0")
    before, after = (torch.load(path, weights_only=True) for path in (half, only(tmp_path / "second", "*.ckpt")))
    assert (before["state_dict"]["batches"], after["state_dict"]["batches"]) == (6, 7)
    books = [state["state_dict"]["codec.quantiser.codebooks"] for state in (before, after)]
    assert 0 < (books[1] - books[0]).norm() < 0.3 * books[0].norm()
    assert len(scalars(tmp_path / "second")["loss/codebook"]) == 1


def method(codec: dict) -> dict:
    """The shipped method of two language models, made small, with this codec in it."""
    config = yaml.safe_load((CONFIGS / "method/codec-lm.yaml").read_text())
    settings = config["init_args"]
    settings["sample_rate"] = 16000
    settings["representations"] = {"codec": codec}
    head = settings["head"]["init_args"]
    head.update(size=16, delayed=False, position=None)
    head["lm"]["init_args"].update(vocabulary=18, streams=1, dim=16, depth=1, heads=2, positions=128)
    head.pop("sampling")
    return config


def test_a_method_takes_the_codec_of_a_run(run, clip) -> None:
    saved = only(run, "codec.yaml")
    config = method(yaml.safe_load(saved.read_text()))
    enhancer = build(copy.deepcopy(config))
    module = EnhancerModule(enhancer, codecs={"codec": str(saved.parent)})
    own, given = enhancer.representations["codec"], load_codec(saved.parent)
    wav = torch.from_numpy(clip.noisy[:6400].copy())[None]
    assert torch.equal(own.encode(wav), given.encode(wav))
    assert module.enhancer.loss(Batch(wav, wav)).total.isfinite()
    with pytest.raises(ValueError, match="codecs names 'codes'; the representations are codec"):
        EnhancerModule(build(copy.deepcopy(config)), codecs={"codes": str(saved.parent)})
    other = copy.deepcopy(config)
    other["init_args"]["representations"]["codec"]["init_args"]["mel"]["hop_length"] = 160
    with pytest.raises(ValueError, match=r"\(sample rate, hop\) \(16000, 320\), representation 'codec' \(16000, 160\)"):
        EnhancerModule(build(other), codecs={"codec": str(saved.parent)})
    other = method({**yaml.safe_load(saved.read_text()), "init_args": {**TINY, "width": 16}})
    with pytest.raises(ValueError, match="the weights do not fit"):
        EnhancerModule(build(other), codecs={"codec": str(saved.parent)})


def test_a_folder_without_a_codec_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"codec\.yaml: no such file"):
        load_codec(tmp_path)


def test_a_codec_at_the_rate_of_samples_is_trained_by_the_same_loop(clip, monkeypatch) -> None:
    """Every weight moves, though the codec came frozen; noisy items are to be given back as they are."""
    torch.manual_seed(0)
    stages = Stages(rates=[4, 2], kernels=[8, 4], block_kernels=[3], block_dilations=[[1, 3]])
    codec = SimCodec(stages, encoder_width=4, decoder_width=4, dim=8, levels=2, groups=1, codes=16)
    made = CodecModule(
        codec, Discriminators(**JUDGES), lambda p: torch.optim.AdamW(p, lr=2e-3), noisy_share=0.5,
        guard=CodebookGuard(plain_batches=1, window=2), peak_db=(-6.0, -6.0),
    )  # fmt: skip
    logged: dict[str, list[float]] = {}
    made.log = lambda name, value, **kwargs: logged.setdefault(name, []).append(float(value))
    sides = [made.optimizer(list(part.parameters())) for part in (made.codec, made.discriminators)]
    for name, value in (
        ("optimizers", lambda: sides), ("lr_schedulers", list), ("manual_backward", lambda loss: loss.backward()),
        ("toggle_optimizer", lambda side: made.discriminators.requires_grad_(False)),
        ("untoggle_optimizer", lambda side: made.discriminators.requires_grad_(True)), ("_total", lambda: 10),
    ):  # fmt: skip
        monkeypatch.setattr(made, name, value)
    clean, noisy = (
        torch.from_numpy(wav[16000:35200].copy()).unflatten(0, (6, -1)) for wav in (clip.clean, clip.noisy)
    )
    before = {name: p.detach().clone() for name, p in made.named_parameters()}
    for _ in range(3):
        made.training_step(Batch(clean, noisy), 0)
    for name, parameter in made.named_parameters():
        assert not torch.equal(parameter, before[name]), name
    assert len(logged["loss/mel"]) == 3
    assert len(logged["loss/spread"]) == 2
    assert len(logged["codes/used"]) == 1
    goal, estimate, _ = made.attempt(Batch(clean, noisy))
    assert estimate.shape == goal.shape == (6, 3200)
    for item, ours, theirs in zip(goal, clean, noisy, strict=True):
        kept = [torch.allclose(item, wav * (0.5011872 / wav.abs().max()), atol=1e-5) for wav in (ours, theirs)]
        assert sum(kept) == 1
    with pytest.raises(ValueError, match=r"noisy_share=1\.5"):
        CodecModule(codec, Discriminators(**JUDGES), noisy_share=1.5)


def test_a_decoder_alone_is_trained_on_for_codes_that_stay(folder, run, tmp_path, capsys) -> None:
    before = only(run, "model")
    more = ["--model.init_args.fixed_codes=true", "--trainer.max_steps=6", "--model.init_args.adversarial_from=0"]
    assert main(["fit", "--config", str(folder / "train.yaml"), *more]) == 1
    assert "fixed_codes=True: name the codec that made the codes, initial=" in capsys.readouterr().err
    after = only(fit(folder, tmp_path / "run", f"--model.init_args.initial={before}", *more), "model")
    old, new = load_codec(before), load_codec(after)
    wav = torch.from_numpy(soundfile.read(folder / "speech/a.wav", dtype="float32")[0])[None]
    assert torch.equal(old.encode(wav), new.encode(wav))
    moved = {name.split(".")[0] for name, value in new.state_dict().items() if not value.equal(old.state_dict()[name])}
    assert moved == {"decoder"}
