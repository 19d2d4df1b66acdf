"""A FlowSE release as it lies on disk, rebuilt from the names, shapes and filling rules of the recordings."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.parity.fixtures import load_parity
from tests.vocoders import published as vocos

TRAINING = """\
model:
  tokenizer: pinyin
  audio_drop_prob: 0
  cond_drop_prob: 0
  mel_spec: {target_sample_rate: 24000, n_mel_channels: 100, hop_length: 256, win_length: 1024, n_fft: 1024}
"""


def vocabulary(tokens: str, ids: list[int], size: int = 2545) -> str:
    """A vocabulary of the published size in which these tokens have these ids; others than the space have none at 0."""
    lines = [" ", *(f"<{index}>" for index in range(1, size))]
    for token, index in zip(tokens, ids, strict=True):
        lines[index] = lines[index] if index == 0 else token
    return "\n".join(lines) + "\n"


def write_checkpoint(path: Path) -> Path:
    """The small network of the end-to-end recording in the published layout."""
    state = load_parity("flowse_cfm_sample").weights()
    state["transformer.rotary_embed.inv_freq"] = 10000.0 ** (-torch.arange(16) / 16)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(
        {"epoch": 7, "model_state_dict": state, "optim_state_dict": {}, "scheduler_state_dict": {}, "best_loss": 1.0},
        path,
    )
    return path


def write_release(folder: Path) -> Path:
    """Checkpoint, training YAML, vocabulary and vocoder in a folder; returns the checkpoint."""
    fixture = load_parity("flowse_e2e")
    path = write_checkpoint(folder / "best.pt.tar")
    (folder / "train.yaml").write_text(TRAINING)
    ids = fixture.inputs["token_ids"][0].tolist()
    (folder / "vocab.txt").write_text(vocabulary(fixture.config["text"], ids), encoding="utf-8")
    vocos.write(load_parity("vocos_mel_24k"), folder / "vocos-mel-24khz")
    return path
