"""Pareto fronts and recommendations on points made by hand; tables that come back as they went."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from gense.sweeps import Cell, CellResult, Sweep, read_sweep
from gense.sweeps.plot import plot_pareto
from gense.sweeps.table import NOISY, Row, summed, write_rows
from gense.sweeps.words import markdown, summary


def point(name: str, calls: float, quality: float, rtf: float = 0.0) -> CellResult:
    return CellResult(Cell(name), {"q": quality}, calls, rtf or calls / 10, 1.0, [])


POINTS = [
    point("good", 4, 3.0), point("cheap", 1, 1.0), point("dominated", 4, 2.0), point("same cost, less", 1, 0.5),
    point("twin", 4, 3.0), point("dear and no better", 8, 3.0), point("best", 16, 3.5), point("undefined", 1, math.nan),
]  # fmt: skip


def names(results) -> list[str]:
    return [result.cell.method for result in results]


def test_the_front_holds_what_nothing_beats() -> None:
    assert names(Sweep(POINTS, ["q"], ["f"]).pareto("q", "calls")) == ["cheap", "good", "twin", "best"]


def test_the_front_is_the_set_without_a_dominating_point() -> None:
    """The definition, on a thousand pairs of points of a coarse grid, so that there are many ties."""
    points = [point(str(i), 1 + i * 7 % 10, float(i * 13 % 11), rtf=1.0 + i * 3 % 8) for i in range(40)]
    for lower, cost in ((False, "calls"), (True, "calls"), (False, "rtf"), (True, "rtf")):
        sweep = Sweep(points, ["q"], ["f"], frozenset(["q"] if lower else []))

        def dominates(a: CellResult, b: CellResult, lower: bool = lower, cost: str = cost) -> bool:
            gain = (b.scores["q"] - a.scores["q"]) if lower else (a.scores["q"] - b.scores["q"])
            saving = getattr(b, cost) - getattr(a, cost)
            return gain >= 0 and saving >= 0 and (gain > 0 or saving > 0)

        front = [p for p in points if not any(dominates(other, p) for other in points)]
        assert sorted(names(sweep.pareto("q", cost))) == sorted(names(front))


def test_less_is_better_where_it_is() -> None:
    sweep = Sweep([point("a", 1, 0.5), point("b", 2, 0.4), point("c", 3, 0.6)], ["q"], ["f"], frozenset(["q"]))
    assert names(sweep.pareto("q", "calls")) == ["a", "b"]
    assert sweep.recommend("q", "calls", [3])[3].cell.method == "b"


def test_the_recommended_setting_is_the_best_that_the_budget_pays_for() -> None:
    advice = Sweep(POINTS, ["q"], ["f"]).recommend("q", "calls", [0.5, 1, 4, 8, 100])
    assert {budget: result.cell.method for budget, result in advice.items()} == {
        1: "cheap", 4: "good", 8: "good", 100: "best",
    }  # fmt: skip
    by_factor = Sweep(POINTS, ["q"], ["f"]).recommend("q", "rtf", [0.4])
    assert by_factor[0.4].cell.method == "good"


def test_unknown_scores_and_costs_are_refused() -> None:
    sweep = Sweep(POINTS, ["q"], ["f"])
    with pytest.raises(ValueError, match="quality='pesk': expected one of q"):
        sweep.pareto("pesk", "calls")
    with pytest.raises(ValueError, match="cost='money': expected one of calls, rtf"):
        sweep.pareto("q", "money")


def test_labels_name_what_was_chosen() -> None:
    assert Cell("m").label == "m"
    assert Cell("m", "heun", None, 1).label == "m, heun, 1 step"
    assert Cell("m", "heun", "karras", 4, "bfloat16", (("churn", 0.5),)).label == (
        "m, heun, karras, 4 steps, bfloat16, churn=0.5"
    )


HEUN = Cell("m", "heun", None, 2, "float32", (("pair", (0.1, 0.9)), ("churn", 0.5)))
ROWS = [
    Row(Cell(NOISY), "a.wav", 0, 0.0, 2.0, {"q": 1.0}),
    Row(Cell(NOISY), "b.wav", 0, 0.0, 4.0, {"q": 0.1 + 0.2}),
    Row(HEUN, "a.wav", 3, 1.0, 2.0, {"q": 2.0}),
    Row(HEUN, "b.wav", 5, 2.0, 4.0, {"q": 1 / 3}),
    Row(Cell("n"), "a.wav", 1, 0.5, 2.0, {"q": math.nan}),
    Row(Cell("n"), "b.wav", 1, 0.5, 4.0, {"q": 2.0}),
]


@pytest.mark.parametrize("name", ["s.csv", "s.parquet"])
def test_a_table_comes_back_as_it_went(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    write_rows(tmp_path / name, ROWS, ["q"])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    back, direct = read_sweep(tmp_path / name), summed(ROWS, ["a.wav", "b.wav"], ["q"])
    assert (back.files, back.columns, back.noisy) == (direct.files, direct.columns, direct.noisy)
    assert repr(back.cells) == repr(direct.cells)  # NaN is not equal to itself


def test_means_and_costs_are_those_of_the_files() -> None:
    sweep = summed(ROWS, ["a.wav", "b.wav"], ["q"])
    first, second = sweep.cells
    assert first.scores["q"] == pytest.approx((2 + 1 / 3) / 2)
    assert (first.calls, first.seconds, first.rtf) == (4.0, 1.5, 0.5)
    assert math.isnan(second.scores["q"]), "a setting must not gain by a file for which its output has no score"
    assert [entry["file"] for entry in first.per_file] == ["a.wav", "b.wav"]


def test_a_file_whose_input_has_no_score_counts_for_no_setting() -> None:
    rows = [Row(Cell(NOISY), "a.wav", 0, 0.0, 2.0, {"q": math.nan}), *ROWS[1:]]
    sweep = summed(rows, ["a.wav", "b.wav"], ["q"])
    assert [result.scores["q"] for result in sweep.cells] == [1 / 3, 2.0]


def test_a_setting_without_all_files_has_no_place() -> None:
    assert names(summed(ROWS[:-1], ["a.wav", "b.wav"], ["q"]).cells) == ["m"]


def test_other_tables_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="not the table of a sweep"):
        read_sweep(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"ends in \.csv or \.parquet"):
        write_rows(tmp_path / "x.txt", ROWS, ["q"])


def test_the_words_name_every_setting_and_say_what_no_budget_pays_for() -> None:
    sweep = Sweep(POINTS, ["q"], ["f"], noisy={"q": 0.25})
    table = markdown(sweep).splitlines()
    assert len(table) == 3 + len(POINTS)
    assert "| noisy input | 0.25 |" in table[2]
    said = summary(sweep, "q", {"calls": [0.5, 4], "rtf": [1]})
    assert "| 0.5 | none is that cheap |" in said
    assert "| 4 | good | 3 | 4 | 0.4 |" in said
    assert "dominated" not in said


def test_the_picture_shows_every_setting_once_in_each_panel(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    target = plot_pareto(Sweep(POINTS, ["q"], ["f"], noisy={"q": 0.25}), tmp_path / "p.svg", "q")
    drawn = target.read_text()
    for name in ("cheap", "good = twin", "best", "dear and no better", "real-time factor", "network calls per file"):
        assert f"<!-- {name}" in drawn or f" {name} -->" in drawn, name
    plot_pareto(Sweep([point("free", 0, 1.0, rtf=0.1)], ["q"], ["f"], frozenset(["q"])), tmp_path / "q.png", "q")
    assert (tmp_path / "q.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="expected a name that ends in"):
        plot_pareto(Sweep(POINTS, ["q"], ["f"]), tmp_path / "p.doc", "q")
    with pytest.raises(ValueError, match="no setting in which it is defined"):
        plot_pareto(Sweep([POINTS[-1]], ["q"], ["f"]), tmp_path / "p.png", "q")
