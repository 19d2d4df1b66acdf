"""GenSE's tokens, codec and models against recordings of the published code.

Codes and tokens must be equal: they are nearest points, and the second nearest is 1e-4 further away at least. The
distance of waveforms is the largest absolute difference of samples with full scale 1.
"""

from __future__ import annotations

import pytest
import torch

import gense
from gense import Enhancer
from gense.checkpoints.folder import load_strict
from gense.checkpoints.simcodec_keys import convert_codec, convert_settings
from gense.representations import KMeansTokens, SimCodec, Stages
from gense.representations.base import Representation
from tests.parity.fixtures import Parity, load_parity
from tests.parity.gense_files import write_checkpoints

WAVE = 1e-5
LOGITS = 1e-5
CODECS = ["gense_simcodec", "gense_simcodec_small", "gense_simcodec_grouped"]


def codec_of(fixture: Parity) -> SimCodec:
    settings = convert_settings(fixture.config["simcodec_config"])
    state = convert_codec(fixture.weights(), settings)
    stages = Stages(**settings.pop("stages"))
    codec = SimCodec(stages, **settings)
    load_strict(codec, state, fixture.name)
    return codec.eval()


@pytest.mark.parametrize("name", CODECS)
def test_codec_there_and_back(name: str) -> None:
    fixture = load_parity(name)
    codec, theirs = codec_of(fixture), fixture.outputs
    assert codec.hop_length == fixture.config["hop"]
    wav = fixture.inputs["wav"][:, 0]
    codes = codec.encode(wav)
    assert torch.equal(codes.mT, theirs["codes"])
    if "z" in theirs:
        with torch.no_grad():
            assert (codec.vectors(wav) - theirs["z"]).abs().max() < WAVE
    for ids, recorded in ((codes, "wav_decoded"), (fixture.inputs["codes_random"].mT, "wav_from_random_codes")):
        expected = theirs[recorded][:, 0]
        assert (codec.decode(ids, expected.shape[-1]) - expected).abs().max() < WAVE


class Recorded(Representation):
    """Stands for the self-supervised model, whose features were recorded; keeps what it was given."""

    sample_rate = 16000
    hop_length = 320

    def __init__(self, features: torch.Tensor):
        super().__init__()
        self.features = features.mT
        self.seen: list[torch.Tensor] = []

    def encode(self, wav: torch.Tensor) -> torch.Tensor:
        self.seen.append(wav)
        return self.features


def test_tokens_of_recorded_features() -> None:
    fixture = load_parity("gense_kmeans")
    features, centres = fixture.inputs["features"], fixture.weights()["km.emb.weight"]
    tokens = KMeansTokens(Recorded(features), clusters=len(centres), dim=centres.shape[1])
    load_strict(tokens, {"centres": centres}, fixture.name)
    assert torch.equal(tokens.encode(torch.zeros(2, 40 * 320))[:, 0], fixture.outputs["tokens"])


class Draws:
    """The published way to choose: PyTorch's own draw from the probabilities, from its global seed."""

    def __init__(self, seed: int):
        self.seed = seed
        self.state: torch.Tensor | None = None

    def __call__(self, logits: torch.Tensor, uniform: torch.Tensor | None) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            if self.state is None:
                torch.manual_seed(self.seed)
            else:
                torch.set_rng_state(self.state)
            drawn = torch.multinomial(logits.softmax(-1).flatten(0, -2), 1).reshape(logits.shape[:-1])
            self.state = torch.get_rng_state()
        return drawn


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Enhancer:
    enhancer = gense.load(write_checkpoints(tmp_path_factory.mktemp("model") / "ckpts"), device="cpu")
    enhancer.representations["semantic"].features = Recorded(load_parity("gense_ckpt_small").inputs["features"])
    return enhancer


def test_checkpoints_to_waveform(loaded: Enhancer) -> None:
    """Codes, drawn tokens, their logits and the waveform, from the files on."""
    fixture = load_parity("gense_ckpt_small")
    theirs, wav = fixture.outputs, fixture.inputs["wav"][:, 0]
    assert torch.equal(loaded.representations["codes"].encode(wav).mT, theirs["acoustic_codes"])
    assert torch.equal(loaded.representations["semantic"].encode(wav)[:, 0], theirs["noisy_semantic"])
    seeds, steps = fixture.config["seeds"], []
    options = {"choose": Draws(seeds["s2s"]), "semantic.choose": Draws(seeds["n2s"])}
    sampling = loaded.head.chosen(loaded.head.sampling, options)
    out = loaded.enhance(wav, sampling=sampling, callback=steps.append)
    assert (out - theirs["enhanced"]).abs().max() < WAVE
    seen = loaded.representations["semantic"].features.seen[-1]
    assert torch.equal(seen, torch.nn.functional.pad(wav, (0, 100)))
    count = len(theirs["n2s_generated"])
    for own, stage, first in ((steps[:count], "n2s", 3), (steps[count:], "s2s", 3 + 16)):
        assert torch.equal(torch.stack([step.tokens.flatten()[0] for step in own]), theirs[f"{stage}_generated"])
        logits = torch.stack([step.logits.flatten(0, -2)[0] for step in own])
        assert (logits[:, :first] == -torch.inf).all()
        assert (logits - theirs[f"{stage}_step_logits"][0])[:, first:].abs().max() < LOGITS
        # So the likeliest token is the same, too, at every step
        assert torch.equal(logits.argmax(-1), theirs[f"{stage}_step_logits"][0, :, first:].argmax(-1) + first)


def test_greedy_tokens_follow_the_likeliest_of_each_step(loaded: Enhancer) -> None:
    wav, steps = load_parity("gense_ckpt_small").inputs["wav"][:, 0], []
    sampling = loaded.head.chosen(loaded.head.sampling, {"choose": "greedy", "semantic.choose": "greedy"})
    one = loaded.enhance(wav, sampling=sampling, callback=steps.append)
    assert all(torch.equal(step.logits.argmax(-1), step.tokens) for step in steps)
    assert torch.equal(one, loaded.enhance(wav, sampling=sampling, seed=1))
    assert not torch.equal(loaded.enhance(wav, seed=0), loaded.enhance(wav, seed=1))
