"""The published recipe with transcripts, made small: it trains from a table and leaves a model that reads text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml

pytest.importorskip("lightning", reason="needs gense[train]")

import gense
from gense.cli import main
from gense.training import EnhancerModule
from tests.tiny import tiny_flow
from tests.tiny_text import letters, tiny_text

CONFIGS = Path(gense.__file__).parent / "configs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("text_fit")
    rate = clip.sample_rate
    rows = ["path,text"]
    for index, start in enumerate((rate, 3 * rate, 5 * rate, 2 * rate)):
        soundfile.write(root / f"{index}.wav", clip.clean[start : start + rate // 2 + 1000 * index], rate)
        rows.append(f"{index}.wav,some words")
    (root / "said.csv").write_text("\n".join(rows))
    (root / "noise").mkdir()
    soundfile.write(root / "noise/n.wav", 0.1 * np.random.default_rng(0).standard_normal(rate), rate)
    (root / "vocab.txt").write_bytes(bytes(letters().vocabulary.tolist()))
    method = yaml.safe_load((CONFIGS / "method/flowse-text.yaml").read_text())
    settings = method["init_args"]
    settings["text"]["init_args"] = {"size": len(letters().vocabulary), "rule": "characters"}
    settings["head"]["init_args"]["backbone"]["init_args"] = {
        "dim": 32, "depth": 1, "heads": 2, "head_dim": 16, "vocabulary": 27, "text_dim": 16, "text_blocks": 1,
    }  # fmt: skip
    settings["vocoder"]["init_args"].update(dim=8, hidden=8, blocks=1)
    (root / "method.yaml").write_text(yaml.safe_dump(method))
    data = yaml.safe_load((CONFIGS / "data/utterances.yaml").read_text())
    data["init_args"].update(transcripts=str(root / "said.csv"), validation=None, num_workers=0, batch_seconds=1.3)
    data["init_args"]["degradations"][0]["init_args"]["folders"] = [str(root / "noise")]
    (root / "data.yaml").write_text(yaml.safe_dump(data))
    train = yaml.safe_load((CONFIGS / "train/flowse-text.yaml").read_text())
    train["model"].update(enhancer="method.yaml", warmup_steps=1)
    train["data"] = "data.yaml"
    train["trainer"].update(max_epochs=2, logger=False, enable_progress_bar=False, enable_model_summary=False)
    (root / "train.yaml").write_text(yaml.safe_dump(train))
    return root


def test_it_trains_from_a_table_and_leaves_a_model_that_reads_text(folder, tmp_path, clip) -> None:
    status = main([
        "fit", "--config", str(folder / "train.yaml"), f"--trainer.default_root_dir={tmp_path}",
        f"--model.vocabulary={folder / 'vocab.txt'}",
    ])  # fmt: skip
    assert status == 0
    enhancer = gense.load(tmp_path / "model", device="cpu")
    assert enhancer.text.ids()["z"] == 26
    noisy = clip.noisy[: clip.sample_rate]
    with_text = gense.enhance(noisy, enhancer, text="some words", steps=2)
    assert with_text.shape == noisy.shape
    assert np.isfinite(with_text).all()


def test_a_vocabulary_is_read_or_refused(folder, tmp_path) -> None:
    enhancer = tiny_text()
    enhancer.text.vocabulary.zero_()
    EnhancerModule(enhancer, vocabulary=str(folder / "vocab.txt"))
    assert torch.equal(enhancer.text.vocabulary, letters().vocabulary)
    (tmp_path / "other.txt").write_text(" \na\n")
    with pytest.raises(ValueError, match=r"has 4 bytes, the tokenizer of the YAML 54: set its size to 4"):
        EnhancerModule(enhancer, vocabulary=str(tmp_path / "other.txt"))
    with pytest.raises(ValueError, match="the method has no tokenizer"):
        EnhancerModule(tiny_flow(), vocabulary=str(folder / "vocab.txt"))
