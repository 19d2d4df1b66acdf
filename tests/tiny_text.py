"""A tiny method with transcripts, and one whose output shows which tokens each chunk was given."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gense import Enhancer, Sampling
from gense.audio import Level
from gense.backbones import Backbone, DiT
from gense.chunking import Chunking
from gense.heads import PathHead
from gense.processes import LinearFlow
from gense.representations import LogMel
from gense.representations.mel_settings import MelSettings
from gense.text import Tokenizer
from gense.types import Condition
from gense.vocoders import Vocos

MEL = {"sample_rate": 16000, "n_fft": 256, "hop_length": 128, "bands": 20}


def letters() -> Tokenizer:
    """The space and the letters a to z."""
    data = "\n".join(" abcdefghijklmnopqrstuvwxyz").encode() + b"\n"
    tokenizer = Tokenizer(len(data))
    tokenizer.vocabulary.copy_(torch.tensor(list(data), dtype=torch.uint8))
    return tokenizer


def text_method(
    backbone: Backbone, *, chunking: Chunking | None = None, text: bool = True, **settings: object
) -> Enhancer:
    """A method on a log-mel spectrogram at 16 kHz around a network that reads the noisy one and `text`."""
    head = PathHead(
        backbone, LinearFlow(), target="mel", predicts="velocity", anchor=None, condition=["noisy_mel", "text"],
        t_eps=0.0, dropout={"noisy_mel": 0.1, "text": 0.1}, sampling=Sampling("euler", steps=2),
    )  # fmt: skip
    vocoder = Vocos(
        mel=MelSettings(**MEL), channels=20, dim=16, hidden=16, blocks=1, sample_rate=16000, n_fft=256, hop_length=128
    )
    return Enhancer(
        {"mel": LogMel(MelSettings(**MEL))}, head, vocoder, text=letters() if text else None, sample_rate=16000,
        level=Level("rms"), chunking=chunking, **settings,  # type: ignore[arg-type]
    ).eval()


def tiny_text(**settings: object) -> Enhancer:
    """A transformer with random weights that leave a mark."""
    torch.manual_seed(0)
    net = DiT(features=20, dim=32, depth=1, heads=2, head_dim=16, vocabulary=27, text_dim=16, text_blocks=1)
    for parameter in net.parameters():  # the output layer starts at zero
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.1)
    return text_method(net, **settings)  # type: ignore[arg-type]


class Listener(Backbone):
    """Predicts nothing and writes down the tokens that it is given, None for no text."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Tensor | None] = []

    def forward(self, x: Tensor, t: Tensor | None, cond: Condition) -> Tensor:
        self.heard.append(cond.get("text"))
        return torch.zeros_like(x)
