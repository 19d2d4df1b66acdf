"""Plant faults into enhanced speech and count what `gense.check.check` finds, and what it reports without a fault.

    python benchmarks/check.py PAIRS --method flowse
    python benchmarks/check.py PAIRS                    # the clean reference stands for the output

PAIRS holds clean/NAME and noisy/NAME. Faults: a word of 0.4 to 0.8 s replaced by another speaker's, at its level;
another speaker in a pause of the speech (under whatever noise there is); another speaker where the input holds nothing
but faint hiss, put behind the clip; 0.5 s of speech taken out; 0.2 s of white noise at the level of the speech; and 2 s
moved by 4 or 5 semitones, formants and all. A fault counts as found where a flag overlaps it that was not there before.
Speakers count as different where file names are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr

import gense
from gense.check import Flag, check

FRAME = 320  # 20 ms at 16 kHz
RATE = 16000
Fault = tuple[np.ndarray, float, float]
"""The output with the fault, and where it lies in seconds."""


def loud_frames(wav: np.ndarray) -> np.ndarray:
    """Which 20 ms frames lie within 25 dB of active speech, (T,)."""
    power = np.square(wav[: len(wav) // FRAME * FRAME].reshape(-1, FRAME), dtype=np.float64).mean(axis=1)
    return power > np.percentile(power, 95) * 10**-2.8


def rms(wav: np.ndarray) -> float:
    return float(np.sqrt(np.square(wav, dtype=np.float64).mean() + 1e-12))


def speech(wav: np.ndarray) -> float:
    """Level of active speech."""
    return rms(wav[: len(wav) // FRAME * FRAME].reshape(-1, FRAME)[loud_frames(wav)])


def spoken(wav: np.ndarray, frames: int, rng: np.random.Generator) -> int:
    """First sample of a stretch that is speech for three quarters."""
    frames = min(frames, len(wav) // FRAME)
    share = np.convolve(loud_frames(wav), np.ones(frames) / frames, "valid")
    return int(rng.choice(np.flatnonzero(share >= min(0.75, share.max())))) * FRAME


def put(output: np.ndarray, piece: np.ndarray, first: int, keep: bool = False) -> Fault:
    """Fade a piece in over 10 ms, instead of what is there or on top of it."""
    fade = np.clip(np.minimum(np.arange(len(piece)), np.arange(len(piece))[::-1]) / 160, 0, 1)
    out, part = output.copy(), slice(first, first + len(piece))
    out[part] = output[part] * (1 - (not keep) * fade) + piece * fade
    return out, first / RATE, (first + len(piece)) / RATE


def word(output: np.ndarray, clean: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Fault:
    frames = int(rng.integers(20, 41))
    first, theirs = spoken(clean, frames, rng), spoken(other, frames, rng)
    piece = other[theirs : theirs + frames * FRAME]
    return put(output, piece * rms(clean[first : first + len(piece)]) / rms(piece), first)


def pause(output: np.ndarray, clean: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Fault | None:
    edges = np.flatnonzero(np.diff(np.concatenate([[True], loud_frames(clean), [True]]).astype(int)))
    pauses = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a >= 17]
    if not pauses:
        return None
    a, b = pauses[rng.integers(len(pauses))]
    frames = min(b - a - 2, 30)
    theirs = spoken(other, frames, rng)
    piece = other[theirs : theirs + frames * FRAME]
    return put(output, piece * 0.7 * speech(clean) / rms(piece), (a + 1) * FRAME, keep=True)


def hiss(output: np.ndarray, clean: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Fault:
    theirs = spoken(other, 25, rng)
    piece = other[theirs : theirs + 8000]
    return put(output, piece * 0.7 * speech(clean) / rms(piece), len(output) - 16000, keep=True)


def gone(output: np.ndarray, clean: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Fault:
    first = spoken(clean, 25, rng)
    return put(output, output[first : first + 8000] * 1e-3, first)


def burst(output: np.ndarray, clean: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Fault:
    first = int(rng.integers(0, len(output) - 3200))
    return put(output, rng.standard_normal(3200) * speech(clean), first, keep=True)


def voice(output: np.ndarray, clean: np.ndarray, other: np.ndarray, rng: np.random.Generator) -> Fault:
    first = spoken(clean, 100, rng)
    piece = output[first : first + 32000]
    moved = transposed(piece, 2 ** (rng.choice([-5, -4, 4, 5]) / 12))
    return put(output, moved * rms(piece) / rms(moved), first)


def transposed(wav: np.ndarray, ratio: float) -> np.ndarray:
    """Pitch and formants times `ratio` at the same length: resampled, then stretched by a phase vocoder."""
    width, hop = 1024, 256
    window = np.hanning(width + 1)[:-1]
    short = np.pad(soxr.resample(wav.astype(np.float64), RATE * ratio, RATE), width)
    spectra = np.fft.rfft(np.lib.stride_tricks.sliding_window_view(short, width)[::hop] * window)
    expected = 2 * np.pi * hop * np.arange(width // 2 + 1) / width
    times = np.arange(0, len(spectra) - 1, 1 / ratio)
    out, phase = np.zeros(len(times) * hop + width), np.angle(spectra[0])
    for number, time in enumerate(times):
        a, b, part = spectra[int(time)], spectra[int(time) + 1], time % 1
        frame = ((1 - part) * abs(a) + part * abs(b)) * np.exp(1j * phase)
        out[number * hop : number * hop + width] += np.fft.irfft(frame) * window
        turn = np.angle(b) - np.angle(a) - expected
        phase = phase + expected + turn - 2 * np.pi * np.round(turn / (2 * np.pi))
    out = out[int(width * ratio) :][: len(wav)]
    return np.pad(out, (0, len(wav) - len(out)))


FAULTS: dict[str, Callable[..., Fault | None]] = {
    "another speaker's word": word, "another speaker in a pause": pause, "another speaker in silence": hiss,
    "speech taken out": gone, "burst of noise": burst, "voice transposed": voice,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--method")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    method = gense.load(args.method) if args.method else None
    rng = np.random.default_rng(args.seed)
    clips = []
    for path in sorted((args.pairs / "noisy").iterdir()):
        noisy, clean = (soundfile.read(args.pairs / k / path.name, dtype="float32")[0] for k in ("noisy", "clean"))
        output = gense.enhance(noisy, method, sample_rate=RATE) if method else clean
        clips.append((path.name, output, clean, noisy))
    false: list[tuple[str, Flag]] = []
    found: dict[str, list[bool]] = {name: [] for name in FAULTS}
    for index, (name, output, clean, noisy) in enumerate(clips):
        false += [(name, flag) for flag in check(output, noisy, RATE)]
        faint = (10 ** (-75 / 20) * rng.standard_normal(24000)).astype(np.float32)
        for kind, plant in FAULTS.items():
            behind = faint if plant is hiss else faint[:0]
            out, given = np.append(output, 0 * behind), np.append(noisy, behind)
            planted = plant(out, clean, clips[(index + 7) % len(clips)][2], rng)
            if planted is None:
                continue
            wrong, start, end = planted
            before = check(out, given, RATE)
            new = [flag for flag in check(wrong, given, RATE) if flag not in before]
            found[kind].append(any(min(flag.end, end) - max(flag.start, start) > 0.05 for flag in new))
    minutes = sum(len(noisy) for *_, noisy in clips) / RATE / 60
    print(f"{len(clips)} clips, {minutes:.1f} min; flags without a fault: {len(false)}")
    for name, flag in false:
        print(f"  {name}: {flag}")
    for kind, hits in found.items():
        print(f"{kind}: {sum(hits)} of {len(hits)} found")


if __name__ == "__main__":
    main()
