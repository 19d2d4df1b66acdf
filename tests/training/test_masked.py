"""Masked prediction: what is hidden is hidden, it learns, and leaves a speech model that methods can read."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
import torch
import yaml

import gense
from gense.audio import Level
from gense.backbones import SSLEncoder
from gense.cli import main
from gense.representations import KMeansTokens, LogMel, MelSettings, SSLFeatures
from gense.training import MaskedPredictionModule
from gense.types import Batch
from tests.ssl.tiny import tiny

pytest.importorskip("transformers", reason="needs gense[hub]")

CONFIGS = Path(gense.__file__).parent / "configs"
MEL = MelSettings(sample_rate=16000, n_fft=640, hop_length=320, bands=20, padding="same", floor=1e-3)


def module(**options: object) -> MaskedPredictionModule:
    torch.manual_seed(0)
    targets = KMeansTokens(LogMel(MEL), clusters=4, dim=20)
    targets.centres.copy_(torch.linspace(-6, 0, 4)[:, None].expand(4, 20))  # four loudnesses
    encoder = SSLEncoder(tiny("hubert", conv_stride=[5, 2, 2, 2, 2, 2, 2], conv_kernel=[10, 3, 3, 3, 3, 2, 2],
                              conv_dim=[8] * 7, num_feat_extract_layers=7), layers=3)
    return MaskedPredictionModule(encoder, targets, **options)  # type: ignore[arg-type]


def speech(items: int = 2, frames: int = 40) -> torch.Tensor:
    """Noise whose loudness steps every eight frames, (items, frames * 320)."""
    draw = torch.Generator().manual_seed(1)
    steps = 10 ** (-2 * torch.rand(items, frames // 8, generator=draw)).repeat_interleave(8 * 320, dim=1)
    return 0.3 * steps * torch.randn(items, frames * 320, generator=draw)


def test_hidden_frames_do_not_reach_the_transformer(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = module(level=Level("none"))
    inner = trained.encoder.network.model.encoder
    hidden = torch.zeros(1, 40, dtype=torch.bool)
    hidden[:, 10:20] = True
    monkeypatch.setattr(trained, "_spans", lambda items, frames: hidden)
    # A later hook on the encoder sees what the first one made, before the positional convolution
    arrived = []
    inner.register_forward_pre_hook(lambda block, args: arrived.append(args[0].detach()))
    trained.loss(Batch(speech(1), speech(1)))
    (states,) = arrived
    torch.testing.assert_close(states[hidden], trained.mask.detach().expand(10, -1))
    assert not (states[~hidden] == trained.mask).all(dim=-1).any()
    assert trained._hidden is None, "outside the loss nothing is hidden"


def test_only_hidden_frames_count(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = module(level=Level("none"))
    one = torch.zeros(1, 40, dtype=torch.bool)
    one[0, 5] = True
    monkeypatch.setattr(trained, "_spans", lambda items, frames: one)
    wav = speech(1)
    loss, _ = trained.loss(Batch(wav, wav))
    goal = trained.targets.encode(wav)[0, 0, 5]
    trained._hidden = one
    logits = trained.names(trained.norm(trained.encoder(wav, None, {})[0, :, 5]))
    trained._hidden = None
    torch.testing.assert_close(loss, -logits.log_softmax(-1)[goal])


def test_frames_that_are_seen_count_with_their_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, wav = module(level=Level("none")), speech(1)
    hidden = torch.arange(40)[None] < 15
    losses = []
    for weight in (0.0, 1.0, 3.0):
        monkeypatch.setattr(trained, "_spans", lambda items, frames: hidden)
        trained.seen_weight = weight
        losses.append(float(trained.loss(Batch(wav, wav))[0]))
    assert losses[2] - losses[0] == pytest.approx(3 * (losses[1] - losses[0]), rel=1e-5)
    trained._hidden = hidden
    logits = trained.names(trained.norm(trained.encoder(wav, None, {}).mT))[0, 15:]
    trained._hidden = None
    goal = trained.targets.encode(wav)[0, 0, 15:]
    seen = -logits.log_softmax(-1).gather(1, goal[:, None]).mean()
    assert losses[1] - losses[0] == pytest.approx(float(seen), rel=1e-4)


def test_spans() -> None:
    """A share of 1 - (1 - p)^span of the frames far from the start is hidden, in runs of at least a span."""
    trained = module(start_share=0.03, span=10)
    hidden = trained._spans(400, 200)
    assert hidden[:, 20:].float().mean() == pytest.approx(1 - 0.97**10, abs=0.02)
    runs = "".join("x" if h else " " for h in hidden.flatten().tolist()[:20000]).split()
    assert sorted(map(len, runs))[len(runs) // 2] >= 10
    assert module(start_share=1e-9)._spans(3, 50).any(), "a batch without a hidden frame has no loss"


def test_it_learns_from_noisy_speech_what_the_clean_speech_is() -> None:
    trained = module(span=4, level=Level("none"))
    clean = speech(4)
    noisy = clean + 0.003 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
    optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=5e-3)
    losses = []
    for _ in range(60):
        loss, _ = trained.loss(Batch(clean, noisy))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.7 * sum(losses[:10])
    assert not trained.targets.centres.requires_grad


def test_errors() -> None:
    with pytest.raises(ValueError, match="start_share=0"):
        module(start_share=0.0)
    with pytest.raises(ValueError, match="expected one, the last"):
        MaskedPredictionModule(SSLEncoder(tiny("hubert"), layers=[1, 2]), module().targets)
    trained = module(level=Level("none"))
    trained.targets.tail = 320
    with pytest.raises(ValueError, match="40 frames, the targets 41"):
        trained.loss(Batch(speech(1), speech(1)))


def test_the_recipe_leaves_a_speech_model_that_teaches_the_next_round(tmp_path: Path, clip) -> None:
    """Two steps of the shipped training on a tiny network, then two of another round on clusters of its layer."""
    rate = clip.sample_rate
    (tmp_path / "speech").mkdir()
    soundfile.write(tmp_path / "speech/a.wav", clip.clean[: 2 * rate], rate)
    train = yaml.safe_load((CONFIGS / "train/ssl-compact.yaml").read_text())
    settings = train["model"]["init_args"]
    settings["encoder"]["init_args"]["model"].update(
        hidden_size=16, num_attention_heads=2, intermediate_size=16, conv_dim=[8] * 7, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
    )
    settings["fit_batches"] = 2
    settings["targets"]["init_args"]["clusters"] = 5
    train["data"] = {"speech": [str(tmp_path / "speech")], "degradations": [], "seconds": 0.64, "batch_size": 2,
                     "epoch_size": 4, "num_workers": 0, "validation": None}
    train["trainer"].update(max_steps=2, precision="32-true", enable_progress_bar=False, enable_model_summary=False)

    def fit(name: str) -> Path:
        (tmp_path / "train.yaml").write_text(yaml.safe_dump(train))
        run = f"--trainer.default_root_dir={tmp_path / name}"
        assert main(["fit", "--config", str(tmp_path / "train.yaml"), run]) == 0
        (config,) = (tmp_path / name).rglob("model/config.json")
        return config.parent

    first = fit("first")
    targets = settings["targets"]["init_args"]
    targets["dim"] = 16
    targets["features"] = {
        "class_path": "gense.representations.SSLFeatures", "init_args": {"model": str(first), "layers": 3},
    }  # fmt: skip
    features = SSLFeatures(str(fit("second")), layers=4).encode(0.1 * torch.randn(1, 6400))
    assert features.shape == (1, 16, 20)
    assert torch.isfinite(features).all()
