"""A network of your own: any `Backbone`, here trained for a few steps on the demo clip.

    python examples/own_backbone.py
"""

from __future__ import annotations

from pathlib import Path

import soundfile
import torch
from torch import Tensor, nn

import gense
from gense.backbones import Backbone
from gense.heads import PathHead
from gense.processes import NoisyFlow
from gense.representations import CompressedSTFT
from gense.types import Batch, Condition


class Recurrent(Backbone):
    """A GRU over frames that sees the state and the noisy spectrum of all bins."""

    def __init__(self, bins: int = 256, hidden: int = 128):
        super().__init__()
        self.inward = nn.Linear(4 * bins + 1, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True, bidirectional=True)
        self.outward = nn.Linear(2 * hidden, 2 * bins)

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        spectra = torch.cat([x, *cond.values()], dim=1)  # (B, 2, F, T) complex
        planes = torch.view_as_real(spectra).permute(0, 3, 1, 4, 2).flatten(2)  # (B, T, 4 F)
        time = torch.zeros_like(planes[..., :1]) if t is None else t[:, None, None].expand(*planes.shape[:2], 1)
        h, _ = self.gru(torch.relu(self.inward(torch.cat([planes, time], dim=-1))))
        out = self.outward(h).unflatten(-1, (2, -1)).permute(0, 3, 1, 2)  # (B, F, T, 2)
        return torch.view_as_complex(out.contiguous()).unsqueeze(1)


def main(steps: int = 40) -> list[float]:
    """Train on one clip; returns the losses."""
    torch.manual_seed(0)
    head = PathHead(
        Recurrent(), NoisyFlow(), target="stft", predicts="data", anchor="noisy_stft", condition=["noisy_stft"],
        sampling=gense.Sampling("euler", steps=2),
    )
    enhancer = gense.Enhancer({"stft": CompressedSTFT(frames_multiple=1)}, head, sample_rate=16000)
    folder = Path(__file__).parent
    clean, noisy = (
        torch.from_numpy(soundfile.read(folder / f"{name}.wav", dtype="float32")[0]).reshape(-1)[:128000].reshape(8, -1)
        for name in ("clean", "noisy")
    )
    optimizer = torch.optim.Adam(enhancer.parameters(), lr=2e-3)
    losses = []
    for _ in range(steps):
        loss = enhancer.loss(Batch(clean, noisy)).total
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"loss {losses[0]:.4f} -> {losses[-1]:.4f}; enhanced: {tuple(enhancer.eval().enhance(noisy[:1]).shape)}")
    return losses


if __name__ == "__main__":
    main()
