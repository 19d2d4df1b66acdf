"""Paired corpora in the layouts in which they come, and the configurations that describe them."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from gense.data import Mixtures, PairClips, PairedFolders, Pairs

RATE = 16000
CONFIGS = Path(str(resources.files("gense.configs"))) / "data"
CORPORA = {
    "voicebank-demand": ("noisy_trainset_28spk_wav/p228_001.wav", "clean_trainset_28spk_wav/p228_001.wav"),
    "wsj0-chime3": ("train/noisy/011c0201.wav", "train/clean/011c0201.wav"),
    "ears-wham": ("train/noisy/p001/00007_-2.5dB.wav", "train/clean/p001/00007.wav"),
    "dns": ("training/noisy/book_1-door_snr5_tl-21_fileid_7.wav", "training/clean/clean_fileid_7.wav"),
}


def put(path: Path, wav: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, RATE, subtype="FLOAT")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    for index in range(3):
        part = slice((index + 1) * RATE, (index + 2) * RATE)
        put(root / f"clean/{index}.wav", clip.clean[part])
        put(root / f"noisy/{index}.wav", -0.5 * clip.clean[part])  # what is cut together can be told
    return root


def pairs(folder: Path, **names: str) -> PairedFolders:
    return PairedFolders(noisy=str(folder / "noisy"), clean=str(folder / "clean"), **names)


def test_cuts_of_pairs_lie_at_the_same_place(folder) -> None:
    items = Mixtures(PairClips(pairs(folder), RATE), [], seconds=0.3, size=8)
    for clean, noisy in items:
        assert clean.shape == noisy.shape == (4800,)
        np.testing.assert_allclose(noisy.numpy(), -0.5 * clean.numpy(), atol=1e-4)
    joined = Mixtures(PairClips(pairs(folder), RATE), [], seconds=1.5, size=2)
    for clean, noisy in joined:
        assert clean.shape == (24000,)
        np.testing.assert_allclose(noisy.numpy(), -0.5 * clean.numpy(), atol=1e-4)


def test_validation_pairs_may_lie_anywhere(folder, tmp_path) -> None:
    lists = {"wav.scp": "noisy", "spk1.scp": "clean"}
    for name, side in lists.items():
        (tmp_path / name).write_text("".join(f"fileid_{i} {folder}/{side}/{i}.wav\n" for i in (2, 0)))
    listed = Pairs(PairedFolders(noisy=str(tmp_path / "wav.scp"), clean=str(tmp_path / "spk1.scp")), RATE)
    whole = Pairs(str(folder), RATE)
    assert len(listed) == 2
    for (a, b), index in zip((listed[0], listed[1]), (2, 0), strict=True):
        assert np.array_equal(a, whole[index][0])
        assert np.array_equal(b, whole[index][1])
    assert [clean.name for clean, _ in Pairs(str(folder), RATE, limit=2).files] == ["0.wav", "2.wav"]


@pytest.mark.parametrize("corpus", CORPORA)
def test_the_configuration_of_a_corpus_finds_its_pairs(corpus, tmp_path, clip) -> None:
    settings = yaml.safe_load((CONFIGS / f"{corpus}.yaml").read_text())["init_args"]
    wav = clip.clean[:1600]
    for name in CORPORA[corpus]:
        root = Path(settings["pairs"]["noisy"]).parents[0 if corpus == "voicebank-demand" else 1]
        put(tmp_path / root / name, wav)
    found = PairedFolders(
        **{k: str(tmp_path / v) if k in ("noisy", "clean") else v for k, v in settings["pairs"].items()}
    ).find()
    assert [tuple(r.file.relative_to(tmp_path / root).as_posix() for r in pair) for pair in found] == [
        CORPORA[corpus][::-1]
    ]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_data_configuration_builds(path) -> None:
    pytest.importorskip("lightning", reason="needs gense[train]")
    if path.stem == "shards":
        pytest.importorskip("webdataset", reason="needs webdataset")
    from gense.data.preview import data_module

    module = data_module(path)
    assert module.sample_rate in (16000, 24000, 48000)
    assert all(0 < degradation.probability <= 1 for degradation in module.degradations)


def test_what_does_not_pair_is_named(folder, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match=r"0\.wav: no clean partner called 0"):
        PairedFolders(noisy=str(folder / "noisy"), clean=str(folder / "clean/1.wav")).find()
    with pytest.raises(ValueError, match=r"noisy_name='\(': no regular expression"):
        pairs(folder, noisy_name="(").find()
    with pytest.raises(ValueError, match=r"clean_name='x.*' does not fit '0'"):
        pairs(folder, clean_name="x(.+)").find()
    with pytest.raises(ValueError, match="it needs a group in brackets"):
        pairs(folder, clean_name=".+").find()
    with pytest.raises(ValueError, match=r"0\.wav are both called"):
        pairs(folder, clean_name="()").find()
