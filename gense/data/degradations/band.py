"""Limited bandwidth: telephones, cheap microphones, files that were once at a lower rate."""

from __future__ import annotations

import numpy as np

from gense.data.degrade import Degradation, Pair, checked_range, zero_phase


class BandLimit(Degradation):
    """Take away the highest and, now and then, the lowest frequencies of the input, without delay.

    The gains are those of Butterworth filters, 1 / sqrt(1 + (f / fc)^(2n)) and its mirror image, with zero phase: half
    the power at the corner fc, 6n dB an octave beyond. An order of 40 is a cliff, as resampling leaves it; 2 is a
    gentle roll-off.

    Args:
        high: range of the upper corner in Hz, drawn evenly on a logarithmic scale; above half the sampling rate
            nothing is taken away.
        low: range of the lower corner in Hz.
        low_share: share of limited items that lose low frequencies, too.
        order: range of the order n, drawn evenly on a logarithmic scale.
        probability: share of items.

    Raises:
        ValueError: no range above 0.
    """

    def __init__(
        self,
        *,
        high: tuple[float, float] = (1800.0, 7000.0),
        low: tuple[float, float] = (80.0, 400.0),
        low_share: float = 0.3,
        order: tuple[float, float] = (2.0, 40.0),
        probability: float = 0.15,
    ):
        super().__init__(probability)
        self.high, self.low = checked_range("high", high, least=1.0), checked_range("low", low, least=1.0)
        self.order = checked_range("order", order, least=1.0)
        if not 0 <= low_share <= 1:
            raise ValueError(f"low_share={low_share}: expected 0 to 1")
        self.low_share = low_share

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        high, low, order = (np.exp(rng.uniform(*np.log(ends))) for ends in (self.high, self.low, self.order))
        pad = self.sample_rate // 10
        frequencies = np.fft.rfftfreq(len(noisy) + pad, 1 / self.sample_rate)
        response = butterworth(frequencies, high, order)
        if rng.random() < self.low_share:
            response = response * butterworth(low, np.maximum(frequencies, 1e-3), order)
        return clean, zero_phase(noisy, response, pad)


def butterworth(
    frequency: np.ndarray | float, corner: np.ndarray | float, order: float
) -> np.ndarray:
    """Gain of a Butterworth low-pass; with frequency and corner exchanged, of the high-pass (Butterworth 1930)."""
    # Beyond 1e300 the power would overflow where the gain has long been 0
    ratio = np.minimum(np.log(np.maximum(np.divide(frequency, corner), 1e-12)) * 2 * order, 600.0)
    return 1 / np.sqrt(1 + np.exp(ratio))
