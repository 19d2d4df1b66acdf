"""Lossy codecs, in memory."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gense.audio import resample
from gense.data.degrade import Degradation, Pair

_PROBE_SECONDS = 1.0


@dataclass(frozen=True)
class _Kind:
    """How libsndfile writes a codec: container, sample format, rates it takes in Hz."""

    container: str
    subtype: str
    rates: tuple[int, ...]
    rated: bool = False


_TELEPHONE = (8000,)
_KINDS = {
    "mp3": _Kind("MP3", "MPEG_LAYER_III", (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000), True),
    "opus": _Kind("OGG", "OPUS", (8000, 12000, 16000, 24000, 48000), True),
    "gsm": _Kind("WAV", "GSM610", _TELEPHONE),
    "ulaw": _Kind("WAV", "ULAW", _TELEPHONE),
    "alaw": _Kind("WAV", "ALAW", _TELEPHONE),
}
# kbit/s of MPEG-2.5 (8 to 12 kHz), MPEG-2 (16 to 24 kHz) and MPEG-1 layer III: (highest rate in Hz, lowest, highest)
_MP3_RATES = ((12000, 8, 64), (24000, 8, 160), (48000, 32, 320))
_OPUS_RATES = (6, 256)


class Codec(Degradation):
    """Send the input through a lossy codec and back, aligned to the sample.

    What a codec delays is measured once for each codec and bit rate, on generated sound like speech, and taken away.
    The codecs are those of libsndfile 1.2 (soundfile 0.13 and later).

    Args:
        kinds: codecs, each drawn as often as the others, and bit rates in kbit/s of which one is drawn: "mp3", "opus",
            and, at 8 kHz and without a choice of rates, "gsm" (GSM 06.10), "ulaw" and "alaw" (G.711).
        probability: share of items.

    Raises:
        ValueError: an unknown codec, rates for one that has none, none for one that needs them, or rates that the codec
            has not.
    """

    def __init__(
        self,
        kinds: Mapping[str, Sequence[float]] | None = None,
        *,
        probability: float = 0.1,
    ):
        super().__init__(probability)
        if kinds is None:
            kinds = {"mp3": (16, 24, 32, 48), "opus": (8, 12, 16, 24), "gsm": (), "ulaw": ()}
        if not kinds:
            raise ValueError("kinds: need at least one codec")
        for kind, rates in kinds.items():
            if kind not in _KINDS:
                raise ValueError(f"kinds: unknown codec {kind!r}; expected {', '.join(_KINDS)}")
            if _KINDS[kind].rated != bool(rates):
                need = "needs bit rates in kbit/s" if _KINDS[kind].rated else "has one bit rate: give an empty list"
                raise ValueError(f"kinds: {kind} {need}, got {list(rates)}")
        self.kinds = {kind: tuple(float(rate) for rate in rates) for kind, rates in kinds.items()}

    def prepare(self, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        # Measured here and not when first used: workers would each do it again
        self.delays = {
            (kind, kbps): codec_delay(kind, kbps, sample_rate)
            for kind, rates in self.kinds.items() for kbps in rates or (None,)
        }  # fmt: skip

    def __call__(self, clean: np.ndarray, noisy: np.ndarray, rng: np.random.Generator) -> Pair:
        kind = list(self.kinds)[int(rng.integers(len(self.kinds)))]
        rates = self.kinds[kind]
        kbps = rates[int(rng.integers(len(rates)))] if rates else None
        return clean, aligned(coded(noisy, self.sample_rate, kind, kbps), self.delays[kind, kbps], len(noisy))


def coded(wav: np.ndarray, sample_rate: int, kind: str, kbps: float | None = None) -> np.ndarray:
    """Encode and decode (S,) as it comes: float32 (S',), later and longer by what the codec adds.

    Args:
        wav: any level; the codec hears it with its peak at 0.7.
        sample_rate: Hz; the codec works at the next higher rate that it has, or its highest.
        kind: one of the codecs of `Codec`.
        kbps: kbit/s, for codecs that have a choice.

    Raises:
        ValueError: the codec has no such bit rate at this sampling rate.
        RuntimeError: this libsndfile has no such codec.
    """
    import soundfile

    about = _KINDS[kind]
    rate = min((r for r in about.rates if r >= sample_rate), default=about.rates[-1])
    peak = float(np.abs(wav).max(initial=0.0))
    if peak == 0:
        return np.zeros(len(wav), np.float32)
    settings: dict[str, Any] = {} if kbps is None else {"compression_level": _level(kind, kbps, rate)}
    if kind == "mp3":
        settings["bitrate_mode"] = "CONSTANT"
    file = io.BytesIO()
    try:
        with soundfile.SoundFile(file, "w", rate, 1, about.subtype, format=about.container, **settings) as encoder:
            encoder.write(resample(wav, sample_rate, rate).astype(np.float32) * np.float32(0.7 / peak))
        file.seek(0)
        out, _ = soundfile.read(file, dtype="float32")
    except soundfile.LibsndfileError as error:
        raise RuntimeError(
            f"libsndfile {soundfile.__libsndfile_version__} cannot code {kind}: {error}; it needs 1.2 with this codec"
        ) from error
    return resample(out, rate, sample_rate) * np.float32(peak / 0.7)


def _level(kind: str, kbps: float, rate: int) -> float:
    """libsndfile's compression level, 0 to 1, which is linear in the bit rate."""
    low, high = _OPUS_RATES if kind == "opus" else next(ends for top, *ends in _MP3_RATES if rate <= top)
    if not low <= kbps <= high:
        raise ValueError(f"kinds: {kind} has {low} to {high} kbit/s at {rate} Hz, got {kbps:g}")
    return min((high - kbps) / (high - low), 0.999)  # 1 itself is refused by some versions


def aligned(wav: np.ndarray, delay: int, length: int) -> np.ndarray:
    """Take a delay in samples (negative: too early) away from (S',): (length,), silent where nothing is left."""
    wav = wav[delay:] if delay >= 0 else np.pad(wav, (-delay, 0))
    return np.pad(wav[:length], (0, max(0, length - len(wav)))).astype(np.float32)


def codec_delay(kind: str, kbps: float | None, sample_rate: int) -> int:
    """Delay of a codec in samples, measured on a second of noise with the spectrum and the pauses of speech."""
    rng = np.random.default_rng(0)
    size = round(_PROBE_SECONDS * sample_rate)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    # Flat between 150 and 500 Hz, 9 dB an octave above; syllables at 4 Hz
    shape = (frequencies > 150) / np.maximum(frequencies / 500, 1.0) ** 1.5
    probe = np.fft.irfft(np.fft.rfft(rng.standard_normal(size)) * shape, size)
    probe = (probe * np.sin(np.pi * 4 * np.arange(size) / sample_rate) ** 2).astype(np.float32)
    out = coded(probe, sample_rate, kind, kbps)
    length = len(probe) + len(out)
    both = np.fft.irfft(np.fft.rfft(out, length) * np.conj(np.fft.rfft(probe, length)), length)
    lag = int(np.argmax(both))
    return lag if lag < len(out) else lag - length
