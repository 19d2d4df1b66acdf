"""Several codebooks in one language model: the delay pattern, and a method from noisy to clean codec tokens."""

from __future__ import annotations

import copy
from importlib import resources
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

pytest.importorskip("transformers", reason="needs gense[hub]")

from gense import Sampling, load
from gense.backbones import CausalLM
from gense.checkpoints.build import build, read_config
from gense.checkpoints.folder import write_folder
from gense.heads import Segment, TokenLMHead
from gense.heads.delay import delay, undelay
from gense.samplers import by_frame, per_item
from gense.types import Batch
from tests.representations.codecs import KINDS, scatter, speech

METHOD = Path(str(resources.files("gense.configs") / "method" / "codec-lm.yaml"))
GREEDY = Sampling("autoregressive", options={"choose": "greedy"})
PAD, BOS, OFFSET, SIZE = 0, 1, 2, 32


def tokens(items: int, streams: int, frames: int, seed: int = 0) -> Tensor:
    return torch.randint(SIZE, (items, streams, frames), generator=torch.Generator().manual_seed(seed))


def head(streams: int = 3, **settings) -> TokenLMHead:
    torch.manual_seed(0)
    lm = CausalLM(vocabulary=OFFSET + SIZE, streams=streams, dim=32, depth=2, heads=2, positions=64, dropout=0.0)
    for parameter in lm.parameters():  # at its start a model answers everything alike
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    arguments = {
        "target": "codec", "prompt": [Segment(read="noisy_codec", offset=OFFSET), Segment(token=BOS)],
        "frames": "noisy_codec", "size": SIZE, "offset": OFFSET, "position": 32, "pad": PAD, "delayed": True,
        "sampling": GREEDY,
    }  # fmt: skip
    return TokenLMHead(lm, **{**arguments, **settings}).eval()


def tiny_method(kind: str = "encodec", codebooks: int = 3) -> dict:
    """The shipped method with a tiny codec and a tiny model: nothing but sizes is changed."""
    config = copy.deepcopy(read_config(METHOD))
    codec = KINDS[kind]
    config["init_args"]["sample_rate"] = codec["sampling_rate"]
    config["init_args"]["representations"]["codec"]["init_args"] = {"codec": dict(codec), "codebooks": codebooks}
    settings = config["init_args"]["head"]["init_args"]
    settings["size"] = codec["codebook_size"]
    settings["lm"]["init_args"] |= {
        "vocabulary": codec["codebook_size"] + 2, "streams": codebooks, "dim": 32, "depth": 1, "heads": 2,
        "dropout": 0.0,
    }  # fmt: skip
    return config


@pytest.mark.parametrize("streams", [1, 2, 5])
@pytest.mark.parametrize("frames", [1, 2, 7])
def test_step_s_of_codebook_k_is_its_frame_s_minus_k(streams: int, frames: int) -> None:
    codes = tokens(2, streams, frames)
    delayed = delay(codes, -1)
    assert delayed.shape == (2, streams, frames + streams - 1)
    for k in range(streams):
        for s in range(delayed.shape[-1]):
            expected = codes[:, k, s - k] if 0 <= s - k < frames else torch.full((2,), -1)
            assert torch.equal(delayed[:, k, s], expected)
    assert torch.equal(undelay(delayed), codes)
    assert int((delayed == -1).sum()) == 2 * streams * (streams - 1)


def test_what_stands_in_gaps_does_not_come_back_and_the_input_is_left_alone() -> None:
    codes = tokens(1, 3, 4)
    before = codes.clone()
    assert torch.equal(undelay(delay(codes, 7)), undelay(delay(codes, 9)))
    assert torch.equal(codes, before)
    with pytest.raises(ValueError, match="the first frame is complete after 3"):
        undelay(torch.zeros(1, 3, 2))


def test_one_codebook_is_not_delayed() -> None:
    codes = tokens(2, 1, 5)
    assert torch.equal(delay(codes, -1), codes)
    plain, delayed = head(1, delayed=False), head(1)
    cond = {"noisy_codec": tokens(2, 1, 5, seed=3)}
    assert torch.equal(plain.generate(cond), delayed.generate(cond))
    assert plain.loss({"codec": codes}, cond).total == delayed.loss({"codec": codes}, cond).total


