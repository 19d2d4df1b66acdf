"""Mixtures: what they promise of determinism, alignment, level and balance."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch

from gense.data import AddNoise, Clips, Equalise, Mixtures, Pairs, Reverb
from gense.data.degrade import active_level, rms

RATE = 16000


@pytest.fixture(scope="module")
def folder(tmp_path_factory, clip):
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(4):
        (root / "speech").mkdir(exist_ok=True)
        soundfile.write(root / f"speech/{index}.wav", clip.clean[index * RATE : (index + 2) * RATE], RATE)
    for name, wav in (("noise/white.wav", 0.1 * rng.standard_normal(RATE)), ("rir/r.wav", impulse_response())):
        (root / name).parent.mkdir()
        soundfile.write(root / name, wav, RATE, subtype="FLOAT")
    return root


def impulse_response() -> np.ndarray:
    h = np.zeros(2000)
    h[40], h[700] = 0.5, -0.6  # a reflection louder than the direct path
    return h


def mixtures(folder, *degradations, **settings) -> Mixtures:
    clips = Clips([str(folder / "speech")], RATE)
    return Mixtures(clips, degradations, seconds=0.5, size=6, **settings)


def test_items_depend_on_seed_epoch_and_index_alone(folder) -> None:
    noise = AddNoise([str(folder / "noise")], babble=[str(folder / "speech")])
    first, second = mixtures(folder, noise, seed=1), mixtures(folder, noise, seed=1)
    backwards = [second[i] for i in reversed(range(6))][::-1]
    for i in range(6):
        for a, b in zip(first[i], backwards[i], strict=True):
            assert torch.equal(a, b)
    second.epoch = 1
    assert not torch.equal(first[0][1], second[0][1])
    assert not torch.equal(first[0][1], mixtures(folder, noise, seed=2)[0][1])
    assert not torch.equal(first[0][1], first[1][1])


@pytest.mark.parametrize("snr", [-5.0, 10.0])
def test_noise_arrives_at_the_ratio_asked_for(folder, snr) -> None:
    noise = AddNoise([str(folder / "noise")], snr=(snr, snr), count=(1, 3))
    for clean, noisy in mixtures(folder, noise):
        clean, noisy = clean.numpy(), noisy.numpy()
        assert 20 * np.log10(active_level(clean, RATE) / rms(noisy - clean)) == pytest.approx(snr, abs=0.05)


def test_reverberation_keeps_the_target_dry_and_aligned(folder) -> None:
    reverb = Reverb([str(folder / "rir")])
    reverb.prepare(RATE)
    clean = np.zeros(4000, np.float32)
    clean[100] = 0.5
    target, wet = reverb(clean, clean, np.random.default_rng(0))
    assert np.array_equal(target, clean)
    assert wet[100] == pytest.approx(0.5, abs=1e-4)
    assert wet[760] == pytest.approx(-0.6, abs=1e-3)
    assert np.abs(np.delete(wet, [100, 760])).max() < 1e-3


def test_colouring_changes_the_input_alone(folder) -> None:
    for clean, noisy in mixtures(folder, Equalise(probability=1.0)):
        assert clean.shape == noisy.shape == (RATE // 2,)
        assert not torch.equal(clean, noisy)


def test_speakers_are_drawn_by_the_power_of_their_number_of_clips(folder, tmp_path) -> None:
    manifest = folder / "manifest.csv"
    manifest.write_text("path,speaker\n" + "".join(f"speech/{i}.wav,{'b' if i == 3 else 'a'}\n" for i in range(4)))
    speech = str(folder / "speech")
    assert sorted(Clips([speech], RATE, manifest=str(manifest), group_power=0.0).probabilities) == [0.5, 0.5]
    assert sorted(Clips([speech], RATE, manifest=str(manifest)).probabilities) == [0.25, 0.75]
    assert sorted(Clips([speech], RATE, manifest=str(manifest), group_power=0.5).probabilities) == pytest.approx(
        [1 / (1 + 3**0.5), 3**0.5 / (1 + 3**0.5)]
    )
    manifest.write_text("file,who\n")
    with pytest.raises(ValueError, match="need a column path, got file, who"):
        Clips([speech], RATE, manifest=str(manifest))
    manifest.write_text("path,who\na.wav,b\n")
    with pytest.raises(ValueError, match="need columns path and speaker, got path, who"):
        Clips([speech], RATE, manifest=str(manifest))


def test_clips_are_resampled_and_joined_until_long_enough(folder) -> None:
    clips = Clips([str(folder / "speech")], 8000)
    assert clips[0].shape == (16000,)
    long = Mixtures(clips, [], seconds=5.0, size=1)
    assert long[0][0].shape == (40000,)


def test_missing_folders_and_partners_are_named(folder, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere: no such folder"):
        Clips([str(folder / "nowhere")], RATE)
    with pytest.raises(ValueError, match="no audio files"):
        Clips([str(tmp_path)], RATE)
    for name in ("noisy/0.wav", "clean/1.wav"):
        (tmp_path / name).parent.mkdir()
        soundfile.write(tmp_path / name, np.zeros(10), RATE)
    with pytest.raises(FileNotFoundError, match=r"0\.wav: no clean partner"):
        Pairs(str(tmp_path), RATE)
    with pytest.raises(ValueError, match="count="):
        AddNoise([], count=(0, 1))


def test_real_pairs_are_aligned(data_dir) -> None:
    pairs = Pairs(str(data_dir / "val_pairs"), RATE, limit=5)
    assert len(pairs) == 5
    for clean, noisy in pairs:
        assert clean.shape == noisy.shape
        assert float((clean * noisy).sum()) > 0


def test_ranges_of_the_ratio_come_in_their_shares(folder) -> None:
    noise = AddNoise([str(folder / "noise")], snr=[(-5.0, 0.0, 0.25), (10.0, 20.0, 0.75)], varied=False)
    items = Mixtures(Clips([str(folder / "speech")], RATE), [noise], seconds=0.5, size=200)
    found = [
        20 * np.log10(active_level(clean, RATE) / rms(noisy - clean))
        for clean, noisy in ((c.numpy(), n.numpy()) for c, n in items)
    ]
    low = [snr for snr in found if snr < 0.05]
    assert 0.15 < len(low) / 200 < 0.35
    assert all(-5.05 <= snr <= 0.05 or 9.95 <= snr <= 20.05 for snr in found)


def test_numbers_of_noises_come_in_their_shares(folder, monkeypatch) -> None:
    noise = AddNoise([str(folder / "noise")], count=(1, 2), count_shares=(0.75, 0.25))
    counts: list[int] = []
    original = AddNoise._noise

    def counted(self, length, rng):
        counts[-1] += 1
        return original(self, length, rng)

    monkeypatch.setattr(AddNoise, "_noise", counted)
    items = Mixtures(Clips([str(folder / "speech")], RATE), [noise], seconds=0.1, size=200)
    for index in range(200):
        counts.append(0)
        items[index]
    assert set(counts) == {1, 2}
    assert 0.15 < counts.count(2) / 200 < 0.35


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"snr": (5.0, -5.0)}, "need \\(low, high\\)"),
        ({"snr": []}, "or a list of"),
        ({"snr": [(0.0, 5.0, 0.0)]}, "one of them above"),
        ({"count": (0, 2)}, "at least one noise"),
        ({"count": (1, 2), "count_shares": (1.0,)}, "one for each of 1 to 2"),
    ],
)
def test_impossible_noise_settings_are_refused(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        AddNoise(["nowhere"], **settings)
