"""A sweep as a picture: quality against cost."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

from gense.sweeps.result import CellResult, Cost, Sweep

_AXES: tuple[tuple[Cost, str], ...] = (("calls", "network calls per file"), ("rtf", "real-time factor"))
_LINE = 0.2  # inches


def plot_pareto(sweep: Sweep, path: str | os.PathLike[str], quality: str) -> Path:
    """Draw quality against network calls and against the real-time factor.

    One colour a method, a point a setting. Those that no other one beats are joined by steps and numbered, the numbers
    explained below; those of equal cost and quality share one. A dotted line is the noisy input.

    Args:
        sweep: the results.
        path: picture to write; the suffix names the format, such as .png or .svg.
        quality: a column.

    Raises:
        ValueError: no such column, no setting in which it is defined, or an unknown format.
        ImportError: matplotlib is not installed.
        OSError: the picture cannot be written.
    """
    path = check_picture(path)
    if not sweep.pareto(quality, "calls"):
        raise ValueError(f"quality={quality!r}: there is no setting in which it is defined")
    methods = list(dict.fromkeys(result.cell.method for result in sweep.cells))
    colours = {method: f"C{index % 10}" for index, method in enumerate(methods)}
    keys = [_numbered(sweep.pareto(quality, cost), quality, cost) for cost, _ in _AXES]
    longest = max(len(key) for key in keys)
    figure = _figure(5.5 + _LINE * longest)
    panels = figure.subplots(2, 2, height_ratios=[4.8, max(_LINE * longest, 0.1)])
    for (axes, below), (cost, title), key in zip(panels.T, _AXES, keys, strict=True):
        _draw(axes, sweep, quality, cost, colours)
        axes.set_xlabel(title)
        axes.grid(True, which="major", alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        arrow = "less is better" if quality in sweep.lower_is_better else "more is better"
        axes.set_ylabel(f"{quality} ({arrow})")
        if quality in sweep.lower_is_better:
            axes.invert_yaxis()  # up is better in every picture
        for number, point in enumerate(key, start=1):
            axes.annotate(str(number), point, xytext=(-3, 6), textcoords="offset points", ha="right", weight="bold")
        lines = [f"{number}  {' = '.join(labels)}" for number, labels in enumerate(key.values(), start=1)]
        below.axis("off")
        below.text(0.0, 1.0, "\n".join(lines), va="top", fontsize=9, linespacing=1.4, wrap=True)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 8), frameon=False)
    figure.savefig(path, dpi=130)
    return path


def _numbered(front: list[CellResult], quality: str, cost: Cost) -> dict[tuple[float, float], list[str]]:
    """(cost, quality) of the points of a front, in order -> labels of the settings there."""
    found: dict[tuple[float, float], list[str]] = {}
    for result in front:
        found.setdefault((result.cost(cost), result.scores[quality]), []).append(result.cell.label)
    return found


def check_picture(path: str | os.PathLike[str]) -> Path:
    """Return the path of a picture, or say before any work why it cannot be drawn.

    Raises:
        ValueError: an unknown format.
        ImportError: matplotlib is not installed.
        OSError: its folder is missing.
    """
    path = Path(path)
    known = _figure().canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise ValueError(f"{path}: expected a name that ends in .png, .svg or .pdf")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} into")
    return path


def _figure(height: float = 5.5) -> Any:
    """A figure of its own and not of pyplot's, which would touch the backend of the process."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise ImportError("matplotlib is not installed: pip install gense[demo]") from error
    figure = Figure(figsize=(13, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _draw(axes: Any, sweep: Sweep, quality: str, cost: Cost, colours: dict[str, str]) -> None:
    front = sweep.pareto(quality, cost)
    for method, colour in colours.items():
        own = [r for r in sweep.cells if r.cell.method == method and not math.isnan(r.scores[quality])]
        axes.scatter(
            [r.cost(cost) for r in own], [r.scores[quality] for r in own], color=colour, label=method, s=44, zorder=3,
            alpha=0.85, edgecolors="white", linewidths=0.6,
        )  # fmt: skip
    points = [(r.cost(cost), r.scores[quality]) for r in front]
    axes.scatter(*zip(*points, strict=True), s=60, zorder=4, facecolors="none", edgecolors="black", linewidths=1.1)
    axes.plot(
        *zip(*points, strict=True), color="0.35", linewidth=1.2, zorder=2, drawstyle="steps-post", label="Pareto front"
    )
    noisy = sweep.noisy.get(quality, math.nan)
    if not math.isnan(noisy):
        axes.axhline(noisy, color="0.5", linestyle=":", linewidth=1, label="noisy input")
    costs = [r.cost(cost) for r in sweep.cells]
    if min(costs) > 0:  # what calls no network cannot stand on a logarithmic axis
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(costs) / 1.3, max(costs) * 1.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.margins(y=0.08)
