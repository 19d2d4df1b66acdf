"""Where a model loses: by kind of recording, by magnitude and phase, and by what its training had heard.

    python benchmarks/bottleneck.py data --method flowse/compact

`data` has the layout that configs/data/mixtures.yaml names, with val_pairs/pairs.csv (snr_db, reverb, speaker). Three
tables, each score before and after:

    parts      the validation pairs, split by reverberation, by SNR and by whether the speaker is in the training data
    oracles    the output with the phase or the magnitude of the clean recording instead of its own, and the noisy
               recording under the ideal mask of at most 1: what would be gained by solving one part of the problem
    heard      mixtures made alike of speech and noise that the training had and that it did not have: a gap says that
               more data would help, none that the network or its training is too small
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import gense
from gense.data import AddNoise, Clips, Mixtures, Pairs
from gense.metrics import evaluate_pair

METRICS = ("pesq", "estoi", "si_sdr", "dnsmos")
SHOWN = ("pesq", "estoi", "si_sdr", "dnsmos_ovrl")
RATE = 16000
Scores = dict[str, float]


def scored(output: np.ndarray, clean: np.ndarray) -> Scores:
    return evaluate_pair(output, clean, RATE, metrics=METRICS)


def spectrum(wav: np.ndarray) -> torch.Tensor:
    window = torch.hann_window(512)
    return torch.stft(torch.from_numpy(wav), 512, 128, window=window, return_complex=True)


def combined(magnitude: torch.Tensor, phase: torch.Tensor, length: int) -> np.ndarray:
    """A wave of the magnitude of one spectrum and the phase of another, (length,)."""
    made = torch.polar(magnitude.abs(), phase.angle())
    return torch.istft(made, 512, 128, window=torch.hann_window(512), length=length).numpy()


def oracles(clean: np.ndarray, noisy: np.ndarray, output: np.ndarray) -> dict[str, np.ndarray]:
    """What the pair would become if one part of the problem were solved, (S,) by name."""
    s, y, e = (spectrum(wav) for wav in (clean, noisy, output))
    size = len(clean)
    return {
        "as it is": output,
        "its magnitude, clean phase": combined(e, s, size),
        "its magnitude, noisy phase": combined(e, y, size),
        "clean magnitude, its phase": combined(s, e, size),
        "clean magnitude, noisy phase": combined(s, y, size),
        "ideal mask, at most 1, on noisy": combined(torch.minimum(s.abs(), y.abs()), y, size),
    }


def in_range(clean: torch.Tensor, noisy: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Both at one level at which neither passes full scale, as a mixture with a bang may."""
    peak = max(1.0, float(noisy.abs().max()), float(clean.abs().max()))
    return (clean / peak).numpy(), (noisy / peak).numpy()


def row(name: str, before: list[Scores], after: list[Scores]) -> str:
    """A line: means before and after, and how many. ESTOI is NaN where too little is spoken."""
    cells = [f"{np.nanmean([s[m] for s in before]):.2f} -> {np.nanmean([s[m] for s in after]):.2f}" for m in SHOWN]
    return f"{name:32s} {len(after):4d}  " + "  ".join(f"{cell:>15s}" for cell in cells)


def parts(rows: list[dict[str, str]], known: set[str]) -> dict[str, Callable[[dict[str, str]], bool]]:
    """Names of subsets of the pairs, and what is in them."""
    dry: Callable[[dict[str, str]], bool] = lambda r: r["reverb"] == "0"  # noqa: E731
    return {
        "all": lambda r: True,
        "dry": dry,
        "reverberant": lambda r: not dry(r),
        "dry, SNR under 3 dB": lambda r: dry(r) and float(r["snr_db"]) < 3,
        "dry, SNR 3 to 9 dB": lambda r: dry(r) and 3 <= float(r["snr_db"]) < 9,
        "dry, SNR from 9 dB": lambda r: dry(r) and float(r["snr_db"]) >= 9,
        "dry, speaker in training": lambda r: dry(r) and r["speaker"] in known,
        "dry, speaker not in training": lambda r: dry(r) and r["speaker"] not in known,
    }


def pairs_tables(data: Path, enhanced: Callable[[np.ndarray], np.ndarray]) -> None:
    """Print the first two tables."""
    with open(data / "val_pairs/pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open(data / "manifest.csv", newline="") as file:
        known = {entry["speaker"] for entry in csv.DictReader(file) if entry["path"].startswith("speech/train")}
    before: list[Scores] = []
    parted: dict[str, list[Scores]] = {}
    for pair in Pairs(str(data / "val_pairs"), RATE):
        clean, noisy = (wav.numpy() for wav in pair)
        before.append(scored(noisy, clean))
        for name, wav in oracles(clean, noisy, enhanced(noisy)).items():
            parted.setdefault(name, []).append(scored(wav, clean))
    heading("parts")
    after = parted["as it is"]
    for name, inside in parts(rows, known).items():
        chosen = [index for index, entry in enumerate(rows) if inside(entry)]
        print(row(name, [before[i] for i in chosen], [after[i] for i in chosen]), flush=True)
    heading("oracles")
    for name, scores in parted.items():
        print(row(name, before, scores), flush=True)


def heard_table(data: Path, enhanced: Callable[[np.ndarray], np.ndarray], speech: str, noise: str, size: int) -> None:
    """Print the third table, of mixtures of these subfolders."""
    heading("heard (speech, noise)")
    for of_speech in ("train", "val"):
        for of_noise in ("train", "val"):
            source = Clips([str(data / "speech" / of_speech / speech)], RATE, manifest=str(data / "manifest.csv"))
            # One noise a mixture, at SNRs of the same range: the recordings alone differ between the four
            added = AddNoise([str(data / "noise" / of_noise / noise)], snr=(-5.0, 15.0), count=(1, 1))
            mixtures = Mixtures(source, [added], seconds=4.0, size=size, seed=0)
            pairs = [in_range(*mixtures[index]) for index in range(size)]
            before = [scored(noisy, clean) for clean, noisy in pairs]
            after = [scored(enhanced(noisy), clean) for clean, noisy in pairs]
            print(row(f"{of_speech}, {of_noise}", before, after), flush=True)


def heading(name: str) -> None:
    print(f"\n{name:32s}    n  " + "  ".join(f"{metric:>15s}" for metric in SHOWN), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--method", default="flowse/compact")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--mixtures", type=int, default=40, help="of each kind, 4 s each")
    parser.add_argument("--speech", default="", help="subfolder of speech/train and speech/val for the third table")
    parser.add_argument("--noise", default="", help="likewise of noise/train and noise/val")
    parser.add_argument("--only", choices=["pairs", "heard"], help="the first two tables, or the third")
    settings = parser.parse_args()
    enhancer = gense.load(settings.method, device="cpu")

    def enhanced(noisy: np.ndarray) -> np.ndarray:
        return gense.enhance(noisy, enhancer, sample_rate=RATE, steps=settings.steps)

    if settings.only != "heard":
        pairs_tables(settings.data, enhanced)
    if settings.only != "pairs":
        heard_table(settings.data, enhanced, settings.speech, settings.noise, settings.mixtures)


if __name__ == "__main__":
    main()
