"""Published FlowSE from its files to the waveform: recorded noise in, recorded audio out, 32 steps with guidance.

The distance is the largest absolute difference of samples with full scale 1; the recordings peak at 0.2.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import soxr
import torch

import gense
from gense import Enhancer
from tests.parity.fixtures import load_parity
from tests.parity.flowse_files import write_release

END_TO_END = 1e-4


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    return gense.load(write_release(tmp_path_factory.mktemp("release")), device="cpu")


@pytest.mark.parametrize("case", ["text", "without_text"])
def test_noisy_wave_in_enhanced_wave_out(release: Enhancer, case: str) -> None:
    fixture = load_parity("flowse_e2e")
    settings, recorded = fixture.config["cases"][case], fixture.outputs
    text = None if settings["drop_text"] else settings["text"]
    noise = gense.samplers.replay([fixture.inputs["noise"].mT])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Chinese characters are not in the vocabulary, there as here
        ours = release.enhance(fixture.inputs["wav16k"], text=text, noise=noise)[0]
    assert len(ours) == -(-len(fixture.inputs["wav16k"][0]) * 3 // 2)
    # The published code ends with the last whole frame
    ours = ours[: len(recorded["text.vocoder24k"][0])]
    if case == "text":
        theirs = recorded["text.vocoder24k"][0]
        theirs = theirs * 10 ** (-25 / 20) / theirs.double().square().mean().sqrt()
        assert (ours - theirs).abs().max() < END_TO_END
    back = soxr.resample(ours.numpy(), 24000, 16000, quality="HQ")
    theirs = recorded[f"{case}.wav16k"].numpy()
    assert len(back) in (len(theirs) - 1, len(theirs), len(theirs) + 1)
    length = min(len(back), len(theirs))
    assert np.abs(back[:length] - theirs[:length]).max() < END_TO_END


def test_the_front_door_gives_the_input_s_length_and_the_published_level(release: Enhancer) -> None:
    wav = load_parity("flowse_e2e").inputs["wav16k"][0]
    out = gense.enhance(wav, release, steps=1, guidance=0)
    assert out.shape == wav.shape
    whole = release.enhance(wav[None], sampling=gense.Sampling(steps=1))[0, : len(wav) * 3 // 2 // 256 * 256]
    assert 10 * torch.log10(whole.double().square().mean()) == pytest.approx(-25.0, abs=1e-3)
    assert not torch.allclose(out, gense.enhance(wav, release, steps=1), atol=1e-3)
