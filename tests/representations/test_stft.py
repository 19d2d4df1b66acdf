"""The compressed spectrogram: published values, inversion, padding, short input."""

from __future__ import annotations

import pytest
import torch

from gense.representations import CompressedSTFT
from tests.parity.fixtures import as_complex, load_parity, relative_error

NAMES = {"spec_factor": "factor", "spec_abs_exponent": "exponent", "transform_type": "transform"}
EVERY = 5  # the recordings hold every fifth frame
CASES = ["16k", "16k_reflect", "16k_exact", "48k", "16k_log", "16k_sqrthann_e1"]


@pytest.fixture(scope="module")
def parity():
    return load_parity("sgmse_stft")


@pytest.mark.parametrize("case", CASES)
def test_published_spectrograms_and_round_trips(parity, case: str) -> None:
    info = parity.config["cases"][case]
    settings = {NAMES.get(k, k): v for k, v in info["data_module_kwargs"].items()}
    stft = CompressedSTFT(
        sample_rate=info["sample_rate"], pad_mode="reflect" if info["pad_mode"] == "reflection" else "zero", **settings
    )
    fixed = parity.tensors
    wav = fixed[f"{case}.audio"]
    encoded = stft.encode(wav)
    frames = info["frames"]
    plain = stft.spectrogram(wav)
    assert encoded.shape == (1, 1, info["bins"], info["padded_frames"])
    assert relative_error(plain[..., :3], as_complex(fixed[f"{case}.stft_frames_0_3"])) < 1e-6
    assert relative_error(encoded[0, ..., :frames:EVERY], as_complex(fixed[f"{case}.compressed"])) < 1e-6
    if frames < info["padded_frames"]:
        tail = as_complex(fixed[f"{case}.padded_tail"])
        torch.testing.assert_close(encoded[..., frames::EVERY], tail, rtol=1e-5, atol=1e-6)
    decoded = stft.decode(encoded, wav.shape[-1])
    assert relative_error(decoded[0], fixed[f"{case}.roundtrip"]) < 1e-5


@pytest.mark.parametrize("transform", ["exponent", "log", "none"])
@pytest.mark.parametrize("samples", [1, 100, 255, 256, 1000, 4097])
@pytest.mark.parametrize("pad_mode", ["zero", "reflect", "replicate"])
def test_decode_inverts_encode_at_any_length(transform, samples, pad_mode) -> None:
    stft = CompressedSTFT(transform=transform, pad_mode=pad_mode, frames_multiple=16)
    wav = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    encoded = stft.encode(wav)
    assert encoded.shape[-1] % 16 == 0
    inner = max(0, samples - 255)  # behind the last whole frame the inverse divides by a vanishing window
    torch.testing.assert_close(stft.decode(encoded, samples)[:, :inner], wav[:, :inner], rtol=1e-3, atol=1e-4)
    assert stft.decode(encoded, samples).shape == wav.shape


def test_silence_stays_exactly_zero() -> None:
    stft = CompressedSTFT()
    encoded = stft.encode(torch.zeros(1, 5000))
    assert not encoded.abs().any()
    assert not stft.decode(encoded, 5000).any()


def test_the_gradient_of_decoding_silence_is_finite() -> None:
    stft = CompressedSTFT()
    x = torch.zeros(1, 1, 256, 64, dtype=torch.complex64, requires_grad=True)
    stft.decode(x, 8000).square().sum().backward()
    assert torch.isfinite(x.grad.abs()).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transform": "sqrt"}, "transform='sqrt': expected one of exponent, log, none"),
        ({"exponent": 1.5}, "exponent=1.5"),
        ({"hop_length": 400}, "hop_length=400"),
        ({"pad_mode": "circular"}, "pad_mode='circular'"),
    ],
)
def test_impossible_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        CompressedSTFT(**settings)
