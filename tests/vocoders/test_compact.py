"""The bundled vocoder: from the mel spectrogram back to speech, on the shipped clip and on real recordings."""

from __future__ import annotations

import pytest
import torch

from gense import vocoders
from gense.audio import read, resample
from gense.metrics import estoi, pesq
from gense.representations import LogMel, MelSettings
from gense.representations.resample import sinc_resample


@pytest.fixture(scope="module")
def vocoder() -> vocoders.Vocoder:
    return vocoders.load("vocos-compact")


def round_trip(vocoder: vocoders.Vocoder, wav: torch.Tensor) -> torch.Tensor:
    """(S,) at 16 kHz -> (S,) at 16 kHz, as methods use the vocoder."""
    mel = LogMel(vocoder.mel, input_rate=16000)
    with torch.inference_mode():
        made = vocoder(mel.encode(wav[None]), len(wav) * 3 // 2)
    return torch.from_numpy(resample(made[0].numpy(), 24000, 16000))[: len(wav)]


def test_it_is_small_and_takes_the_mel_of_the_published_model(vocoder) -> None:
    assert sum(p.numel() for p in vocoder.parameters()) < 2.5e6
    vocoder.check(MelSettings(floor=1e-7))


def test_the_spectrogram_of_the_result_is_near_the_one_it_was_made_from(vocoder, clip) -> None:
    wav = sinc_resample(torch.from_numpy(clip.clean)[None], 16000, 24000)
    mel = LogMel(vocoder.mel)
    with torch.inference_mode():
        again = mel.encode(vocoder(mel.encode(wav), wav.shape[-1]))
    loud = mel.encode(wav) > -6.0
    assert (again - mel.encode(wav)).abs()[loud].mean() < 0.4


def test_real_speech_comes_back_intelligible(vocoder, data_dir) -> None:
    scores = []
    for path in sorted((data_dir / "val_pairs/clean").glob("*.flac"))[::10]:
        samples, rate = read(path)
        wav = torch.from_numpy(resample(samples[:, 0], rate, 16000))
        again = round_trip(vocoder, wav)
        scores.append((pesq(again, wav, 16000), estoi(again, wav, 16000)))
    means = torch.tensor(scores).mean(dim=0)
    assert means[0] > 2.0
    assert means[1] > 0.85
