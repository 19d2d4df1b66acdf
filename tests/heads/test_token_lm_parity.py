"""TokenLMHead against the published token language models: recorded ids, positions, logits and sampled tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gense import Sampling
from gense.backbones import CausalLM
from gense.checkpoints.gpt2_keys import convert_gpt2
from gense.heads import Segment, TokenLMHead
from tests.parity.fixtures import Parity, load_parity

LOGITS = 1e-5


def published(fixture: Parity, name: str) -> TokenLMHead:
    """The published heads: noisy to clean semantic tokens (n2s), and these and noisy codes to clean codes (s2s)."""
    size = fixture.config["model"]
    semantic = size["semantic_num"]
    codes = size["s2s_vocab_size"] - semantic - 3
    lm = CausalLM(
        vocabulary=size[f"{name}_vocab_size"], dim=size["hidden_size"], depth=size["num_hidden_layers"],
        heads=size["num_attention_heads"], positions=fixture.config["n_positions"][name],
    )  # fmt: skip
    lm.load_state_dict(convert_gpt2(fixture.weights("keys.json" if name == "n2s" else "keys_s2s.json")))
    noisy, bos = Segment("noisy_semantic", offset=3), Segment(token=1)
    if name == "n2s":
        head = TokenLMHead(
            lm, target="semantic", prompt=[noisy, bos], size=semantic, offset=3, position=0, frames="noisy_semantic"
        )
    else:
        acoustic = Segment("noisy_acoustic", offset=3 + semantic, position=0)
        head = TokenLMHead(
            lm, target="acoustic", prompt=[noisy, Segment("semantic", offset=3), bos, acoustic], size=codes,
            offset=3 + semantic, position=1000, frames="noisy_acoustic",
        )  # fmt: skip
    return head.eval()


def given(fixture: Parity) -> dict[str, Tensor]:
    theirs = fixture.outputs
    return {
        "noisy_semantic": theirs["noisy_semantic"][:, None],
        "semantic": theirs["clean_semantic"][None, None],
        "noisy_acoustic": theirs["acoustic_codes"].mT,
    }


def recorded_draws(seed: int):
    """The draws of the published loop: torch.multinomial on the whole vocabulary, from one seed."""
    generator = torch.Generator().manual_seed(seed)

    def choose(logits: Tensor, uniform: Tensor | None) -> Tensor:
        return torch.multinomial(logits[:, 0].softmax(-1), 1, generator=generator)

    return choose


@pytest.mark.parametrize("name", ["n2s", "s2s"])
@torch.no_grad()
def test_published_models_to_the_token(name: str) -> None:
    """Logits to 1e-5 (2e-6 reached), sampled tokens equal under the published draws, with the memory."""
    fixture, steps = load_parity("gense_lm_small"), []
    head, theirs = published(fixture, name), fixture.outputs
    sampling = Sampling(head.sampling.sampler, options={"choose": recorded_draws(fixture.config["seeds"][name])})
    out = head.generate(given(fixture), sampling=sampling, callback=steps.append)
    assert torch.equal(out[0, 0] + head.offset, theirs[f"{name}_generated"])
    logits = torch.cat([step.logits for step in steps], dim=1)
    expected = theirs[f"{name}_step_logits"].masked_fill(~head.allowed, -torch.inf)
    assert (logits[logits > -torch.inf] - expected[expected > -torch.inf]).abs().max() < LOGITS
    assert torch.equal(logits.isinf(), expected.isinf())


@pytest.mark.parametrize("name", ["n2s", "s2s"])
@torch.no_grad()
def test_published_sequence_and_its_likeliest_tokens(name: str) -> None:
    """Without memory: the recorded ids and positions give the recorded logits; greedy tokens are their largest."""
    fixture = load_parity("gense_lm_small")
    head, theirs = published(fixture, name), fixture.outputs
    prompt = theirs[f"{name}_prompt"]
    tokens = torch.cat([prompt, theirs[f"{name}_generated"][None]], dim=1)[:, None]
    positions = torch.cat([theirs[f"{name}_pos"], theirs[f"{name}_step_pos"]], dim=1)
    logits = head.lm(tokens, positions)[:, 0, prompt.shape[1] - 1 : -1]
    assert (logits - theirs[f"{name}_step_logits"]).abs().max() < LOGITS
    ours = head._prompt(given(fixture), theirs[f"{name}_generated"].numel())
    assert torch.equal(ours[0][:, 0], prompt)
    assert torch.equal(ours[1], positions[0])
    greedy = head.generate(given(fixture), sampling=Sampling("autoregressive", options={"choose": "greedy"}))
    # The same without memory: the largest logit after each whole sequence
    line = prompt[:, None]
    for index in range(greedy.shape[-1]):
        scores = head.lm(line, positions[0, : line.shape[-1]])[:, 0, -1].masked_fill(~head.allowed, -torch.inf)
        line = torch.cat([line, scores.argmax(-1)[:, None, None]], dim=-1)
        assert line[0, 0, -1] == greedy[0, 0, index] + head.offset
