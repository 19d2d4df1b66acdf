"""PASE from its published files to the waveform, against recordings of the published code (cisco-open/pase, 40845d4).

Waveforms of up to 0.26 come out to 6e-7, relative 2.4e-6: the speech model is that of transformers, and sums in another
order.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gense
from gense import Enhancer
from tests.parity.fixtures import load_parity, relative_error
from tests.parity.pase_files import end_to_end_release, small_release, write

pytest.importorskip("transformers", reason="needs gense[hub]")


def agree(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=3e-6)
    assert relative_error(ours, theirs) < 1e-5


def loaded(folder: Path, **reading) -> Enhancer:
    enhancer = gense.load(folder, device="cpu")
    backbone = enhancer.head.backbone
    backbone.reading = replace(backbone.reading, **reading)
    return enhancer


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(small_release(), tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(end_to_end_release(), tmp_path_factory.mktemp("release"))


def test_features_and_waveform_of_whole_frames(small: Path) -> None:
    """25 frames exactly: both rules for the end agree."""
    enhancer, fixture = loaded(small), load_parity("pase_ckpt_small")
    wav = fixture.inputs["wav_0"]
    assert wav.shape[-1] % 320 == 0
    with torch.inference_mode():
        features = enhancer.head.backbone(wav, None, {})
    for stream, name in enumerate(("feat_a_0", "feat_p_0")):
        torch.testing.assert_close(features[:, stream], fixture.outputs[name].mT, rtol=0, atol=1e-5)
    agree(enhancer.enhance(wav), fixture.outputs["enh_0"])
    agree(loaded(small, frames="floor").enhance(wav), fixture.outputs["enh_0"])


def test_the_vocoder_of_one_stream(small: Path) -> None:
    fixture = load_parity("pase_ckpt_small")
    enhancer = gense.load(small / "Vocoder_L24.tar", device="cpu")
    assert enhancer.head.backbone.reading.layers == 3
    agree(enhancer.enhance(fixture.inputs["wav_0"]), fixture.outputs["single_0"])


@pytest.mark.parametrize(("release", "item"), [("small", 1), ("larger", 2)])
def test_the_end_as_published_by_option_and_covered_by_default(release: str, item: int, request) -> None:
    """5000 samples, of which the published code reads 4880, and 5199, to which it adds one."""
    folder = request.getfixturevalue(release)
    fixture = load_parity("pase_ckpt_small" if release == "small" else "pase_e2e_small")
    wav, theirs = fixture.inputs[f"wav_{item}"], fixture.outputs[f"enh_{item}"]
    agree(loaded(folder, frames="floor").enhance(wav), theirs)
    whole, left = divmod(wav.shape[-1], 320)
    assert not theirs[:, 320 * whole :].any(), "the published end is empty"
    ours = loaded(folder).enhance(wav)
    assert ours.shape == wav.shape
    assert ours[:, 320 * whole :].abs().amin() > 0
    longer = torch.nn.functional.pad(wav, (0, 320 - left))
    torch.testing.assert_close(ours, loaded(folder).enhance(longer)[:, : wav.shape[-1]], rtol=0, atol=2e-6)


def test_items_of_a_batch_apart_by_default_and_coupled_as_published_by_option(larger: Path) -> None:
    fixture = load_parity("pase_e2e_small")
    wav, coupled = fixture.inputs["wav_batch2"], fixture.outputs["enh_batch2"]
    for scaling, name in (("item", "enh_batch2_separate"), ("batch", "enh_batch2")):
        enhancer = loaded(larger, scaling=scaling, frames="floor")
        enhancer.chunking = replace(enhancer.chunking, batch=2)
        agree(enhancer.enhance(wav), fixture.outputs[name])
    assert (fixture.outputs["enh_batch2_separate"] - coupled).abs().amax() > 5e-3
    agree(loaded(larger).enhance(wav), fixture.outputs["enh_batch2_separate"])


def test_beyond_30_seconds_it_is_cut_and_up_to_there_whole(small: Path) -> None:
    """The published code cuts nothing. Cuts have whole frames, so that neither end of one is lengthened."""
    enhancer = loaded(small)
    assert (enhancer.chunking.seconds, enhancer.chunking.overlap, enhancer.chunking.batch) == (30.0, 2.0, 1)
    wav = 0.1 * torch.randn(1, 9000, generator=torch.Generator().manual_seed(0))
    whole = enhancer.enhance(wav)
    enhancer.chunking = None
    assert torch.equal(whole, enhancer.enhance(wav))
    enhancer.chunking = gense.chunking.Chunking(seconds=0.3, overlap=0.08, batch=1)
    cut, plan = enhancer.enhance(wav), enhancer.chunking.plan(9000, 16000, 320)
    assert len(plan.starts) == 3
    assert all(start % 320 == 0 for start in (*plan.starts, plan.length))
    pieces = [enhancer.enhance(wav[:, start : start + plan.length]) for start in plan.starts]
    for index, piece in enumerate(pieces):
        alone = plan.weight(index) == 1
        alone[len(piece[0]) :] = False
        start = plan.starts[index]
        inside = alone[: len(piece[0])]
        torch.testing.assert_close(cut[0, start : start + len(inside)][inside], piece[0][inside], rtol=0, atol=2e-6)
        assert inside.sum() > 900
