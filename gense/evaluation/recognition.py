"""Does enhancement help a recogniser? Word errors of noisy, enhanced and what lies between, per SNR.

Mixing the input back, x = w noisy + (1 - w) enhanced, is observation adding: it lowers the artefact errors of an
enhancer, which hurt a recogniser more than the noise that it leaves (Iwamoto et al., Interspeech 2022; Ochiai et al.,
IEEE/ACM TASLP 32, 2024).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gense.data.degrade import active_level, rms
from gense.evaluation.clips import read_channels
from gense.evaluation.pairing import Job, match, texts_of
from gense.evaluation.recognised import CLEAN, GIVEN, FileErrors, Recognition
from gense.evaluation.table import Table, fingerprint
from gense.evaluation.workers import Failed, outcomes
from gense.metrics.asr import Recogniser
from gense.metrics.wer import error_counts
from gense.version import __version__

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def recognise(
    enhanced: str | os.PathLike[str],
    noisy: str | os.PathLike[str],
    clean: str | os.PathLike[str] | None = None,
    *,
    recogniser: Recogniser,
    name: str = "",
    transcripts: str | os.PathLike[str] | Mapping[str, str] | None = None,
    weights: Sequence[float] = WEIGHTS,
    output: str | os.PathLike[str] | None = None,
    resume: bool = True,
    sample_rate: int | None = None,
) -> Recognition:
    """Count a recogniser's word errors on mixtures of noisy and enhanced files.

    Files are matched as by `evaluate`; several channels are mixed down to one. The recogniser is run once per weight
    and file, in this process, and once more on clean files if there are no transcripts.

    Args:
        enhanced: folder or file.
        noisy: folder or file of what was enhanced, sample-aligned.
        clean: folder or file of clean references, sample-aligned; gives the SNR of each file.
        recogniser: (wav (S,), sample rate in Hz) -> what is said.
        name: of the recogniser, kept with the results, so that `resume` does not mix two.
        transcripts: what is said, as for `evaluate`. Without it, what the recogniser makes of the clean file takes
            its place (dWER: the words that change, not those that are wrong).
        weights: of the noisy input, each in [0, 1]; 0 (enhanced) and 1 (noisy) are always among them.
        output: CSV of every file: SNR, words, and errors and words recognised at each weight.
        resume: take over what is known from `output` or its `.part`, see `evaluate`.
        sample_rate: at which files are mixed and recognised, Hz; None takes that of the clean file, else the noisy.

    Raises:
        ValueError: neither transcripts nor clean files, weights outside [0, 1], or what `evaluate` refuses.
        FileNotFoundError: no such file or folder.
        OSError: the output cannot be written.
    """
    if clean is None and transcripts is None:
        raise ValueError("neither transcripts nor clean files: there is nothing to count errors against; give one")
    if not all(0 <= weight <= 1 for weight in weights):
        raise ValueError(f"weights={tuple(weights)}: expected the input's share of the mixture, from 0 to 1")
    grid = tuple(sorted({0.0, *map(float, weights), 1.0}))
    found = match(enhanced, clean, noisy)
    result = Recognition([], found.failed, grid, CLEAN if transcripts is None else GIVEN, name, found.left_out)
    texts = texts_of(found.jobs, transcripts)
    if transcripts is not None:
        result.failed.update({job.name: "no transcript" for job in found.jobs if texts[job.name] is None})
    jobs = [job for job in found.jobs if job.name not in result.failed]
    states = {
        job.name: fingerprint(job.paths(), __version__, "asr", name, grid, sample_rate, texts.get(job.name))
        for job in jobs
    }

    def errors_of(job: Job) -> FileErrors:
        return _errors(job, recogniser, grid, texts.get(job.name), sample_rate)

    if output is None:
        _run(jobs, errors_of, result, None)
    else:
        with Table(output, FileErrors.header(grid), states, resume=resume) as table:
            known = table.finished()
            for failed, reason in result.failed.items():
                table.add({"file": failed, "error": reason})
            result.files = [FileErrors.of(row, grid) for row in known]
            done = {file.name for file in result.files}
            _run([job for job in jobs if job.name not in done], errors_of, result, table)
    result.files.sort(key=lambda file: file.name)
    result.failed = dict(sorted(result.failed.items()))
    return result


def _run(
    jobs: list[Job], errors_of: Callable[[Job], FileErrors], result: Recognition, table: Table | None
) -> None:
    from tqdm import tqdm

    # disable=None: silent where standard error is no terminal
    with tqdm(total=len(jobs), unit="file", desc="recognise", disable=True if len(jobs) < 2 else None) as bar:
        for job, outcome in outcomes(errors_of, jobs, 1):
            if isinstance(outcome, Failed):
                result.failed[job.name] = outcome.reason
            else:
                result.files.append(outcome)
            if table is not None:
                failed = isinstance(outcome, Failed)
                table.add({"file": job.name, "error": outcome.reason} if failed else outcome.row())
            bar.update()


def _errors(
    job: Job, recogniser: Recogniser, weights: Sequence[float], text: str | None, sample_rate: int | None
) -> FileErrors:
    assert job.noisy is not None
    channels, rate = read_channels(job.est, job.clean, job.noisy, sample_rate=sample_rate)
    est = np.mean([channel.est for channel in channels], axis=0)
    noisy = np.mean([channel.noisy for channel in channels if channel.noisy is not None], axis=0)
    clean = None
    if job.clean is not None:
        clean = np.mean([channel.clean for channel in channels if channel.clean is not None], axis=0)
    reference = text
    if reference is None:
        assert clean is not None
        reference = recogniser(clean, rate)
    if not error_counts("", reference).words:
        said = "no words in the transcript" if text is not None else "the recogniser finds no words in the clean file"
        raise ValueError(f"{said}: nothing to count errors against")
    heard = [recogniser((weight * noisy + (1 - weight) * est).astype(np.float32), rate) for weight in weights]
    counts = [error_counts(said, reference) for said in heard]
    return FileErrors(
        job.name,
        None if clean is None else snr(clean, noisy, rate),
        counts[0].words,
        {weight: count.errors for weight, count in zip(weights, counts, strict=True)},
        reference,
        dict(zip(weights, heard, strict=True)),
    )


def snr(clean: np.ndarray, noisy: np.ndarray, sample_rate: int) -> float:
    """Level of the active speech over the mean level of everything else, dB.

    Speech is the part of `noisy` that is proportional to `clean`, whose gain may differ; the rest counts as noise,
    reverberation with it. Active are 20 ms frames within 30 dB of the 95th percentile frame.

    Args:
        clean: (S,).
        noisy: (S,), sample-aligned with `clean`.
        sample_rate: of both, Hz.

    Returns:
        Infinite where nothing else is there; NaN where clean is silent.
    """
    speech, mixture = clean.astype(np.float64), noisy.astype(np.float64)
    power = speech @ speech
    if power == 0:
        return float("nan")
    speech = speech * (mixture @ speech / power)
    level, noise = active_level(speech, sample_rate), rms(mixture - speech)
    if noise <= 1e-7 * level:  # what float32 leaves of equal signals
        return float("inf")
    return float(20 * np.log10(level / noise)) if level > 0 else float("-inf")
