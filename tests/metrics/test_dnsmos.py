"""The networks of the DNSMOS family against the package that ships them."""

from __future__ import annotations

import numpy as np
import pytest

from gense.metrics import dnsmos, dnsmos_p808, pdnsmos
from gense.metrics.dnsmos_network import PERSONALISED, load_session
from gense.metrics.dnsmos_p808 import log_mel


@pytest.mark.parametrize("kind", ["noisy", "clean"])
def test_scores_are_those_of_speechmos(kind: str, clip) -> None:
    # Recorded from `speechmos.dnsmos.run` 0.0.1.1 with librosa 0.11 for the first 4.6 s of the shipped clip.
    expected = {
        "noisy": (2.931679, (2.541265, 4.064106, 2.184800), (1.379142, 1.863867, 1.453537)),
        "clean": (3.553622, (3.037738, 3.302037, 3.983288), (2.462652, 2.771672, 3.720347)),
    }[kind]
    wav = getattr(clip, kind)[:73600]
    assert dnsmos_p808(wav, 16000) == pytest.approx(expected[0], abs=1e-3)
    for score, values in zip((pdnsmos(wav, 16000), dnsmos(wav, 16000)), expected[1:], strict=True):
        assert (score.ovrl, score.sig, score.bak) == pytest.approx(values, abs=1e-3)


def test_speechmos_itself(clip) -> None:
    pytest.importorskip("librosa")
    package = pytest.importorskip("speechmos.dnsmos")
    wav = clip.noisy[:73600]
    assert dnsmos_p808(wav, 16000) == pytest.approx(package.run(wav, 16000)["p808_mos"], abs=1e-3)
    assert pdnsmos(wav, 16000).ovrl == pytest.approx(
        package.run(wav, 16000, "dnsmos_personalized")["ovrl_mos"], abs=1e-3
    )


def test_p808_averages_its_windows(clip) -> None:
    # 11 s hold the windows that start at 0 and at 1 s.
    wav = np.concatenate([clip.noisy, clip.clean])[:176000]
    parts = [dnsmos_p808(wav[start : start + 144160], 16000) for start in (0, 16000)]
    assert dnsmos_p808(wav, 16000) == pytest.approx(np.mean(parts), abs=1e-6)


def test_p808_hears_no_level(clip) -> None:
    features = log_mel(np.tile(clip.noisy, 2)[:144160])
    assert features.shape == (900, 120)
    assert features.dtype == np.float32
    assert features.max() == 1.0
    assert features.min() >= -1.0
    assert np.abs(log_mel(0.5 * np.tile(clip.noisy, 2)[:144160]) - features).max() < 1e-5


def test_a_tone_lies_in_its_band() -> None:
    # Slaney's scale is linear below 1 kHz: 120 bands to 8 kHz = 45.245 mel, so 500 Hz = 7.5 mel is band 19.06.
    tone = np.sin(2 * np.pi * 500.0 * np.arange(144160) / 16000).astype(np.float32)
    assert log_mel(tone)[450].argmax() == 19


def test_the_personalised_scale(clip) -> None:
    window = np.tile(clip.noisy, 2)[:144160]
    sig, bak, ovrl = load_session(PERSONALISED).run(None, {"input_1": window[None]})[0][0].astype(float)
    scores = pdnsmos(window, 16000)
    assert scores.sig == pytest.approx(-0.24348726 + 1.19576786 * sig + 0.02751166 * sig**2 - 0.01019296 * sig**3)
    assert scores.bak == pytest.approx(0.96883132 - 0.1644611 * bak + 0.44276479 * bak**2 - 0.04976499 * bak**3)
    assert scores.ovrl == pytest.approx(-0.11236046 + 1.18058466 * ovrl + 0.005101 * ovrl**2 - 0.00533021 * ovrl**3)
