"""Degradations that turn clean speech into training input, drawn anew for every item.

Each takes (clean, noisy) of shape (S,) and a generator and returns a new pair; clean changes only where the target
does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gense.data.clips import Clips, excerpt

Pair = tuple[np.ndarray, np.ndarray]


class Degradation:
    """A random change of a (clean, noisy) pair, applied with some probability."""

    probability: float = 1.0

    def prepare(self, sample_rate: int) -> None:
        """Load what the degradation needs, once, before workers start."""

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        """Return the changed pair, float32 (S,) each."""
        raise NotImplementedError


class Reverb(Degradation):
    """Convolve with a measured or simulated room impulse response; the target stays dry, aligned to the direct path.

    Args:
        folders: of impulse responses.
        probability: share of items.
    """

    def __init__(self, folders: Sequence[str], *, probability: float = 0.3):
        self.folders, self.probability = list(folders), probability

    def prepare(self, sample_rate: int) -> None:
        self.rirs = Clips(self.folders, sample_rate)
        self.rirs.load()

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        h = self.rirs[int(rng.integers(len(self.rirs)))]
        # A strong reflection may exceed the direct path, which comes first all the same
        direct = int(np.argmax(np.abs(h) >= 0.5 * np.abs(h).max()))
        size = len(noisy) + len(h) - 1
        wet = np.fft.irfft(np.fft.rfft(noisy, size) * np.fft.rfft(h / h[direct], size), size)
        return clean, wet[direct : direct + len(noisy)].astype(np.float32)


class AddNoise(Degradation):
    """Add a mixture of noises at a random signal-to-noise ratio.

    Every noise is cut or tiled to length and, unless `varied` is off, played at another speed and filtered with a
    random smooth response; now and then one is replaced by noise with a random spectral slope or by babble of other
    talkers.

    Args:
        folders: of noise.
        snr: range in dB of active speech level over mean noise power, or ranges with shares, (low, high, share) each.
        count: range of the number of noises.
        count_shares: shares of the numbers in this range; all alike by default.
        varied: whether noises are played at another speed and filtered.
        babble: folders of speech from which babble is made; none makes none.
        babble_share: share of noises that are babble.
        coloured_share: share of noises that are generated, with a spectral slope of -9 to +3 dB per octave.
        probability: share of items.
    """

    def __init__(
        self,
        folders: Sequence[str],
        *,
        snr: tuple[float, float] | list[tuple[float, float, float]] = (-5.0, 20.0),
        count: tuple[int, int] = (1, 3),
        count_shares: Sequence[float] = (),
        varied: bool = True,
        babble: Sequence[str] = (),
        babble_share: float = 0.1,
        coloured_share: float = 0.1,
        probability: float = 1.0,
    ):
        bands = [(*snr, 1.0)] if isinstance(snr, tuple) else [tuple(band) for band in snr]
        if not bands or any(len(band) != 3 or not (band[0] <= band[1] and band[2] >= 0) for band in bands):
            raise ValueError(f"snr={snr}: need (low, high), or a list of (low, high, share)")
        if not 1 <= count[0] <= count[1]:
            raise ValueError(f"count={count}: need (low, high), and at least one noise")
        shares = list(count_shares) or [1.0] * (count[1] - count[0] + 1)
        if len(shares) != count[1] - count[0] + 1:
            raise ValueError(f"count_shares={shares}: need one for each of {count[0]} to {count[1]}")
        self.folders, self.babble, self.varied = list(folders), list(babble), varied
        self.bands, self.band_shares = bands, _normalised([band[2] for band in bands], "snr")
        self.counts, self.count_shares = range(count[0], count[1] + 1), _normalised(shares, "count_shares")
        self.babble_share, self.coloured_share = babble_share if babble else 0.0, coloured_share
        self.probability = probability

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self.noises = Clips(self.folders, sample_rate)
        self.noises.load()
        if self.babble:
            self.talkers = Clips(self.babble, sample_rate)
            self.talkers.load()

    def _noise(self, length: int, rng: np.random.Generator) -> np.ndarray:
        kind = rng.random()
        if kind < self.coloured_share:
            spectrum = np.fft.rfft(rng.standard_normal(length))
            octaves = np.log2(np.maximum(np.arange(len(spectrum)), 1) / len(spectrum))
            return np.fft.irfft(spectrum * 10 ** (rng.uniform(-9, 3) * octaves / 20), length)
        if kind < self.coloured_share + self.babble_share:
            voices = [excerpt(self.talkers.draw, length, rng) for _ in range(rng.integers(3, 9))]
            return np.sum([voice / (rms(voice) + 1e-4) * rng.uniform(0.3, 1.0) for voice in voices], axis=0)
        speed = 2 ** rng.uniform(-0.4, 0.4) if self.varied else 1.0
        source = self.noises.draw(rng)
        needed = int(length * speed) + 2
        if len(source) < needed:
            source = np.tile(source, -(-needed // len(source)))
        start = rng.integers(len(source) - needed + 1)
        cut = np.interp(np.arange(length) * speed, np.arange(needed), source[start : start + needed])
        return _random_filter(cut, rng) if self.varied else cut

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        total = np.zeros(len(noisy))
        for _ in range(_pick(self.counts, self.count_shares, rng)):
            noise = self._noise(len(noisy), rng)
            total += noise / (rms(noise) + 1e-6) * 10 ** (rng.uniform(-12, 0) / 20)
        low, high, _ = _pick(self.bands, self.band_shares, rng)
        gain = active_level(noisy, self.sample_rate) / (rms(total) + 1e-9) * 10 ** (-rng.uniform(low, high) / 20)
        return clean, (noisy + gain * total).astype(np.float32)


class Equalise(Degradation):
    """Colour the input with a smooth random response, which the target does not have.

    Args:
        probability: share of items.
        depth_db: standard deviation of the response at its control points, dB.
    """

    def __init__(self, *, probability: float = 0.2, depth_db: float = 3.0):
        self.probability, self.depth_db = probability, depth_db

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        return clean, _random_filter(noisy, rng, self.depth_db).astype(np.float32)


def rms(wav: np.ndarray) -> float:
    """Root mean square of (S,)."""
    return float(np.sqrt(np.mean(np.square(wav, dtype=np.float64))))


def active_level(wav: np.ndarray, sample_rate: int) -> float:
    """RMS over the 20 ms frames whose power lies within 30 dB of the 95th percentile frame."""
    size = max(1, sample_rate // 50)
    frames = wav[: len(wav) // size * size].reshape(-1, size)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1)
    loud = power[power >= 1e-3 * np.percentile(power, 95)]
    return float(np.sqrt(loud.mean())) if len(loud) else 0.0


def _normalised(shares: Sequence[float], name: str) -> np.ndarray:
    total = sum(shares)
    if not total > 0 or min(shares) < 0:
        raise ValueError(f"{name}: shares {list(shares)} need to be >= 0, one of them above")
    return np.array(shares, dtype=float) / total


def _pick(options: Sequence[Any], shares: np.ndarray, rng: np.random.Generator) -> Any:
    return options[int(rng.choice(len(options), p=shares))]


def _random_filter(wav: np.ndarray, rng: np.random.Generator, depth_db: float = 4.0) -> np.ndarray:
    """Filter with zero phase through a response drawn at eight points of the frequency axis."""
    spectrum = np.fft.rfft(wav)
    points = rng.normal(0.0, depth_db, 8)
    response = np.interp(np.linspace(0, 7, len(spectrum)), np.arange(8), points)
    return np.fft.irfft(spectrum * 10 ** (response / 20), len(wav))
