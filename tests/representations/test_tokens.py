"""Tokens from k-means centres."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gense.representations.base import Representation
from gense.representations.kmeans import kmeans
from gense.representations.tokens import KMeansTokens


class Frames(Representation):
    """A frame for every 8 samples that a kernel of 10 fits: the samples themselves."""

    sample_rate = 16000
    hop_length = 8

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))
        self.seen: list[Tensor] = []

    def encode(self, wav: Tensor) -> Tensor:
        self.seen.append(wav)
        return self.weight * wav.unfold(-1, 10, 8)[..., :2].mT


def tokens(**changed: int) -> KMeansTokens:
    made = KMeansTokens(Frames(), **{"clusters": 3, "dim": 2, **changed})
    made.centres.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]))
    return made


def test_each_frame_becomes_the_index_of_the_nearest_centre() -> None:
    wav = torch.zeros(2, 34)
    wav[0, 0], wav[0, 9], wav[1, 16:18] = 0.9, 0.8, -0.5
    ids = tokens().encode(wav)
    assert ids.dtype == torch.int64
    assert ids.shape == (2, 1, 4)
    assert ids[0, 0, :2].tolist() == [0, 1]
    assert ids[1, 0, 2].item() == 2


def test_the_waveform_is_filled_to_whole_frames_and_then_gets_its_tail() -> None:
    wav = torch.randn(1, 30, generator=torch.Generator().manual_seed(0))
    plain, filled = tokens(), tokens(samples_multiple=8, tail=2)
    assert plain.encode(wav).shape[-1] == 3
    assert filled.encode(wav).shape[-1] == 4  # one frame a hop, as a codec of this hop makes them
    seen = filled.features.seen[0]
    assert torch.equal(seen[:, :30], wav)
    assert (seen[:, 30:] == 0).all()
    assert seen.shape[-1] == 34


def test_rates_are_those_of_the_features_and_ids_are_counted() -> None:
    made = tokens()
    assert (made.sample_rate, made.hop_length, made.hop_frames) == (16000, 8, 1)
    assert (made.codebooks, made.vocabulary) == (1, 3)
    with pytest.raises(NotImplementedError, match="needs a vocoder"):
        made.decode(torch.zeros(1, 1, 2, dtype=torch.int64), 16)


def test_centres_are_weights_and_nothing_in_it_is_trained() -> None:
    made = tokens().train()
    assert "centres" in made.state_dict()
    assert not any(p.requires_grad for p in made.parameters())
    assert not made.features.training


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(batch, 2, frames\)"):
        tokens().tokens(torch.zeros(1, 3, 4))
    for wrong in ({"clusters": 0}, {"dim": 0}, {"tail": -1}, {"samples_multiple": 0}):
        with pytest.raises(ValueError, match="need the first three"):
            tokens(**wrong)


def clouds() -> tuple[Tensor, Tensor]:
    """Points around 5 places, 40 to each, and the places."""
    places = 4 * torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 3.0]])
    points = places.repeat_interleave(40, dim=0)
    return points + 0.1 * torch.randn(200, 2, generator=torch.Generator().manual_seed(0)), places


def error(points: Tensor, centres: Tensor) -> float:
    return torch.cdist(points, centres).min(dim=1).values.square().mean().item()


def test_more_rounds_bring_centres_nearer_until_each_is_the_mean_of_its_points() -> None:
    points, _ = clouds()
    errors = [error(points, kmeans(points, 12, rounds=rounds, seed=3)) for rounds in range(1, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.95 * errors[0]
    centres = kmeans(points, 12, seed=3)
    ids = torch.cdist(points, centres).argmin(dim=1)
    means = torch.stack([points[ids == k].mean(dim=0) for k in range(12)])
    torch.testing.assert_close(centres, means)


def test_centres_that_are_nearest_to_nothing_move_to_where_they_are_missed() -> None:
    points = torch.cat([torch.zeros(50, 2), torch.tensor([[9.0, 9.0], [9.0, -9.0]])])
    for seed in range(3):
        centres = kmeans(points, 3, seed=seed)
        assert error(points, centres) == 0.0
        assert len(centres) == 3


def test_centres_are_found_in_the_features_of_speech() -> None:
    made = tokens(samples_multiple=8, tail=2)
    made.centres.zero_()
    wav = torch.zeros(3, 80)
    wav[0, ::8], wav[1, 1::8] = 1.0, 1.0
    with pytest.raises(ValueError, match="all zero"):
        made.encode(wav)
    made.fit([wav[:1], wav[1:]], seed=1)
    ids = made.encode(wav)[:, 0]
    assert (ids == ids[:, :1]).all()
    assert sorted(ids[:, 0].tolist()) == [0, 1, 2]
    with pytest.raises(ValueError, match="0 waveforms"):
        made.fit([])
    with pytest.raises(ValueError, match="N >= clusters"):
        made.fit([wav[:1, :8]])


def test_with_a_wav2vec_a_hundred_zeros_make_one_frame_a_hop() -> None:
    """The states of the wanted layer as transformers itself gives them, of the waveform with its tail, not scaled."""
    pytest.importorskip("transformers", reason="needs gense[hub]")
    from gense.representations.ssl import SSLFeatures

    config = {
        "model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2,
        "intermediate_size": 32, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2,
        "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True,
    }  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        features = SSLFeatures(config, 2, frames="inside")
    made = KMeansTokens(features, clusters=40, dim=16, samples_multiple=320, tail=100)
    wav = 0.1 * torch.randn(2, 3200, generator=torch.Generator().manual_seed(1))
    network = features.network.model
    with torch.no_grad():
        states = network(torch.nn.functional.pad(wav, (0, 100)), output_hidden_states=True).hidden_states[2]
    assert states.shape == (2, 10, 16)
    made.centres.copy_(states.flatten(0, 1)[torch.arange(40) % 20] + 0.01 * torch.arange(40)[:, None].ge(20))
    assert made.encode(wav)[:, 0].tolist() == [list(range(10)), list(range(10, 20))]
    assert made.encode(wav[:, :3100]).shape == (2, 1, 10)
    assert KMeansTokens(features, clusters=40, dim=16)._features(wav).shape[-1] == 9