def test_the_loss_is_the_mean_over_tokens_each_given_what_is_written_before_it() -> None:
    """Computed step by step, without masks: gaps neither count nor are learned."""
    own = head()
    clean, noisy = tokens(2, 3, 4), tokens(2, 3, 4, seed=1)
    written = delay(clean + OFFSET, PAD)
    prompt = F.pad(noisy + OFFSET, (0, 1), value=BOS)
    positions = torch.cat([torch.arange(5), 32 + torch.arange(6)])
    total, right = torch.zeros(()), 0
    for s in range(6):
        seen = torch.cat([prompt, written[..., :s]], dim=-1)
        logits = own.lm(seen, positions[: seen.shape[-1]])[:, :, -1, OFFSET:]
        for k in range(3):
            if 0 <= s - k < 4:
                total = total + F.cross_entropy(logits[:, k], clean[:, k, s - k], reduction="sum")
                right += int((logits[:, k].argmax(-1) == clean[:, k, s - k]).sum())
    loss = own.loss({"codec": clean}, {"noisy_codec": noisy})
    torch.testing.assert_close(loss.total, total / clean.numel())
    assert float(loss.parts["accuracy"]) == pytest.approx(right / clean.numel())
    loss.total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in own.lm.parameters())


def test_generating_is_the_greedy_answer_written_step_by_step() -> None:
    """With its memory, the head writes what a loop over whole sequences does; each step fills gaps with the pad."""
    own, noisy = head(), tokens(2, 3, 4, seed=1)
    steps: list[Tensor] = []
    made = own.generate({"noisy_codec": noisy}, callback=lambda step: steps.append(step.tokens))
    written = torch.stack(steps, dim=-1)
    assert written.shape == (2, 3, 6)
    assert torch.equal(written, delay(made + OFFSET, PAD))
    positions = torch.cat([torch.arange(5), 32 + torch.arange(6)])
    for s in range(6):
        seen = torch.cat([F.pad(noisy + OFFSET, (0, 1), value=BOS), written[..., :s]], dim=-1)
        best = own.lm(seen, positions[: seen.shape[-1]])[:, :, -1, OFFSET:].argmax(-1)
        for k in range(3):
            if 0 <= s - k < 4:
                assert torch.equal(best[:, k], made[:, k, s - k])
    assert len(made.unique()) > 4


def test_drawn_tokens_are_ids_of_the_codec_and_do_not_depend_on_the_neighbour() -> None:
    own, noisy = head(sampling=Sampling("autoregressive", options={"top_k": 20})), tokens(2, 3, 5, seed=1)
    both = own.generate({"noisy_codec": noisy}, noise=per_item([1, 2]))
    assert both.shape == noisy.shape
    assert both.dtype == torch.int64
    assert int(both.min()) >= 0
    assert int(both.max()) < SIZE
    for item in range(2):
        alone = own.generate({"noisy_codec": noisy[item : item + 1]}, noise=per_item([1 + item]))
        assert torch.equal(alone[0], both[item])
    assert not torch.equal(both, own.generate({"noisy_codec": noisy}, noise=per_item([3, 4])))


def test_impossible_delays_are_refused() -> None:
    with pytest.raises(ValueError, match="delayed streams need stop=None"):
        head(stop=BOS)
    with pytest.raises(ValueError, match="a pad that is no target's id"):
        head(pad=OFFSET)
    with pytest.raises(ValueError, match="cut the input into shorter chunks"):
        head().generate({"noisy_codec": tokens(1, 3, 31)})
    with pytest.raises(ValueError, match="with K = 3, the streams of the model"):
        head().loss({"codec": tokens(1, 2, 4)}, {"noisy_codec": tokens(1, 2, 4)})


