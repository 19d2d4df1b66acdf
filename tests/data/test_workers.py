"""Items are the same whatever the number of workers; streams of shards go on where a run was cut off."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

pytest.importorskip("lightning", reason="needs gense[train]")

from gense.data import AddNoise, BandLimit, Clip, Clips, Gain, Mixtures, PacketLoss, Wind
from gense.data.datamodule import collate

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip) -> Path:
    root = tmp_path_factory.mktemp("workers")
    for shard in range(2):
        with tarfile.open(root / f"s-{shard}.tar", "w") as tar:
            for index in range(4):
                number = 4 * shard + index
                start = RATE // 2 * (number + 1)
                for side, gain in (("clean", 1.0), ("noisy", -0.5)):
                    file = io.BytesIO()
                    soundfile.write(file, gain * clip.clean[start : start + RATE // 2], RATE, format="FLAC")
                    info = tarfile.TarInfo(f"{number:03d}.{side}.flac")
                    info.size = len(file.getvalue())
                    file.seek(0)
                    tar.addfile(info, file)
    return root


def degradations(folder: Path) -> list:
    noise = AddNoise([str(folder / "s-0.tar?ext=noisy.flac")], count=(1, 2))
    some = {"probability": 0.5}
    return [noise, Wind(**some), Gain(drift_db=2.0, **some), Clip(**some), BandLimit(**some), PacketLoss(**some)]


def batches(items, workers: int) -> list[torch.Tensor]:
    loader = DataLoader(
        items, 2, collate_fn=collate, num_workers=workers, drop_last=True,
        multiprocessing_context="fork" if workers else None,
    )  # fmt: skip
    return [torch.stack([batch.clean, batch.noisy]) for batch in loader]


def assert_equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> None:
    assert len(first) == len(second)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_mixtures_do_not_depend_on_the_workers(folder) -> None:
    clips = Clips([str(folder / "s-*.tar?ext=clean.flac")], RATE)
    items = Mixtures(clips, degradations(folder), seconds=0.4, size=7)
    items.epoch = 3
    alone = batches(items, 0)
    assert len(alone) == 3
    for workers in (1, 2):
        assert_equal(batches(items, workers), alone)


def stream(folder: Path, seed: int = 0, **settings):
    pytest.importorskip("webdataset", reason="needs webdataset")
    from gense.data.shards import ShardMixtures

    given = {"clean": "clean.flac", "seconds": 0.4, "size": 12, "batch_size": 2, "buffer": 3, **settings}
    return ShardMixtures([str(folder / "s-{0,1}.tar")], given.pop("made", []), sample_rate=RATE, seed=seed, **given)


def test_streams_do_not_depend_on_the_workers(folder) -> None:
    items = stream(folder, made=degradations(folder))
    alone = batches(items, 0)
    assert len(alone) == 6
    for workers in (1, 2):
        assert_equal(batches(items, workers), alone)
    assert not torch.equal(alone[0], batches(stream(folder, seed=1, made=degradations(folder)), 0)[0])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_stream_goes_on_where_a_run_was_cut_off(folder, workers) -> None:
    items = stream(folder)
    first = batches(items, 0)
    items.done = lambda: 6
    second = batches(items, 0)
    assert not torch.equal(first[0], second[0])
    items.done = lambda: 4
    assert_equal(batches(items, workers), [*first, *second][4:10])


def test_processes_read_shards_of_their_own(folder) -> None:
    items = stream(folder, seconds=0.5)
    items.ranks = 2
    seen = []
    for rank in range(2):
        items.rank = rank
        seen.append({tuple(clean[:50].tolist()) for clean, _ in items})
    assert all(len(some) == 4 for some in seen)
    assert not seen[0] & seen[1]


def test_both_sides_of_a_sample_are_cut_at_the_same_place(folder) -> None:
    for clean, noisy in stream(folder, noisy="noisy.flac", seconds=0.7):  # longer than the samples
        assert clean.shape == (round(0.7 * RATE),)
        np.testing.assert_allclose(noisy.numpy(), -0.5 * clean.numpy(), atol=1e-4)


def test_streams_that_cannot_be_are_refused(folder) -> None:
    items = stream(folder)
    items.ranks = 3
    with pytest.raises(ValueError, match="2 shards for 3 processes"):
        next(iter(items))
    with pytest.raises(ValueError, match=r"s-\d\.tar: no sample with wav in this and 1 more shards"):
        next(iter(stream(folder, clean="wav")))
    with pytest.raises(ValueError, match="batch_size=20, size=12"):
        stream(folder, batch_size=20)
