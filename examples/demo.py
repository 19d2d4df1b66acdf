"""Enhance one file and show what changed: the demo behind `make demo`.

    python examples/demo.py                              # the noisy clip beside this file
    python examples/demo.py your.wav --output results --reference clean.wav
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import soundfile

import gense
from gense.audio import read, resample
from gense.metrics import evaluate_pair
from gense.spectrogram import save_comparison

HERE = Path(__file__).parent
NAMES = {"pesq": "PESQ", "estoi": "ESTOI", "si_sdr": "SI-SDR (dB)", "dnsmos_ovrl": "DNSMOS OVRL",
         "dnsmos_sig": "DNSMOS SIG", "dnsmos_bak": "DNSMOS BAK"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("input", nargs="?", type=Path, help="audio file; default: the clip beside this script")
    parser.add_argument("--reference", type=Path, help="clean recording, sample-aligned, for PESQ, ESTOI and SI-SDR")
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder for the results")
    parser.add_argument("--method", default="flowse")
    parser.add_argument("--steps", type=int, help="default: the method's own")
    settings = parser.parse_args()
    source = settings.input or HERE / "noisy.wav"
    reference = settings.reference or (HERE / "clean.wav" if settings.input is None else None)
    try:
        run(source, reference, settings)
    except (ValueError, OSError, ImportError) as error:
        parser.exit(1, f"{error}\n")


def run(source: Path, reference: Path | None, settings: argparse.Namespace) -> None:
    info = soundfile.info(str(source)) if source.exists() and source.stat().st_size else None
    noisy, rate = read(source)
    seconds = len(noisy) / rate
    print(f"in       {source}: {seconds:.2f} s, {rate} Hz, {noisy.shape[1]} channel(s)"
          + (f", {info.subtype}" if info else ""))
    settings.output.mkdir(parents=True, exist_ok=True)
    target = settings.output / f"{source.stem}.enhanced{source.suffix}"

    start = time.perf_counter()
    enhancer = gense.load(settings.method)
    loaded = time.perf_counter()
    gense.enhance(source, enhancer, steps=settings.steps, output=target)
    done = time.perf_counter()
    enhanced, _ = read(target)
    print(f"out      {target}: {len(enhanced) / rate:.2f} s, {rate} Hz, {enhanced.shape[1]} channel(s)")
    print(f"method   {settings.method}, {settings.steps or enhancer.head.sampling.steps} step(s); loaded in "
          f"{loaded - start:.2f} s; real-time factor {(done - loaded) / seconds:.3f} on {enhancer.device}")

    # Scores and picture at 16 kHz, where the metrics are defined
    clean = resample(read(reference)[0][:, 0], soundfile.info(str(reference)).samplerate, 16000) if reference else None
    before, after = (resample(wav[:, 0], rate, 16000) for wav in (noisy, enhanced))
    if clean is not None:
        length = min(len(clean), len(before))
        clean, before, after = clean[:length], before[:length], after[:length]
    old, new = (evaluate_pair(wav, clean, 16000) for wav in (before, after))
    print(f"{'':9}{'before':>8}{'after':>9}")
    for name, label in NAMES.items():
        if name in old:
            print(f"  {label:<13}{old[name]:>6.2f}   {new[name]:>6.2f}")
    picture = settings.output / f"{source.stem}.png"
    save_comparison(picture, before, after, 16000, titles=("before", f"after ({settings.method})", "clean reference"),
                    reference=clean)
    print(f"picture  {picture}")


if __name__ == "__main__":
    main()
