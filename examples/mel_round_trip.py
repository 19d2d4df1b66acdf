"""Audio to a mel spectrogram and back through a vocoder: what is the best that a mel-based method can sound like?

    python examples/mel_round_trip.py charactr/vocos-mel-24khz
    python examples/mel_round_trip.py path/to/vocoder speech.wav out.wav

The vocoder is a folder, as `gense fit --config configs/train/vocos.yaml` leaves it or with a published `config.yaml`
and `pytorch_model.bin`, or a repository of the Hugging Face hub, from which these files are fetched once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from gense import vocoders
from gense.audio import read, resample, write
from gense.representations import LogMel


def round_trip(vocoder: vocoders.Vocoder, wav: torch.Tensor) -> torch.Tensor:
    """(B, S) at the vocoder's rate -> (B, S), made from the mel spectrogram alone."""
    mel = LogMel(vocoder.mel)
    with torch.inference_mode():
        return vocoder(mel.encode(wav), wav.shape[-1])


def main(name: str, source: str | Path, target: str | Path) -> None:
    vocoder = vocoders.load(name)
    samples, rate = read(source)
    wav = torch.from_numpy(resample(samples, rate, vocoder.sample_rate).T.copy())  # (channels, S)
    again = round_trip(vocoder, wav)
    write(target, again.T.numpy(), vocoder.sample_rate)

    mel = LogMel(vocoder.mel)
    off = (mel.encode(again) - mel.encode(wav)).abs().mean()
    print(f"{target}: {wav.shape[-1] / vocoder.sample_rate:.2f} s at {vocoder.sample_rate} Hz")
    print(f"the mel spectrogram of the result is off by {off:.3f} on average")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    defaults = [str(Path(__file__).with_name("clean.wav")), "round_trip.wav"]
    main(sys.argv[1], *[*sys.argv[2:], *defaults[len(sys.argv) - 2 :]])
