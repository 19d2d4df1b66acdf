"""Data modules of pairs and of shards in a run: what is trained on, and that a run cut off goes on with the same."""

from __future__ import annotations

import io
import tarfile
from importlib import resources
from pathlib import Path

import pytest
import soundfile
import torch

pytest.importorskip("lightning", reason="needs gense[train]")

import lightning

from gense.data import Gain, PairedFolders
from gense.data.datamodule import MixtureDataModule, PairDataModule
from gense.types import Batch

RATE = 16000
CONFIGS = Path(str(resources.files("gense.configs")))


class Listener(lightning.LightningModule):
    """Keeps what it is given, and trains one number so that there are steps."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.heard: list[Batch] = []
        self.validated = 0

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        self.heard.append(batch)
        return self.weight**2

    def validation_step(self, batch: tuple, batch_idx: int) -> None:
        self.validated += 1

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("modules")
    with tarfile.open(root / "s.tar", "w") as tar:
        for index in range(4):
            clean = clip.clean[(index + 1) * RATE : (index + 2) * RATE]
            for side, wav in (("clean", clean), ("noisy", -0.5 * clean)):
                (root / side).mkdir(exist_ok=True)
                soundfile.write(root / side / f"{index}.wav", wav, RATE)
            file = io.BytesIO()
            soundfile.write(file, clean, RATE, format="FLAC")
            info = tarfile.TarInfo(f"{index}.flac")
            info.size = len(file.getvalue())
            file.seek(0)
            tar.addfile(info, file)
    return root


def module(folder: Path, kind: str, workers: int) -> MixtureDataModule:
    pairs = PairedFolders(noisy=str(folder / "noisy"), clean=str(folder / "clean"))
    settings = {
        "degradations": [Gain(drift_db=2.0, probability=0.5)], "validation": pairs, "seconds": 0.2, "batch_size": 2,
        "epoch_size": 6, "num_workers": workers,
    }  # fmt: skip
    if kind == "pairs":
        return PairDataModule(pairs, **settings)
    pytest.importorskip("webdataset", reason="needs webdataset")
    from gense.data.shards import ShardDataModule

    return ShardDataModule([str(folder / "s.tar")], settings.pop("degradations"), buffer=2, **settings)


def run(folder: Path, out: Path, kind: str, steps: int, *, workers: int = 0, start: Path | None = None) -> Listener:
    trainer = lightning.Trainer(
        max_steps=steps, max_epochs=-1, logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, num_sanity_val_steps=0, accelerator="cpu", use_distributed_sampler=False,
        default_root_dir=out,
    )  # fmt: skip
    listener = Listener()
    trainer.fit(listener, module(folder, kind, workers), ckpt_path=start)
    trainer.save_checkpoint(out / f"{steps}.ckpt")
    return listener


@pytest.mark.parametrize("kind", ["pairs", "shards"])
@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_cut_off_inside_an_epoch_goes_on_with_the_same_items(folder, tmp_path, kind, workers) -> None:
    whole = run(folder, tmp_path, kind, 7).heard
    first = run(folder, tmp_path, kind, 4, workers=workers).heard
    rest = run(folder, tmp_path, kind, 7, workers=workers, start=tmp_path / "4.ckpt").heard
    assert len(whole) == len(first) + len(rest) == 7
    for ours, theirs in zip([*first, *rest], whole, strict=True):
        assert torch.equal(ours.clean, theirs.clean)
        assert torch.equal(ours.noisy, theirs.noisy)
    assert not torch.equal(whole[0].clean, whole[3].clean)  # another epoch


def test_pairs_are_trained_and_validated_on(folder, tmp_path) -> None:
    listener = run(folder, tmp_path, "pairs", 3)
    assert listener.validated == 4
    for batch in listener.heard:
        assert batch.clean.shape == batch.noisy.shape == (2, 3200)
        opposite = -(batch.clean * batch.noisy).sum(-1) / (batch.clean.norm(dim=-1) * batch.noisy.norm(dim=-1))
        assert (opposite > 0.8).all()  # the input's gain may drift


@pytest.mark.parametrize("corpus", ["voicebank-demand", "dns", "shards", "urgent"])
def test_a_training_on_mixtures_becomes_one_on_a_corpus_by_naming_its_data(corpus, capsys) -> None:
    """Nothing of the recipe's own mixtures is left."""
    import yaml

    from gense.cli import main

    if corpus == "shards":
        pytest.importorskip("webdataset", reason="needs webdataset")
    data = CONFIGS / "data" / f"{corpus}.yaml"
    with pytest.raises(SystemExit) as stopped:
        main(["fit", "--config", str(CONFIGS / "train/flowse.yaml"), "--data", str(data), "--print_config"])
    assert stopped.value.code == 0
    used, given = yaml.safe_load(capsys.readouterr().out)["data"], yaml.safe_load(data.read_text())
    assert used.get("class_path") == given.get("class_path")
    used, given = used.get("init_args", used), given.get("init_args", given)
    assert [d["class_path"] for d in used["degradations"]] == [d["class_path"] for d in given["degradations"]]
    assert used.get("manifest") is None
    assert used.get("speech", []) == given.get("speech", [])
