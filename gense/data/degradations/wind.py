"""Wind in the microphone, generated."""

from __future__ import annotations

import numpy as np

from gense.data.degrade import Degradation, Pair, active_level, checked_range, rms, smooth_curve

_SIZE_METRES = 0.1
_FRAME_SECONDS = 0.064


class Wind(Degradation):
    """Add the rumble of wind on a microphone, with gusts.

    The pressure of turbulent flow at speed u scales as u^2 times a function of f d / u, d being the size of the
    obstacle (Strasberg 1988, J. Acoust. Soc. Am. 83). This function is taken as flat up to a corner at f d / u = 1 and
    falls beyond with the 7/3 power of the frequency, the law of the inertial range (Raspet, Webster & Dillion 2006,
    J. Acoust. Soc. Am. 119), about 7 dB an octave. So a gust is louder and reaches higher at once. The speed itself
    wanders around its mean on a logarithmic scale.

    Args:
        snr: range of active speech level over mean wind power, dB.
        speed: range of the mean speed, m/s.
        gusts: range of the standard deviation of the speed's natural logarithm; 0 is a steady wind.
        gust_seconds: range of the time from one speed to another.
        probability: share of items.

    Raises:
        ValueError: no range, or one that is not above 0.
    """

    def __init__(
        self,
        *,
        snr: tuple[float, float] = (-10.0, 15.0),
        speed: tuple[float, float] = (2.0, 15.0),
        gusts: tuple[float, float] = (0.1, 0.5),
        gust_seconds: tuple[float, float] = (0.2, 1.0),
        probability: float = 0.05,
    ):
        super().__init__(probability)
        self.snr, self.speed = checked_range("snr", snr), checked_range("speed", speed, least=0.1)
        self.gusts = checked_range("gusts", gusts, least=0.0)
        self.gust_seconds = checked_range("gust_seconds", gust_seconds, least=0.01)

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        ratio, mean, depth = rng.uniform(*self.snr), rng.uniform(*self.speed), rng.uniform(*self.gusts)
        spacing = max(1, round(rng.uniform(*self.gust_seconds) * self.sample_rate))
        speed = mean * np.exp(depth * smooth_curve(len(noisy), spacing, rng))
        wind = wind_noise(speed, self.sample_rate, rng)
        gain = active_level(noisy, self.sample_rate) / (rms(wind) + 1e-12) * 10 ** (-ratio / 20)
        return clean, (noisy + gain * wind).astype(np.float32)


def wind_noise(speed: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
    """Noise (S,) of a wind whose speed in m/s is given at every sample, (S,); its level has no unit.

    White noise is cut into frames of 64 ms that overlap by half, and each is shaped by the spectrum of its speed. The
    square roots of Hann windows before and after leave white noise at its power.
    """
    hop = max(1, round(_FRAME_SECONDS * sample_rate / 2))
    size = 2 * hop
    count = -(-len(speed) // hop) + 1
    window = np.sqrt(np.hanning(size + 1)[:-1])
    white = rng.standard_normal((count + 1) * hop)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    centres = np.minimum(np.arange(count) * hop, len(speed) - 1)
    u = speed[centres][:, None]
    # At equal pressure, energy spreads over a band as wide as the corner: hence the root below
    amplitude = u**2 / np.sqrt(u) * (1 + (frequencies * _SIZE_METRES / u) ** 2) ** (-7 / 12)
    amplitude[:, frequencies < 10] = 0  # no microphone goes down to the pressure of still air
    frames = np.lib.stride_tricks.sliding_window_view(white, size)[::hop]
    shaped = np.fft.irfft(np.fft.rfft(frames * window) * amplitude, size) * window
    out = np.zeros((count + 1) * hop)
    for index in range(count):
        out[index * hop : index * hop + size] += shaped[index]
    return out[hop : hop + len(speed)]
