"""Vocos on features of a speech model: context, two streams, the published vocoders of PASE and their files.

Waveforms of the published code at a standard deviation of 0.06 come out to 4e-7 (relative 1.3e-6 at full size).
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from gense import vocoders
from gense.checkpoints.convert_pase import convert_vocoder, recognise_vocoder
from gense.checkpoints.folder import load_strict
from gense.checkpoints.vocoder import build_vocoder
from gense.vocoders import Vocos
from gense.vocoders.context import AttentionBlock, Context, ConvolutionBlock
from gense.vocoders.vocos import overlap_add
from tests.parity.fixtures import Parity, load_parity, relative_error
from tests.parity.pase_files import drawn, small_release, vocoder_checkpoint, write

EXACT = {"rtol": 0.0, "atol": 2e-6}
SSL = {"mel": None, "sample_rate": 16000, "n_fft": 1280, "hop_length": 320, "padding": "same"}


def tiny(**settings) -> Vocos:
    torch.manual_seed(0)
    settings = {**SSL, "channels": 6, "dim": 32, "hidden": 8, "blocks": 1, **settings}
    return Vocos(**settings).eval()


def built(fixture: Parity) -> Vocos:
    checkpoint = vocoder_checkpoint(fixture)
    assert recognise_vocoder(checkpoint)
    config, state = convert_vocoder(checkpoint)
    vocoder = build_vocoder(config)
    load_strict(vocoder, state, fixture.name)
    assert isinstance(vocoder, Vocos)
    return vocoder.eval()


@torch.inference_mode()
def test_one_stream_is_the_published_vocoder() -> None:
    fixture = load_parity("pase_vocoder_single_small")
    vocoder, expected = built(fixture), fixture.outputs
    x = drawn(fixture, "embed_p", 1, 24, 64).transpose(1, 2)
    torch.testing.assert_close(vocoder.backbone(x), expected["backbone_out"], rtol=0, atol=1e-5)
    torch.testing.assert_close(vocoder(x, 7680), expected["wav"], **EXACT)
    assert relative_error(vocoder(x, 7680), expected["wav"]) < 1e-5
    c = vocoder.spectrum(drawn(fixture, "head_in", 1, 64, 8, factor=6.0))
    assert int((c.abs() > 99.999).sum()) > 0, "some magnitudes are cut off"
    loud = overlap_add(c, vocoder.istft_window, 320, 480, 2560)
    torch.testing.assert_close(loud, expected["head_out"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("name", "shape"), [("small", (2, 20, 64)), ("full", (1, 16, 1024))])
@torch.inference_mode()
def test_two_streams_are_the_published_vocoder(name: str, shape: tuple[int, int, int]) -> None:
    """At full size 66.7 million parameters."""
    fixture = load_parity(f"pase_vocoder_dual_{name}")
    vocoder, expected = built(fixture), fixture.outputs["wav"]
    if name == "full":
        assert sum(p.numel() for p in vocoder.parameters()) == 66_689_538
    streams = [drawn(fixture, key, *shape).transpose(1, 2) for key in ("embed_a", "embed_p")]
    wav = vocoder(torch.stack(streams, dim=1), 320 * shape[1])
    torch.testing.assert_close(wav, expected, **EXACT)
    assert relative_error(wav, expected) < 1e-5


def test_the_context_is_what_its_formulas_say() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 32, 7)
    block, attention = ConvolutionBlock(32), AttentionBlock(32)

    def swish(value: torch.Tensor) -> torch.Tensor:
        return value * torch.sigmoid(value)

    first = block.conv_in(swish(block.norm_in(x)))
    torch.testing.assert_close(block(x), x + block.conv_out(swish(block.norm_out(first))))
    h = attention.norm(x)
    query, key, value = attention.query(h), attention.key(h), attention.value(h)
    weights = (torch.einsum("bci,bcj->bij", query, key) / 32**0.5).softmax(dim=-1)
    expected = x + attention.out(torch.einsum("bij,bcj->bci", weights, value))
    torch.testing.assert_close(attention(x), expected, rtol=1e-4, atol=1e-5)
    context = Context(32)
    groups = context(x).reshape(2, 32, 7)  # 32 channels in 32 groups: each over its own frames
    torch.testing.assert_close(groups.mean(dim=-1), torch.zeros(2, 32), rtol=0, atol=1e-5)


def test_with_a_context_every_frame_sees_all_others_and_without_only_its_neighbours() -> None:
    for context, everywhere in ((True, True), (False, False)):
        vocoder = tiny(context=context)
        x = torch.zeros(1, 6, 60, requires_grad=True)
        noise = torch.randn(1, 6, 60, generator=torch.Generator().manual_seed(0))
        vocoder.backbone(x + noise)[0, :, 0].square().sum().backward()
        reached = x.grad[0].abs().sum(dim=0) > 0
        assert bool(reached.all()) == everywhere
        assert reached[:7].all()


def test_the_streams_before_the_last_enter_through_a_linear_map() -> None:
    vocoder = tiny(streams=3)
    x = torch.randn(2, 3, 6, 9)
    maps = [layer.weight for layer in vocoder.fusion]
    biases = sum(layer.bias for layer in vocoder.fusion)[:, None]
    fused = x[:, 2] + maps[0] @ x[:, 0] + maps[1] @ x[:, 1] + biases
    single = tiny()
    single.load_state_dict({k: v for k, v in vocoder.state_dict().items() if not k.startswith("fusion.")})
    torch.testing.assert_close(vocoder(x, 2880), single(fused, 2880), rtol=0, atol=1e-5)


def test_an_item_does_not_depend_on_its_batch() -> None:
    vocoder = tiny(streams=2, context=True)
    x = torch.randn(3, 2, 6, 9, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vocoder(x, 2880)[1:2], vocoder(x[1:2], 2880), rtol=0, atol=1e-6)


def test_gradients_reach_every_parameter() -> None:
    vocoder = tiny(streams=2, context=True)
    x = torch.randn(1, 2, 6, 9, generator=torch.Generator().manual_seed(0))
    vocoder(x, 2880).square().sum().backward()
    # The bias of the keys moves all weights of the attention alike, which its softmax takes out
    untouched = {name for name, p in vocoder.named_parameters() if not p.grad.abs().sum() > 0}
    assert untouched <= {"context.2.key.bias"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"streams": 0}, "streams=0"),
        ({"context": True, "dim": 40}, "dim=40: the group norms of the context need a multiple of 32"),
    ],
)
def test_wrong_sizes_are_refused(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        tiny(**wrong)


def test_a_mel_spectrogram_is_one_stream() -> None:
    with pytest.raises(ValueError, match="streams=2: a mel spectrogram is one"):
        Vocos(streams=2)


@pytest.mark.parametrize("shape", [(1, 6, 9), (1, 3, 6, 9), (1, 2, 5, 9)])
def test_features_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \(B, 2, 6, T\)"):
        tiny(streams=2)(torch.zeros(shape), 2880)


def test_published_files_load_by_file_and_by_folder_of_which_two_streams_go_first(tmp_path: Path) -> None:
    folder = write(small_release(), tmp_path, without=("DeWavLM",))
    assert [vocoders.load(folder / f"{name}.tar").streams for name in ("Vocoder_Dual", "Vocoder_L24")] == [2, 1]
    dual = vocoders.load(folder)
    assert dual.streams == 2
    assert not dual.training
    (folder / "Vocoder_Dual.tar").unlink()
    assert vocoders.load(folder).streams == 1
    with pytest.raises(ValueError, match="this file holds the weights, too"):
        vocoders.load(folder / "Vocoder_L24.tar", folder / "Vocoder_L24.tar")


def test_a_file_of_training_holds_no_sizes(tmp_path: Path) -> None:
    release = small_release()["Vocoder_Dual"]
    torch.save({"epoch": 3, "generator": release["model"], "discriminator": {}}, tmp_path / "model_003.tar")
    torch.save(release, tmp_path / "Vocoder_Dual.tar")
    one, other = (vocoders.load(tmp_path / name) for name in ("model_003.tar", "Vocoder_Dual.tar"))
    x = torch.randn(1, 2, 32, 5)
    assert torch.equal(one(x, 1600), other(x, 1600))


def test_wrong_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "Vocoder_Dual.tar"
    release = small_release()

    def refuse(content: dict, said: str) -> None:
        torch.save(content, path)
        with pytest.raises(ValueError, match=said) as raised:
            vocoders.load(path)
        assert str(raised.value).startswith(f"{path}: ")

    dual = release["Vocoder_Dual"]
    refuse(release["DeWavLM"], "not the checkpoint of a vocoder that is known here; its top-level keys are: cfg, model")
    refuse({**dual, "cfg": {**dual["cfg"], "dim": 64}}, "cfg and weights of the vocoder differ: dim 64 and 32")
    refuse({**dual, "cfg": {"dim": 32}}, "expected input_channels, dim, intermediate_dim")
    lacking = {k: v for k, v in dual["model"].items() if k != "proj.bias"}
    refuse({**dual, "model": lacking}, r"1 missing \(fusion\.0\.bias\)")
    refuse({**dual, "model": {**dual["model"], "decoder.other": torch.zeros(1)}}, "no place for decoder.other")
