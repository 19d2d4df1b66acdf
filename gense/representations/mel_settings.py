"""The settings on which a mel front end and a vocoder must agree."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

Scale = Literal["htk", "slaney"]
Norm = Literal["none", "slaney"]
Padding = Literal["center", "same"]
Log = Literal["natural", "log10"]

# Two front ends that differ in these alone give the same values but for the quietest points
_NEAR_SILENCE = ("floor", "epsilon")


@dataclass(frozen=True)
class MelSettings:
    """Everything that a log-mel spectrogram depends on.

    Args:
        sample_rate: Hz.
        n_fft: transform and periodic Hann window in samples.
        hop_length: samples per frame.
        bands: number of mel bands.
        f_min: lower end of the first band, Hz.
        f_max: upper end of the last band, Hz; None is half the sampling rate.
        scale: spacing of the bands, see `mel_filterbank`.
        norm: of the bands' weights.
        power: of the magnitude, before the bands are summed.
        padding: "center": frame k is centred on sample k * hop_length, the ends reflected, 1 + S // hop_length frames;
            "same": frame k covers the middle of samples k * hop_length to (k + 1) * hop_length, S // hop_length frames.
        epsilon: added to the squared magnitude, which keeps its root's gradient finite.
        floor: least value of a band before the logarithm.
        log: natural or base 10.

    Raises:
        ValueError: a value is out of its range.
    """

    sample_rate: int = 24000
    n_fft: int = 1024
    hop_length: int = 256
    bands: int = 100
    f_min: float = 0.0
    f_max: float | None = None
    scale: Scale = "htk"
    norm: Norm = "none"
    power: float = 1.0
    padding: Padding = "center"
    epsilon: float = 0.0
    floor: float = 1e-5
    log: Log = "natural"

    def __post_init__(self) -> None:
        for name, kind in (("scale", Scale), ("norm", Norm), ("padding", Padding), ("log", Log)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name}={getattr(self, name)!r}: expected one of {', '.join(get_args(kind))}")
        top = self.sample_rate / 2 if self.f_max is None else self.f_max
        if not 0 <= self.f_min < top <= self.sample_rate / 2:
            raise ValueError(
                f"f_min={self.f_min}, f_max={self.f_max}: need 0 <= f_min < f_max <= {self.sample_rate / 2} Hz"
            )
        if not (1 <= self.hop_length <= self.n_fft // 2 and self.bands >= 1 and self.power > 0):
            raise ValueError(
                f"hop_length={self.hop_length}, n_fft={self.n_fft}, bands={self.bands}, power={self.power}: need "
                "1 <= hop_length <= n_fft / 2, bands >= 1, power > 0"
            )
        if not (self.floor > 0 and self.epsilon >= 0):
            raise ValueError(f"floor={self.floor}, epsilon={self.epsilon}: need floor > 0 and epsilon >= 0")

    def differences(self, other: MelSettings) -> str:
        """Name the settings in which two front ends differ, "" where one's values can be taken for the other's.

        The floors are left out: a spectrogram with a higher floor is one that a vocoder with a lower floor has seen.
        """
        named = []
        for field in fields(self):
            own, others = getattr(self, field.name), getattr(other, field.name)
            if field.name == "f_max":
                own, others = (s.sample_rate / 2 if s.f_max is None else s.f_max for s in (self, other))
            if own != others and field.name not in _NEAR_SILENCE:
                named.append(f"{field.name} {own} and {others}")
        return ", ".join(named)
