"""How far the header of an audio file is believed: limits that whoever runs gense can raise."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_PREFIX = "GENSE_"
# What any file may grow to before its size is held against it: 1 GiB of float32, 1.5 hours of 48 kHz
_FREE_SAMPLES = 2**28


@dataclass(frozen=True)
class Limits:
    """What a file may announce; beyond, it is refused before anything is allocated or decoded for it.

    Each limit stands in an environment variable of its name, too, which is what functions take that are given no
    limits: `GENSE_MAX_SECONDS=1e6 gense enhance ...`.

    Args:
        min_rate: lowest sampling rate, Hz.
        max_rate: highest sampling rate, Hz.
        max_channels: most channels. Each of them costs a run of the method.
        max_seconds: longest recording.
        max_samples: most samples, all channels together, that are read into memory at once; 2^32 of them are 16 GiB.
            What is read as a stream is not held to it.
        max_expansion: most bytes of samples (4 for each) for a byte of the file, once they exceed 1 GiB: silence packs
            a terabyte of samples into some megabytes of FLAC, speech in Opus at 6 kbit/s expands 256 times.

    Raises:
        ValueError: a limit that is not positive, or min_rate above max_rate.
    """

    min_rate: int = 1000
    max_rate: int = 768000
    max_channels: int = 64
    max_seconds: float = 48 * 3600.0
    max_samples: int = 2**32
    max_expansion: float = 1000.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name}={value}: expected a number above 0")
        if self.min_rate > self.max_rate:
            raise ValueError(f"min_rate={self.min_rate} lies above max_rate={self.max_rate}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Limits:
        """The defaults, or what `GENSE_MAX_RATE`, `GENSE_MAX_SECONDS` and so on say.

        Raises:
            ValueError: a variable that is no number above 0.
        """
        found: dict[str, Any] = {}
        for field in fields(cls):
            variable = _PREFIX + field.name.upper()
            if variable in environment:
                kind = int if isinstance(field.default, int) else float
                try:
                    found[field.name] = kind(float(environment[variable]))
                except (ValueError, OverflowError):  # OverflowError: infinity as a whole number
                    raise ValueError(f"{variable}={environment[variable]!r}: expected a number above 0") from None
        return cls(**found)

    def check_header(self, name: str, *, rate: int, channels: int) -> None:
        """Refuse a file that announces an absurd rate or number of channels.

        Raises:
            ValueError: says what was announced, the limit, and how to raise it.
        """
        if not self.min_rate <= rate <= self.max_rate:
            which = "max_rate" if rate > self.max_rate else "min_rate"
            raise ValueError(
                f"{name}: announces a sampling rate of {rate} Hz, expected {self.min_rate} to {self.max_rate}; "
                + _advice(which, rate)
            )
        if channels > self.max_channels:
            raise ValueError(
                f"{name}: announces {channels} channels, expected at most {self.max_channels}; "
                + _advice("max_channels", channels)
            )

    def check_length(self, name: str, *, frames: int, rate: int, channels: int, size: int) -> None:
        """Refuse a file that is too long, or far longer than its size can honestly hold.

        Args:
            name: of the file, for messages.
            frames: samples of each channel, announced or already decoded.
            rate: Hz.
            channels: how many.
            size: bytes of the file.

        Raises:
            ValueError: says how long it is, the limit, and how to raise it.
        """
        if frames > self.max_seconds * rate:
            raise ValueError(
                f"{name}: lasts {frames / rate:.0f} s or more, expected at most {self.max_seconds:g} s; "
                + _advice("max_seconds", frames / rate)
            )
        samples = frames * channels
        if samples > _FREE_SAMPLES and 4 * samples > self.max_expansion * size:
            raise ValueError(
                f"{name}: {size} bytes that unpack to {4 * samples} or more, over {self.max_expansion:g} times as "
                "many: it is nothing but silence, or made to exhaust memory; "
                + _advice("max_expansion", 4 * samples / size)
            )

    def check_memory(self, name: str, *, frames: int, channels: int) -> None:
        """Refuse to hold more samples in memory than `max_samples`.

        Raises:
            ValueError: says how many there are, the limit, and how to raise it.
        """
        if frames * channels > self.max_samples:
            raise ValueError(
                f"{name}: {frames * channels} samples or more ({4 * frames * channels / 2**30:.0f} GiB), expected at "
                f"most {self.max_samples} in memory at once; " + _advice("max_samples", frames * channels)
            )


def _advice(which: str, value: float) -> str:
    return f"if the file is to be trusted, raise this limit with {_PREFIX}{which.upper()}={value:.0f}"