def test_a_handful_of_frames_is_learned_by_heart() -> None:
    """Greedy decoding writes every codebook of every frame that it was trained on, for two items at once."""
    own = head(4, sampling=GREEDY)
    clean, noisy = tokens(2, 4, 6), tokens(2, 4, 6, seed=1)
    optimizer = torch.optim.Adam(own.parameters(), lr=1e-2)
    for _ in range(60):
        loss = own.loss({"codec": clean}, {"noisy_codec": noisy})
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert float(loss.parts["accuracy"]) == 1
    assert torch.equal(own.generate({"noisy_codec": noisy}), clean)


def test_the_shipped_method_builds_without_memory_and_its_numbers_agree() -> None:
    with torch.device("meta"):
        enhancer = build(read_config(METHOD))
    codec, own = enhancer.target, enhancer.head
    assert (own.lm.streams, own.size, own.lm.vocabulary) == (codec.codebooks, codec.vocabulary, codec.vocabulary + 2)
    frames = codec.frames(round(enhancer.chunking.seconds * enhancer.sample_rate))
    assert own.position > frames, "prompt and answer share positions"
    assert own.position + frames + codec.codebooks - 1 <= own.lm.positions


@pytest.mark.parametrize("kind", list(KINDS))
def test_a_method_over_any_codec_enhances_and_loads_again(kind: str, tmp_path) -> None:
    """Chosen in the configuration alone; a batch is as each item alone, and a saved folder is the same method."""
    config = tiny_method(kind)
    enhancer = build(config).eval()
    scatter(enhancer.target.codec)
    wav = speech(2, 12 * enhancer.target.hop_length + 5)
    out = enhancer.enhance(wav, seed=4)
    assert out.shape == wav.shape
    assert out.isfinite().all()
    assert out.std() > 0
    torch.testing.assert_close(enhancer.enhance(wav[1:], seed=4)[0], out[1], atol=1e-3, rtol=0)
    assert not torch.equal(enhancer.enhance(wav, seed=5), out)
    write_folder(tmp_path, config, enhancer.state_dict())
    assert torch.equal(load(tmp_path).enhance(wav, seed=4), out)


def test_a_number_is_drawn_for_every_codebook_and_step() -> None:
    """So that noise by absolute frames gives a codebook of a frame the same number in every chunk that holds it."""
    own, asked = head(sampling=Sampling("autoregressive")), []

    def noise(like: Tensor) -> Tensor:
        asked.append(tuple(like.shape))
        return by_frame(0)(like)

    own.generate({"noisy_codec": tokens(2, 3, 5)}, noise=noise)
    assert asked == [(2, 3, 7)]


def test_long_inputs_go_chunk_by_chunk() -> None:
    config = tiny_method()
    hop, rate = 20, 24000
    config["init_args"]["chunking"] = {"seconds": 16 * hop / rate, "overlap": 4 * hop / rate, "batch": 2}
    enhancer = build(config).eval()
    scatter(enhancer.target.codec)
    out = enhancer.enhance(speech(1, 50 * hop + 3), seed=1)
    assert out.shape == (1, 50 * hop + 3)
    assert out.isfinite().all()
    assert out[:, -20:].std() > 0


def test_a_method_learns_from_waveforms_and_leaves_its_codec_alone() -> None:
    """Through the enhancer, as `gense fit` calls it: after it, noisy speech comes out as the clean speech's tokens."""
    config = tiny_method(codebooks=2)
    config["init_args"]["head"]["init_args"]["sampling"] = {
        "sampler": "autoregressive", "options": {"choose": "greedy"}
    }  # fmt: skip
    enhancer = build(config)
    scatter(enhancer.target.codec)
    before = {name: value.clone() for name, value in enhancer.target.state_dict().items()}
    clean = speech(1, 160)
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    enhancer.train()
    optimizer = torch.optim.Adam([p for p in enhancer.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(50):
        loss = enhancer.loss(Batch(clean, noisy))
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert float(loss.parts["accuracy"]) == 1
    assert all(torch.equal(value, before[name]) for name, value in enhancer.target.state_dict().items())
    scale = enhancer.level.scale(noisy)
    expected = enhancer.target.decode(enhancer.target.encode(clean / scale), 160) * scale
    torch.testing.assert_close(enhancer.eval().enhance(noisy), expected, atol=1e-4, rtol=0)
