"""Make the demo clip: examples/noisy.wav and examples/clean.wav, 9 s, 16 kHz, 16 bit, sample-aligned.

Speech comes from two free synthesisers (apt-get install flite espeak-ng); noise and room are computed from a seed. The
same versions of the synthesisers give the same files.

    python examples/make_clip.py
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
SECONDS = 9.0
PAUSE_SECONDS = 0.3
SPEECH_DBFS = -26.0
SNR_DB = 7.0
REVERBERATION_SECONDS = 0.3
DIRECT_TO_REVERBERANT_DB = 13.0
SEED = 4

# Synthesiser, voice, sentence.
SPEECH = [
    ("flite", "slt", "The train to the coast leaves from platform nine."),
    ("flite", "rms", "Could you close the window, please? The fan is rather loud."),
    ("espeak-ng", "en-us+m3", "Of course. Is it better now?"),
]


def synthesise(program: str, voice: str, sentence: str) -> np.ndarray:
    """Speech (S,) at 16 kHz, silence at both ends cut off, at SPEECH_DBFS.

    Raises:
        FileNotFoundError: the synthesiser is not installed.
    """
    if shutil.which(program) is None:
        raise FileNotFoundError(f"{program} is not installed: apt-get install flite espeak-ng")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "speech.wav")
        command = {
            "flite": ["flite", "-voice", voice, "-t", sentence, "-o", path],
            "espeak-ng": ["espeak-ng", "-v", voice, "-s", "160", "-w", path, sentence],
        }[program]
        subprocess.run(command, check=True, capture_output=True)
        speech, rate = soundfile.read(path)
    speech = soxr.resample(speech, rate, RATE) if rate != RATE else speech
    loud = np.flatnonzero(np.abs(speech) > 0.01 * np.abs(speech).max())
    speech = speech[loud[0] : loud[-1] + 1]
    return speech * 10 ** (SPEECH_DBFS / 20) / np.sqrt(np.mean(speech**2))


def conversation(length: int) -> np.ndarray:
    """The sentences one after the other, centred in (length,)."""
    pause = np.zeros(round(PAUSE_SECONDS * RATE))
    parts = [part for item in SPEECH for part in (synthesise(*item), pause)][:-1]
    speech = np.concatenate(parts)
    if speech.size > length:
        raise ValueError(f"the sentences last {speech.size / RATE:.1f} s, more than the clip's {length / RATE:.1f} s")
    before = (length - speech.size) // 2
    return np.pad(speech, (before, length - speech.size - before))


def room(rng: np.random.Generator) -> np.ndarray:
    """Impulse response (N,) whose direct path is sample 0 with value 1, so that wet speech stays aligned with dry.

    The reverberation is noise under an exponential decay of 60 dB per REVERBERATION_SECONDS (Polack's model), starting
    2 ms after the direct sound and thinned out at first, where a real room has single reflections.
    """
    time = np.arange(round(1.2 * REVERBERATION_SECONDS * RATE)) / RATE
    density = np.clip((time - 0.002) / 0.03, 0.0, 1.0)
    tail = rng.standard_normal(time.size) * (rng.random(time.size) < density)
    tail *= 10 ** (-3 * time / REVERBERATION_SECONDS)
    tail *= 10 ** (-DIRECT_TO_REVERBERANT_DB / 20) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    return tail


def shaped_noise(rng: np.random.Generator, length: int, gain: np.ndarray) -> np.ndarray:
    """Gaussian noise (length,) of unit power with the amplitude response `gain` over `frequencies(length)`."""
    noise = np.fft.irfft(np.fft.rfft(rng.standard_normal(length)) * gain, length)
    return noise / np.sqrt(np.mean(noise**2))


def frequencies(length: int) -> np.ndarray:
    """Hz of the bins of a real FFT of (length,)."""
    return np.fft.rfftfreq(length, 1 / RATE)


def band(length: int, low: float, high: float) -> np.ndarray:
    """Amplitude response of a band pass with gentle slopes (first order below, third order above), in Hz."""
    frequency = frequencies(length)
    return frequency / (frequency + low) / (1 + (frequency / high) ** 3)


def murmur(rng: np.random.Generator, length: int, talkers: int) -> np.ndarray:
    """Unintelligible voices, (length,): speech-shaped noises, each switched on and off at the rate of syllables."""
    total = np.zeros(length)
    for _ in range(talkers):
        syllables = shaped_noise(rng, length, np.exp(-((frequencies(length) - 4.0) ** 2) / 4.0))
        total += np.clip(syllables, 0.0, None) * shaped_noise(rng, length, band(length, 150.0, 500.0))
    return total / np.sqrt(np.mean(total**2))


def clicks(rng: np.random.Generator, length: int, count: int) -> np.ndarray:
    """Short knocks of random strength, as of keys and crockery, (length,) with unit power."""
    total = np.zeros(length)
    time = np.arange(round(0.03 * RATE)) / RATE
    for start in rng.integers(0, length - time.size, count):
        ring = np.sin(2 * np.pi * rng.uniform(900, 3500) * time) + rng.standard_normal(time.size)
        total[start : start + time.size] += rng.uniform(0.3, 1.0) * ring * np.exp(-time / rng.uniform(0.002, 0.006))
    return total / np.sqrt(np.mean(total**2))


def background(rng: np.random.Generator, length: int) -> np.ndarray:
    """The noise of a waiting room, (length,) with unit power: a fan that speeds up, mains hum, murmur, knocks, hiss."""
    time = np.arange(length) / RATE
    fan_speed = 0.5 + 0.5 * np.exp(-(((time - 4.8) / 1.9) ** 4))
    hum = sum(np.sin(2 * np.pi * 50 * k * time + rng.uniform(0, 2 * np.pi)) / k for k in (1, 2, 3, 4, 6, 8))
    pink = 1 / np.sqrt(np.maximum(frequencies(length), 40.0))
    noise = (
        1.0 * fan_speed * shaped_noise(rng, length, band(length, 60.0, 180.0))
        + 0.06 * fan_speed * shaped_noise(rng, length, pink)
        + 0.6 * hum
        + 0.35 * murmur(rng, length, talkers=5)
        + 0.15 * clicks(rng, length, count=14)
    )
    return noise / np.sqrt(np.mean(noise**2))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make noisy.wav and clean.wav of the demo.")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent, help="folder of the two files")
    output: Path = parser.parse_args().output

    rng = np.random.default_rng(SEED)
    clean = conversation(round(SECONDS * RATE))
    wet = np.convolve(clean, room(rng))[: clean.size]
    noise = background(rng, clean.size)
    noisy = wet + noise * np.sqrt(np.mean(wet**2)) * 10 ** (-SNR_DB / 20)

    peak = max(np.abs(noisy).max(), np.abs(clean).max())
    if peak > 1.0:
        raise ValueError(f"the clip's peak is {peak:.2f} of full scale: lower SPEECH_DBFS")
    for name, signal in (("noisy.wav", noisy), ("clean.wav", clean)):
        soundfile.write(output / name, signal, RATE, subtype="PCM_16")
        print(output / name)


if __name__ == "__main__":
    main()
