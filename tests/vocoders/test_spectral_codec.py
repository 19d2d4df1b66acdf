"""The codec at the frame rate: its shapes, that items and far frames do not see each other, and that it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gense.checkpoints.build import build_as, read_config
from gense.losses import MultiScaleMelLoss
from gense.representations import MelSettings, VectorCodec
from gense.vocoders import SpectralCodec
from tests.test_configs import CONFIGS

MEL = {"sample_rate": 16000, "n_fft": 64, "hop_length": 16, "bands": 12, "padding": "same"}


def codec(**changed: Any) -> SpectralCodec:
    sizes = {"dim": 6, "width": 16, "hidden": 24, "encoder_blocks": 1, "decoder_blocks": 1, "codes": 16, **changed}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = SpectralCodec(MelSettings(**{**MEL, **sizes.pop("mel", {})}), **sizes).eval()
        made.quantiser.fit(made.vectors(waves(1600)))
    return made


def waves(samples: int, items: int = 2) -> Tensor:
    return 0.1 * torch.randn(items, samples, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("samples", "multiple", "frames"), [(160, 1, 10), (175, 1, 10), (175, 16, 11), (3, 1, 1)])
def test_a_frame_a_hop_and_a_wave_of_the_length_asked_for(samples: int, multiple: int, frames: int) -> None:
    model = codec(samples_multiple=multiple, levels=2, groups=2)
    codes = model.encode(waves(samples))
    assert (codes.shape, codes.dtype) == ((2, 4, frames), torch.int64)
    assert (model.codebooks, model.vocabulary, model.hop_length, model.sample_rate) == (4, 16, 16, 16000)
    assert model.decode(codes, samples).shape == (2, samples)
    longer = model.decode(codes, frames * 16 + 5)
    assert (longer[:, frames * 16 :] == 0).all()
    assert longer[:, : frames * 16].any()


def test_items_do_not_see_each_other_and_codes_know_their_surroundings_only() -> None:
    model, wav = codec(), waves(1600)
    codes = model.encode(wav)
    for item in range(2):
        assert torch.equal(model.encode(wav[item : item + 1])[0], codes[item])
    changed = wav.clone()
    changed[:, 800:] = -wav[:, 800:].flip(-1)
    other = model.vectors(changed)
    # Two convolutions over 7 frames and a transform over 4 hops look 8 frames ahead at most
    torch.testing.assert_close(other[..., :42], model.vectors(wav)[..., :42])
    assert not torch.allclose(other[..., 50:], model.vectors(wav)[..., 50:], atol=1e-3)


def test_it_learns_to_reconstruct_and_every_weight_has_a_gradient(clip) -> None:
    model = codec(frozen=False, dim=16, width=32, hidden=64, codes=32, mel={"n_fft": 256, "hop_length": 64})
    assert not any(p.requires_grad for p in codec().parameters())
    wav = torch.from_numpy(clip.clean[16000:24000].copy())[None]
    model.quantiser.fit(model.vectors(wav))
    distance = MultiScaleMelLoss(windows=[128, 512], bands=[20, 40])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    errors = []
    for _ in range(50):
        made = model.reconstruct(wav)
        error = distance(made.wav, wav)
        optimizer.zero_grad()
        (error + sum(made.losses.values())).backward()
        if not errors:
            assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimizer.step()
        errors.append(error.item())
    assert sum(errors[-5:]) / 5 < 0.5 * errors[0]
    with torch.no_grad():
        torch.testing.assert_close(model.decode(model.encode(wav), 8000), model.reconstruct(wav).wav)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="need padding 'same'"):
        codec(mel={"padding": "center"})
    with pytest.raises(ValueError, match="encoder_blocks=0"):
        codec(encoder_blocks=0)
    with pytest.raises(ValueError, match="groups a divisor of dim"):
        codec(groups=4)


def test_the_shipped_one_is_compact_and_one_stream() -> None:
    path = CONFIGS / "codec" / "spectral-compact.yaml"
    model = build_as(VectorCodec, read_config(path), "codec", "the codec's configuration")
    assert sum(p.numel() for p in model.parameters()) <= 4e6
    assert (model.codebooks, model.vocabulary, model.sample_rate / model.hop_length) == (4, 512, 50)
