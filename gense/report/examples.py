"""The files to look at and listen to: spectrograms and players side by side."""

from __future__ import annotations

from gense.evaluation.result import FileScores
from gense.report.media import SECONDS, Excerpt, excerpt
from gense.report.page import text

SIGNALS = {"noisy": "Noisy input", "enhanced": "Enhanced", "clean": "Clean reference"}


def example(file: FileScores, scores: str) -> str:
    """The card of one file.

    Args:
        file: whose signals are read.
        scores: HTML below the name.
    """
    found = excerpt({"noisy": file.noisy, "enhanced": file.est, "clean": file.clean})
    panels = "".join(_panel(file.name, signal, found) for signal in found.panels)
    absent = "; ".join(f"{SIGNALS[name].lower()}: {text(reason)}" for name, reason in found.missing.items())
    notes = f'<p class="note">Not shown: {absent}.</p>' if absent else ""
    return (
        f'<article class="example">\n<h3><bdi>{text(file.name)}</bdi></h3>\n<p class="scores">{scores}</p>\n'
        f'{_stretch(found)}{notes}<div class="panels">{panels}</div>\n</article>'
    )


def card_without_media(file: FileScores, scores: str) -> str:
    """The card of a file whose sound does not fit into the report any more."""
    return (
        f'<article class="example">\n<h3><bdi>{text(file.name)}</bdi></h3>\n<p class="scores">{scores}</p>\n'
        '<p class="note">No players and pictures: the report would be too large.</p>\n</article>'
    )


def _stretch(found: Excerpt) -> str:
    if found.whole <= SECONDS:
        return ""
    chosen = "input and output differ most" if "noisy" in found.panels else "the signal says most"
    end = found.start + found.seconds
    return (
        f'<p class="note">{found.seconds:.0f} of {found.whole:.1f} s, from {found.start:.1f} to {end:.1f} s: '
        f"where {chosen}.</p>"
    )


def _panel(name: str, signal: str, found: Excerpt) -> str:
    panel, called = found.panels[signal], SIGNALS[signal]
    start, end = found.start, found.start + found.seconds
    picture = '<p class="note">Too short for a spectrogram.</p>'
    if panel.picture:
        alt = f"Spectrogram of {name}, {called.lower()}: {start:.1f} to {end:.1f} s, 0 to {found.kilohertz:g} kHz"
        picture = (
            f'<div class="spectrogram" data-seconds="{found.seconds:.3f}"><img src="{panel.picture}" alt="{text(alt)}">'
            '<span class="playhead" hidden></span>'
            f'<span class="top">{found.kilohertz:g} kHz</span></div>'
            f'<div class="times" aria-hidden="true"><span>{start:.1f} s</span><span>{end:.1f} s</span></div>'
        )
    return (
        f"<figure><figcaption>{called}</figcaption>{picture}"
        f'<audio controls preload="metadata" src="{panel.audio}" aria-label="{text(f"{called}: {name}")}"></audio>'
        "</figure>\n"
    )
