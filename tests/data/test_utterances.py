"""Utterances with transcripts: whole, in batches of like length, the same whoever loads them."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("lightning", reason="needs gense[train]")

from gense.data import AddNoise
from gense.data.utterances import Utterances, batches_by_length, collate_texts

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip):
    root = tmp_path_factory.mktemp("utterances")
    rows = ["path,text"]
    for index, length in enumerate((8000, 12000, 16000, 3200, 32000)):
        soundfile.write(root / f"{index}.wav", clip.clean[RATE : RATE + length], RATE)
        rows.append(f'{index}.wav,"words, number {index}"')
    (root / "said.csv").write_text("\n".join([*rows, "missing.wav,never said"]))
    (root / "noise").mkdir()
    soundfile.write(root / "noise/n.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    return root


def utterances(folder, **settings) -> Utterances:
    return Utterances(str(folder / "said.csv"), [AddNoise([str(folder / "noise")])], sample_rate=RATE, **settings)


def test_an_item_is_a_whole_file_with_its_words(folder, clip) -> None:
    items = utterances(folder)
    assert len(items) == 4  # 0.2 s are too short
    for clean, noisy, text in items:
        index = int(text.split()[-1])
        written, _ = soundfile.read(folder / f"{index}.wav", dtype="float32")
        assert torch.equal(clean, torch.from_numpy(written))
        assert clean.shape == noisy.shape
        assert not torch.equal(clean, noisy)


def test_items_depend_on_seed_epoch_and_index_alone(folder) -> None:
    first, second = utterances(folder), utterances(folder)
    backwards = [second[i][1] for i in reversed(range(4))][::-1]
    assert all(torch.equal(first[i][1], backwards[i]) for i in range(4))
    second.epoch = 7
    assert not torch.equal(first[0][1], second[0][1])


def test_the_collation_pads_with_silence(folder) -> None:
    items = [utterances(folder)[i] for i in range(3)]
    batch = collate_texts(items)
    longest = max(len(clean) for clean, _, _ in items)
    assert batch.clean.shape == batch.noisy.shape == (3, longest)
    assert batch.text == [text for _, _, text in items]
    for row, (clean, _, _) in zip(batch.clean, items, strict=True):
        assert torch.equal(row[: len(clean)], clean)
        assert not row[len(clean) :].any()


def test_batches_hold_every_item_once_within_the_limits() -> None:
    rng = np.random.default_rng(0)
    seconds = rng.uniform(0.5, 20.0, 500).tolist()
    groups = batches_by_length(seconds, batch_seconds=64.1, batch_size=16, ratio=1.5, rng=rng)
    assert sorted(i for group in groups for i in group) == list(range(500))
    for group in groups:
        lengths = [seconds[i] for i in group]
        assert max(lengths) * len(group) <= 64.1
        assert len(group) <= 16
        assert max(lengths) <= 1.5 * min(lengths)
    assert max(map(len, groups)) == 16  # the limit is reached by the short ones
    used = sum(seconds) / sum(max(seconds[i] for i in group) * len(group) for group in groups)
    assert used > 0.9  # little is padding
    order = [max(seconds[i] for i in group) for group in groups]
    assert order != sorted(order, reverse=True)
    again = batches_by_length(
        seconds, batch_seconds=64.1, batch_size=16, ratio=1.5, rng=np.random.default_rng(1)
    )
    assert sorted(map(tuple, again)) == sorted(map(tuple, groups))
    assert again != groups


def test_an_item_longer_than_a_batch_comes_alone() -> None:
    groups = batches_by_length(
        [90.0, 30.0, 30.0], batch_seconds=64.0, batch_size=8, ratio=1.5, rng=np.random.default_rng(0)
    )
    assert sorted(groups) == [[0], [1, 2]]


def test_what_cannot_be_used_is_said(folder, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"none of its 5 files lasts 50 to 60 s, but 0\.2 to 2\.0 s"):
        utterances(folder, shortest=50, longest=60)
    (tmp_path / "said.csv").write_text("path,text\nnowhere.wav,words\n")
    with pytest.raises(ValueError, match="none of its files exists"):
        Utterances(str(tmp_path / "said.csv"), [], sample_rate=RATE)
