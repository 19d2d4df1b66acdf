"""What is wrong with files before anything is trained on them."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from gense.data.sources import Recording

BROKEN = "broken"
KINDS = {
    BROKEN: "cannot be read, or holds samples that are not finite",
    "silent": "nothing above -60 dB of full scale",
    "clipped": "flat tops: more than 1 sample in 2000 lies in runs of 3 or more at the peak",
    "short": "shorter than asked for",
    "rate": "a lower sampling rate than the model's, so that the highest frequencies are missing",
    "duplicate": "the same samples as another file",
}
_SILENT = 1e-3
_CLIPPED_SHARE = 1 / 2000
_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """Something wrong with a recording.

    Attributes:
        name: of the recording.
        kind: one of `KINDS`.
        detail: in words.
    """

    name: str
    kind: str
    detail: str


@dataclass(frozen=True)
class Checked:
    """What a check of recordings found.

    Attributes:
        files: how many were examined.
        seconds: how long those that can be read are, in all.
        findings: in the order of the recordings.
    """

    files: int
    seconds: float
    findings: list[Finding]

    @property
    def broken(self) -> list[Finding]:
        """Those that cannot be used at all."""
        return [finding for finding in self.findings if finding.kind == BROKEN]

    def table(self) -> str:
        """Counts of every kind, as lines of text."""
        counts = Counter(finding.kind for finding in self.findings)
        width = max(len(kind) for kind in KINDS)
        rows = [f"{kind.ljust(width)}  {counts[kind]:6d}  {what}" for kind, what in KINDS.items()]
        hours = f"{self.seconds / 3600:.2f} h" if self.seconds >= 3600 else f"{self.seconds:.1f} s"
        return "\n".join([f"{self.files} files, {hours}", *rows])


def check(
    recordings: Sequence[Recording], *, sample_rate: int | None = None, shortest: float = 0.1, workers: int = 4
) -> Checked:
    """Decode recordings and look for what would spoil a training.

    Args:
        recordings: what is examined.
        sample_rate: Hz, of the model; lower rates are findings. None takes the most common rate of the files.
        shortest: seconds; shorter files are findings.
        workers: threads.

    Raises:
        ValueError: no recordings.
    """
    if not recordings:
        raise ValueError("no recordings to check")
    with ThreadPoolExecutor(workers) as pool:
        looked = list(pool.map(_look, recordings))
    rates = Counter(one.rate for one in looked if one.rate)
    wanted = sample_rate or (rates.most_common(1)[0][0] if rates else 0)
    seen: dict[bytes, str] = {}
    findings = []
    for recording, one in zip(recordings, looked, strict=True):
        found = [Finding(recording.name, kind, detail) for kind, detail in one.findings]
        if one.rate and one.seconds < shortest:
            found.append(Finding(recording.name, "short", f"{one.seconds:.2f} s"))
        if one.rate and one.rate < wanted:
            found.append(Finding(recording.name, "rate", f"{one.rate} Hz, expected {wanted}"))
        # All silent files of a length are equal: that is one finding, not two
        if one.digest and not any(kind == "silent" for kind, _ in one.findings):
            first = seen.setdefault(one.digest, recording.name)
            if first != recording.name:
                found.append(Finding(recording.name, "duplicate", f"of {first}"))
        findings += found
    return Checked(len(recordings), sum(one.seconds for one in looked), findings)


def check_before_training(recordings: Sequence[Recording], sample_rate: int, limit: int) -> None:
    """Examine some of the recordings, evenly picked; warn of what may be meant, and refuse what cannot be used.

    Args:
        recordings: of a training.
        sample_rate: Hz, of the model.
        limit: how many are examined; 0 does nothing.

    Raises:
        ValueError: some are broken.
    """
    if not limit or not recordings:
        return
    chosen = np.unique(np.linspace(0, len(recordings) - 1, limit).round().astype(int))
    checked = check([recordings[index] for index in chosen], sample_rate=sample_rate)
    if checked.broken:
        raise ValueError(
            f"{len(checked.broken)} of {checked.files} files that were looked at before training are broken; "
            f"`gense data check` lists all:\n{listed(checked.broken)}"
        )
    if checked.findings:
        counts = Counter(finding.kind for finding in checked.findings)
        words = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        warnings.warn(
            f"of {checked.files} files looked at before training: {words} (`gense data check` tells more):\n"
            f"{listed(checked.findings)}",
            stacklevel=2,
        )


def listed(findings: Sequence[Finding], most: int = _SHOWN) -> str:
    """Findings one to a line, the first `most` of them."""
    lines = [f"  {finding.kind}: {finding.name}: {finding.detail}" for finding in findings[:most]]
    return "\n".join([*lines, *([f"  and {len(findings) - most} more"] if len(findings) > most else [])])


@dataclass(frozen=True)
class _Looked:
    """What one recording alone shows; rate 0 where it cannot be read."""

    findings: list[tuple[str, str]]
    seconds: float = 0.0
    rate: int = 0
    digest: bytes = b""


def _look(recording: Recording) -> _Looked:
    try:
        wav, rate = recording.read()
    except (OSError, ValueError) as error:
        reason = str(error).removeprefix(f"{recording.name}: ")
        return _Looked([(BROKEN, reason)])
    if not np.isfinite(wav).all():
        return _Looked([(BROKEN, f"{int((~np.isfinite(wav)).sum())} samples are not finite")])
    findings = []
    peak = float(np.abs(wav).max())
    if peak < _SILENT:
        level = f"peak at {20 * np.log10(peak):.0f} dB" if peak > 0 else "digital silence"
        findings.append(("silent", level))
    elif (share := clipped_share(wav[:, 0])) > _CLIPPED_SHARE:
        findings.append(("clipped", f"{share:.2%} of the samples"))
    # At 16 bits, so that a copy in another lossless format is found, too
    digest = hashlib.blake2b(np.round(wav * 32767).astype(np.int32).tobytes(), digest_size=16).digest()
    return _Looked(findings, len(wav) / rate, rate, digest)


def clipped_share(wav: np.ndarray) -> float:
    """Share of the samples of (S,) on flat tops: runs of 3 or more within 0.1 % of the positive or the negative peak.

    On one side of a run at least the signal has to leave it at once, by 1 % of the peak: the tops of a low tone are as
    flat, but round.
    """
    total = 0
    for side in (wav, -wav):
        peak = float(side.max(initial=0.0))
        if peak > 0.01:
            edges = np.diff(np.concatenate([[0], (side >= 0.999 * peak).astype(np.int8), [0]]))
            starts, ends = np.flatnonzero(edges > 0), np.flatnonzero(edges < 0)
            around = np.concatenate([[peak], side, [peak]])  # beyond the file nothing is known
            leaves = np.minimum(around[starts], around[ends + 1]) < 0.99 * peak
            runs = ends - starts
            total += int(runs[(runs >= 3) & leaves].sum())
    return total / max(len(wav), 1)
