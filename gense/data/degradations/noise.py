"""Additive noise: recorded, generated, and babble."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gense.data.clips import Clips, excerpt
from gense.data.degrade import Degradation, Pair, active_level, normalised, pick, random_filter, rms


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
        super().__init__(probability)
        bands = [(*snr, 1.0)] if isinstance(snr, tuple) else [tuple(band) for band in snr]
        if not bands or any(len(band) != 3 or not (band[0] <= band[1] and band[2] >= 0) for band in bands):
            raise ValueError(f"snr={snr}: need (low, high), or a list of (low, high, share)")
        if not 1 <= count[0] <= count[1]:
            raise ValueError(f"count={count}: need (low, high), and at least one noise")
        shares = list(count_shares) or [1.0] * (count[1] - count[0] + 1)
        if len(shares) != count[1] - count[0] + 1:
            raise ValueError(f"count_shares={shares}: need one for each of {count[0]} to {count[1]}")
        self.folders, self.babble, self.varied = list(folders), list(babble), varied
        self.bands, self.band_shares = bands, normalised([band[2] for band in bands], "snr")
        self.counts, self.count_shares = range(count[0], count[1] + 1), normalised(shares, "count_shares")
        self.babble_share, self.coloured_share = babble_share if babble else 0.0, coloured_share

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
        return random_filter(cut, rng) if self.varied else cut

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        total = np.zeros(len(noisy))
        for _ in range(pick(self.counts, self.count_shares, rng)):
            noise = self._noise(len(noisy), rng)
            total += noise / (rms(noise) + 1e-6) * 10 ** (rng.uniform(-12, 0) / 20)
        low, high, _ = pick(self.bands, self.band_shares, rng)
        gain = active_level(noisy, self.sample_rate) / (rms(total) + 1e-9) * 10 ** (-rng.uniform(low, high) / 20)
        return clean, (noisy + gain * total).astype(np.float32)
