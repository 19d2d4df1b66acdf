"""The report of an evaluation."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from gense.evaluation.result import Evaluation
from gense.report.examples import card_without_media, example
from gense.report.figures import Figures
from gense.report.file_plots import plots
from gense.report.mean_tables import against_others, means
from gense.report.numbers import count, number
from gense.report.page import checked_path, page, text, write
from gense.report.table import Entry, Header, figure, table

LARGEST = 16_000_000
"""Bytes that a report does not exceed: examples that would go beyond it come without pictures and players."""

MOST_FILES = 1000
"""Files listed and plotted one by one; of more, so many evenly over the ranking. Means and examples know all."""


def write_evaluation_report(
    path: str | os.PathLike[str],
    evaluation: Evaluation,
    *,
    title: str,
    examples: int = 3,
    others: Mapping[str, Evaluation] | None = None,
) -> Path:
    """Write one HTML file with everything that an evaluation found, to be opened from disk.

    It holds a table of means with intervals, a plot of noisy against enhanced per metric, pictures and players of the
    worst and the best files by the first metric (the change where there are noisy scores, else the score), and a table
    of all files.

    Args:
        path: ends in .html; a reader never sees it half written.
        evaluation: to be reported.
        title: heading of the page.
        examples: number of worst files, and of best files, to look at and listen to; 10 s of each. Fewer where the
            page would exceed 16 MB.
        others: name -> another system's evaluation of the same files, compared pair by pair.

    Returns:
        The path.

    Raises:
        ValueError: the path does not end in .html, or a negative number of examples.
        OSError: the page cannot be written.
    """
    path = checked_path(path)
    if examples < 0:
        raise ValueError(f"examples={examples}: expected a number of files, or 0 for none")
    figures = Figures(evaluation)
    shown = figures.spread(MOST_FILES)
    sections = []
    if figures.columns:
        sections.append(("means", "Means", means(figures)))
    for index, (name, other) in enumerate((others or {}).items()):
        key = f"against-{index}"
        sections.append((key, f"Against <bdi>{text(name)}</bdi>", against_others(figures, key, name, other)))
    if figures.columns:
        sections.append(("plots", "File by file", plots(figures, shown)))
    after = [("files", "All files", _files(figures, shown))] if evaluation.files else []
    if evaluation.failed:
        after.append(("failed", "Without scores", _failed(evaluation.failed)))
    used = sum(len(content.encode()) for _, _, content in sections + after)
    sections += _examples(figures, examples, LARGEST - used - 100_000)
    return write(path, page(title, _lead(figures), sections + after))


def _lead(figures: Figures) -> str:
    """The finding in one sentence, and what it rests on."""
    found = figures.evaluation
    seconds = sum(file.seconds for file in found.files)
    length = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
    basis = f"{count(len(found.files), 'file')}, {length} of audio."
    if found.failed:
        basis += f" Could not be scored: {count(len(found.failed), 'file')}."
    if found.left_out:
        basis += f" Left out, as there is no enhanced file: {len(found.left_out):,}."
    finding = "" if not figures.columns else figures.finding(figures.columns[0])
    return f"<p>{finding}</p><p class='basis'>{basis}</p>" if finding else f"<p>{basis}</p>"


def _examples(figures: Figures, most: int, room: int) -> list[tuple[str, str, str]]:
    """Sections with the worst and the best files, as long as there is room for them."""
    worst, best = figures.extremes(most)
    cards: dict[int, str] = {}
    # In turns, so that what does not fit is the least extreme of both kinds
    for index in [index for pair in zip(worst, [*best, None], strict=False) for index in pair if index is not None]:
        file, scores = figures.evaluation.files[index], _scores(figures, index)
        card = example(file, scores)
        if len(card.encode()) > room:
            card = card_without_media(file, scores)
        cards[index] = card
        room -= len(card.encode())
    sections = []
    for name, indices in (("worst", worst), ("best", best)):
        if indices:
            content = f'<p class="hint">{_chosen(figures, name)}</p>' + "".join(cards[index] for index in indices)
            heading = f"{name.capitalize()} {'file' if len(indices) == 1 else 'files'}"
            sections.append((name, heading if len(figures.evaluation.files) > 1 else "The file", content))
    return sections


def _chosen(figures: Figures, end: str) -> str:
    """By what the examples were chosen, and what one can do with them."""
    metric = text(figures.name(figures.columns[0]))
    if figures.by_change:
        rule = f"largest loss, or smallest gain, in {metric}" if end == "worst" else f"largest gain in {metric}"
    else:
        rule = f"{'highest' if figures.lower(figures.columns[0]) == (end == 'worst') else 'lowest'} {metric}"
    chosen = f"Chosen by the {rule}. " if len(figures.evaluation.files) > 1 else ""
    return (
        f"{chosen}The spectrograms of a file share one colour scale of 65 dB; press one to listen from "
        "there. Starting another signal of the same file goes on at the same place."
    )


def _scores(figures: Figures, index: int) -> str:
    """The scores of a file in one line."""
    parts = []
    for column in figures.columns:
        enhanced, noisy = figures.enhanced[column][index], figures.noisy[column][index]
        decimals = figures.decimals[column]
        was = f"{number(noisy, decimals)} → " if noisy == noisy else ""
        parts.append(f"<span>{text(figures.name(column))} {was}<b>{number(enhanced, decimals)}</b></span>")
    return " ".join(parts)


def _files(figures: Figures, shown: list[int]) -> str:
    """The table of files, the worst first."""
    headers = [Header("File", numeric=False), Header("Seconds")]
    for column in figures.columns:
        group = figures.name(column)
        headers += [Header("score", group), Header("change", group)] if figures.paired else [Header(group)]
    rows = []
    for index in shown:
        file = figures.evaluation.files[index]
        row = [Entry(f"<bdi>{text(file.name)}</bdi>", file.name), figure(file.seconds, 1)]
        for column in figures.columns:
            row.append(figure(figures.enhanced[column][index], figures.decimals[column]))
            if figures.paired:
                change = figures.change[column][index]
                row.append(figure(change, figures.decimals[column], signed=True, kind=figures.kind(column, change)))
        rows.append(row)
    total = len(figures.evaluation.files)
    caption = "Press a header to sort."
    if len(shown) < total:
        caption = f"{len(shown):,} of {total:,} files, evenly over the ranking from worst to best. {caption}"
    if figures.paired:
        caption += " Change is enhanced minus noisy."
    order = None
    if figures.columns:
        order = (2 + figures.by_change, "descending" if figures.lower(figures.columns[0]) else "ascending")
    return table("files", caption, headers, rows, ids=shown, sorted_by=order)


def _failed(failed: Mapping[str, str]) -> str:
    rows = [
        [Entry(f"<bdi>{text(name)}</bdi>", name), Entry(f'<bdi class="long">{text(reason)}</bdi>', reason)]
        for name, reason in list(failed.items())[:MOST_FILES]
    ]
    more = f" The first {MOST_FILES:,} of {len(failed):,}." if len(failed) > MOST_FILES else ""
    headers = [Header("File", numeric=False), Header("Reason", numeric=False)]
    return table("failed", f"These files are in no figure of this report.{more}", headers, rows)
