"""Evaluations as tables of text."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gense.evaluation.recognised import GIVEN, FileErrors, Recognition
from gense.evaluation.result import Evaluation
from gense.evaluation.statistics import SIGNIFICANT, Interval, compare
from gense.metrics.prism import WITHOUT_NISQA, prism


def number(value: float, *, signed: bool = False) -> str:
    """Three decimals, or a dash where there is no value."""
    return "-" if math.isnan(value) else f"{value:{'+' if signed else ''}.3f}"


def span(found: Interval, *, signed: bool = False) -> str:
    """The ends of an interval."""
    if math.isnan(found.low):
        return "-"
    return f"[{number(found.low, signed=signed)}, {number(found.high, signed=signed)}]"


def columns_of(rows: Sequence[Sequence[str]]) -> str:
    """Rows as lines; the first column is set to the left, the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)


def scores_table(evaluation: Evaluation) -> str:
    """Metric, mean of noisy and enhanced files with 95 % intervals, and the mean of their differences."""
    noisy, enhanced = evaluation.means(noisy=True), evaluation.means()
    head = ["METRIC", "ENHANCED", "95 %", "FILES"]
    if noisy:
        head = ["METRIC", "NOISY", "ENHANCED", "95 %", "DIFFERENCE", "95 %", "FILES"]
    rows = [head]
    for column, mean in enhanced.items():
        row = [label(evaluation, column), number(mean.mean), span(mean), str(mean.count)]
        if noisy:
            change = compare(evaluation.values(column), evaluation.values(column, noisy=True)).difference
            before = number(noisy[column].mean) if column in noisy else "-"
            row[1:3] = [before, *row[1:3], number(change.mean, signed=True), span(change, signed=True)]
        rows.append(row)
    return columns_of(rows)


def label(evaluation: Evaluation, column: str) -> str:
    """A column's name, with a mark where less is better."""
    return f"{column} (less is better)" if column in evaluation.lower_is_better else column


def prism_table(systems: Mapping[str, Mapping[str, float]]) -> str:
    """PRISM of systems by their mean scores; an empty text where they lack what it is made of, or share a score."""
    needed = [column for category in WITHOUT_NISQA for group in category for column in group]
    if any(not math.isfinite(means.get(column, math.nan)) for means in systems.values() for column in needed):
        return ""
    try:
        ranks = prism(systems, categories=WITHOUT_NISQA)
    except ValueError:
        return ""
    return columns_of([["SYSTEM", "PRISM"], *([name, number(rank)] for name, rank in ranks.items())])


def comparison_table(evaluation: Evaluation, other: Evaluation) -> str:
    """Two systems over the files that both have scores for: means, paired difference, p-value and verdict."""
    rows = [["METRIC", "ENHANCED", "AGAINST", "DIFFERENCE", "95 %", "P", "BETTER ON", "VERDICT"]]
    theirs = {file.name: file for file in other.files}
    both = [(file.scores, theirs[file.name].scores) for file in evaluation.files if file.name in theirs]
    for column in evaluation.columns():
        pairs = [(a[column], b[column]) for a, b in both if column in a and column in b]
        pairs = [pair for pair in pairs if not any(map(math.isnan, pair))]
        if not pairs:
            continue
        first, second = zip(*pairs, strict=True)
        found = compare(first, second)
        lower = column in evaluation.lower_is_better
        better = found.losses if lower else found.wins
        verdict = "no difference shown"
        if found.p < SIGNIFICANT:
            verdict = "better" if (found.difference.mean > 0) != lower else "worse"
        rows.append([
            label(evaluation, column), number(sum(first) / len(pairs)), number(sum(second) / len(pairs)),
            number(found.difference.mean, signed=True), span(found.difference, signed=True), probability(found.p),
            f"{better} of {len(pairs)}", verdict,
        ])
    return columns_of(rows)


def probability(p: float) -> str:
    """A p-value to three decimals."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def recognition_table(recognition: Recognition) -> str:
    """Word error rate per SNR of noisy and enhanced speech, per weight of the input, and what to do."""
    weights, best = recognition.weights, recognition.advice()
    mixed = best.weight not in (0, 1)
    head = ["SNR", "FILES", "WORDS", "NOISY", "95 %", "ENHANCED", "95 %"]
    rows = [head + ([f"W = {best.weight:g}", "95 %"] if mixed else [])]
    shown: list[tuple[str, list[FileErrors]]] = [
        (f"{low:g} to {low + 5:g} dB", files) for low, files in recognition.bins().items()
    ]
    for name, files in [*shown, ("all", recognition.files)]:
        row = [name, str(len(files)), str(sum(file.words for file in files))]
        for weight in (1.0, 0.0, *([best.weight] if mixed else [])):
            found = recognition.wer(weight, files)
            row += [percent(found.mean), _percents(found)]
        rows.append(row)
    grid = [["W", *(f"{weight:g}" for weight in weights)], ["WER %"]]
    grid[1] += [percent(recognition.wer(weight).mean) for weight in weights]
    against = "the transcripts" if recognition.reference == GIVEN else "what it recognises in clean speech (dWER)"
    return "\n\n".join([
        f"Word error rate in % of {recognition.recogniser or 'the recogniser'} against {against}:\n{columns_of(rows)}",
        f"The input mixed back, x = w noisy + (1 - w) enhanced:\n{columns_of(grid)}",
        "Recommended: " + ";\n  ".join(best.sentences()) + ".",
    ])


def percent(share: float) -> str:
    """A rate in per cent without the sign."""
    return "-" if math.isnan(share) else f"{100 * share:.1f}"


def _percents(found: Interval) -> str:
    return "-" if math.isnan(found.low) else f"[{percent(found.low)}, {percent(found.high)}]"
